"""The routing table: which rule decides, and what each condition means."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from backend.core.enums import Kind, SourceType, VerdictKind
from workflows.routing.rules import Conditions, Facts, Rule, queue_of, route

COVER = Facts(
    source_type=SourceType.DOCUMENT,
    kind=Kind.EVENT,
    verdict=VerdictKind.ACCEPTED,
    findings=frozenset({"class_known", "point_in_grid"}),
    class_code="0203",
    severity="urgent",
    urgent=True,
    grid_id="440310001001001",
)
REPORT = Facts(source_type=SourceType.REPORT, kind=Kind.EVENT, verdict=VerdictKind.ACCEPTED)

QUEUES = {"12345-4403": "4403", "12345-440310": "440310", "12345-440303": "440303", "water": "4403"}

MATCHING = {
    "source_type": "document",
    "kind": "event",
    "verdict": ["accepted", "duplicate"],
    "finding": ["class_known"],
    "class_prefix": ["01", "02"],
    "severity": "urgent",
    "territory_prefix": "440310",
    "urgent": True,
}
OTHERS = {
    "source_type": "report",
    "kind": "house",
    "verdict": ["not_found"],
    "finding": ["reused"],
    "class_prefix": ["03"],
    "severity": "ordinary",
    "territory_prefix": "440303",
    "urgent": False,
}


def rule(number: int, conditions: dict[str, Any], queue: str = "district") -> Rule:
    return Rule(number, number * 10, Conditions.model_validate(conditions), queue, "city", f"standard-{number}")


@pytest.mark.parametrize("key", sorted(MATCHING))
def test_each_condition_lets_its_entry_through_and_stops_another(key: str) -> None:
    assert route(COVER, [rule(1, {key: MATCHING[key]})], QUEUES) is not None
    assert route(COVER, [rule(1, {key: OTHERS[key]})], QUEUES) is None


@pytest.mark.parametrize("key", sorted(MATCHING))
def test_one_condition_that_fails_is_enough_to_stop_a_rule(key: str) -> None:
    assert route(COVER, [rule(1, MATCHING)], QUEUES) is not None
    assert route(COVER, [rule(1, {**MATCHING, key: OTHERS[key]})], QUEUES) is None


@pytest.mark.parametrize("key", ["class_prefix", "territory_prefix", "severity"])
def test_an_entry_that_does_not_say_does_not_match_a_condition_on_it(key: str) -> None:
    assert route(REPORT, [rule(1, {key: MATCHING[key]})], QUEUES) is None


def test_the_first_rule_by_position_decides_whatever_order_they_come_in() -> None:
    rules = [rule(2, {}), rule(3, {"kind": "event"}), rule(1, {"verdict": "not_found"})]
    decision = route(COVER, rules, QUEUES)
    assert decision is not None
    assert (decision.rule_id, decision.standard_code) == (2, "standard-2")
    assert route(COVER, rules[::-1], QUEUES) == decision


def test_no_rule_that_holds_means_no_case() -> None:
    assert route(COVER, [], QUEUES) is None
    assert route(replace(COVER, verdict=VerdictKind.MATCH), [rule(1, {"verdict": ["accepted"]})], QUEUES) is None


@pytest.mark.parametrize(
    ("code", "grid", "queue"),
    [
        ("district", "440310001001001", "12345-440310"),
        ("district", "440304001001001", "12345-4403"),
        ("district", None, "12345-4403"),
        ("12345-4403", "440310001001001", "12345-4403"),
        ("water", None, "water"),
    ],
)
def test_district_means_the_grids_own_hotline_queue_or_else_the_citys(code: str, grid: str | None, queue: str) -> None:
    assert queue_of(code, grid, QUEUES) == queue


def test_a_queue_that_does_not_exist_is_an_error_not_another_queue() -> None:
    with pytest.raises(LookupError):
        route(COVER, [rule(1, {}, queue="nowhere")], QUEUES)
    with pytest.raises(ValueError, match="empty"):
        route(COVER, [rule(1, {})], {"water": "4403"})


@pytest.mark.parametrize("conditions", [{"verdicts": ["accepted"]}, {"verdict": ["no_such"]}, {"urgent": "perhaps"}])
def test_a_rule_with_a_misspelt_condition_is_refused_rather_than_matching_everything(
    conditions: dict[str, Any],
) -> None:
    with pytest.raises(ValidationError):
        Conditions.model_validate(conditions)


@given(st.dictionaries(st.sampled_from(sorted(MATCHING)), st.booleans()))
def test_a_rule_holds_exactly_when_all_its_conditions_hold(chosen: dict[str, bool]) -> None:
    conditions = {key: (MATCHING if holds else OTHERS)[key] for key, holds in chosen.items()}
    assert (route(COVER, [rule(1, conditions)], QUEUES) is not None) == all(chosen.values())


def test_a_rule_that_asks_the_worker_is_passed_over_once_he_was_asked() -> None:
    table = [rule(1, {}, "worker"), rule(2, {}, "water")]
    first, then = (route(replace(COVER, asked=asked), table, QUEUES) for asked in (False, True))
    assert first is not None
    assert then is not None
    assert [(found.rule_id, found.to_worker) for found in (first, then)] == [(1, True), (2, False)]
