"""Every verdict of domain.md, "Three sources, one truth", from plain values; thresholds are those of rule set 1."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from backend.core.enums import Kind, SourceType, VerdictKind
from workflows.crosscheck.facts import (
    COMPONENTS,
    HOUSES,
    ORGANISATIONS,
    POPULATION,
    Candidate,
    Decision,
    Entry,
    Home,
    Known,
    Neighbour,
    Source,
)
from workflows.crosscheck.rules import decide, select
from workflows.crosscheck.ruleset import Compared, Rules, Search

SEED = Path(__file__).parents[2] / "backend" / "seed" / "data"
DATA = json.loads((SEED / "rule_set_1.json").read_text(encoding="utf-8"))
RULES = Rules.model_validate(DATA)
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ME, OTHER, THIRD = (UUID(int=number) for number in (5, 4, 9))
GRID, NEXT_GRID = "440310001001001", "440310001001002"
HOUSE_CODE, OTHER_CODE = "4" * 25, "5" * 25
USCC = "91440300708461136T"
HERE = {"lat": 226_900_000, "lon": 1_143_500_000}
METRE = 89.93
"""One metre of latitude in units of 1e-7 degree."""

PERSON: dict[str, Any] = {
    "name": "张三",
    "id_type": "citizen_id",
    "id_number": "110101199003072316",
    "birth_date": "1990-03-07",
    "sex": "male",
    "phone": "13800001234",
}
EQUAL = {"name": 1.0, "id_number": 1.0, "birth_date": 1.0, "phone": 1.0}


def entry(kind: Kind, fields: Mapping[str, Any], **changes: Any) -> Entry:
    made = Entry(Source(SourceType.DOCUMENT, ME, 1), kind, GRID, fields, NOW, NOW if kind is Kind.EVENT else None)
    return replace(made, **changes)


def record(scores: Mapping[str, float] | None = None, *, exact: bool = True, **changes: Any) -> Candidate:
    near_home = changes.pop("near_home", None)
    return Candidate(PERSON | changes, EQUAL if scores is None else scores, exact, near_home)


def north(metres: float) -> dict[str, int]:
    return {"lat": HERE["lat"] + round(metres * METRE), "lon": HERE["lon"]}


def person(known: Known, **changes: Any) -> Decision:
    return decide(entry(Kind.PERSON, PERSON | changes), known, RULES, at=NOW)


def population(*candidates: Candidate, home: Home | None = None, twins: tuple[UUID, ...] = ()) -> Known:
    return Known(frozenset({POPULATION}), candidates, home, twins=twins)


HOME = Home(HOUSE_CODE, "坪山街道六联社区示例路1号1栋101")


@pytest.mark.parametrize(
    ("known", "changes", "findings"),
    [
        (population(record()), {}, ["match"]),
        (Known(), {}, ["accepted"]),
        (population(), {}, ["not_found"]),
        (population(record(EQUAL | {"name": 0.5})), {}, ["name_differs"]),
        (population(record(EQUAL | {"birth_date": 0.0})), {}, ["differs"]),
        (population(record(EQUAL | {"phone": 0.0})), {}, ["match"]),
        (population(record()), {"id_number": "110101199003072317"}, ["id_self_inconsistent"]),
        (population(record()), {"birth_date": "1990-03-08"}, ["id_self_inconsistent"]),
        (population(record()), {"sex": "female"}, ["id_self_inconsistent"]),
        (population(record()), {"id_type": "passport", "id_number": "E1"}, ["match"]),
        (population(record(), twins=(OTHER,)), {}, ["duplicate"]),
        (population(record(house_code=OTHER_CODE), home=HOME), {}, ["moved"]),
        (population(record(house_code=HOUSE_CODE), home=HOME), {}, ["match"]),
        (population(record(house_code=OTHER_CODE)), {}, ["match"]),
        (population(record(near_home=0.4), home=HOME), {"residence_matches_registration": True}, ["flag_conflict"]),
        (population(record(near_home=0.4), home=HOME), {"residence_matches_registration": False}, ["match"]),
        (population(record(near_home=1.0), home=HOME), {"residence_matches_registration": True}, ["match"]),
    ],
    ids=[
        "match",
        "no-dataset-loaded",
        "not-found",
        "name-differs",
        "field-differs",
        "phone-is-evidence-only",
        "checksum",
        "birth-date-in-number",
        "sex-in-number",
        "other-id-type",
        "same-human-twice",
        "moved",
        "at-home",
        "house-not-known-yet",
        "flag-conflict",
        "flag-not-set",
        "flag-true",
    ],
)
def test_a_person_is_compared_with_the_population(known: Known, changes: dict[str, Any], findings: list[str]) -> None:
    assert list(person(known, **changes).findings) == findings


def test_the_entry_s_own_registered_address_serves_where_the_record_has_none() -> None:
    home = replace(HOME, near_registered=0.3)
    fields = {"residence_matches_registration": True, "registered_address": "湖南省长沙市示例路9号"}
    assert person(population(record(), home=home), **fields).findings == (VerdictKind.FLAG_CONFLICT,)


TYPO = {"id_number": 0.8, "name": 1.0, "birth_date": 1.0, "phone": 1.0}
HALF = {"id_number": 0.2, "name": 1.0, "birth_date": 1.0, "phone": 1.0}


@pytest.mark.parametrize(
    ("candidates", "findings"),
    [
        ([record(TYPO, exact=False)], ["differs"]),
        ([record(TYPO, exact=False), record(HALF, exact=False)], ["differs"]),
        ([record(TYPO, exact=False), record(TYPO, exact=False)], ["ambiguous"]),
        ([record(TYPO, exact=False), record(EQUAL | {"id_number": 0.75}, exact=False)], ["ambiguous"]),
        ([record({"id_number": 0.0, "name": 1.0, "birth_date": 1.0}, exact=False)], ["ambiguous"]),
        ([record({"name": 1.0}, exact=False)], ["ambiguous"]),
        ([record({"name": 1.0, "birth_date": 1.0}, exact=False)], ["match"]),
        ([record({"id_number": 0.0, "name": 0.5, "birth_date": 1.0}, exact=False)], ["not_found"]),
        ([record(TYPO, exact=False), record()], ["match"]),
    ],
    ids=[
        "one-typing-error",
        "best-stands-out",
        "two-equals",
        "two-within-the-margin",
        "only-possible",
        "too-little-to-be-sure",
        "name-and-birth-date",
        "stranger",
        "own-number-wins",
    ],
)
def test_candidates_by_phone_or_birth_date_count_only_when_one_stands_out(
    candidates: list[Candidate], findings: list[str]
) -> None:
    assert list(person(population(*candidates)).findings) == findings


def test_the_record_of_who_says_no_number_is_named_by_its_own() -> None:
    found = Candidate({"id_number": PERSON["id_number"]}, {"name": 1.0, "birth_date": 1.0, "phone": 1.0}, exact=False)
    numbers = [one for one in person(population(found), id_number=None).evidence if one.field == "id_number"]
    assert [(one.mine, one.theirs, one.finding) for one in numbers] == [(None, PERSON["id_number"], None)]


def test_each_likeness_is_worth_its_points() -> None:
    how = RULES.person.compared["id_number"]
    assert [how.points(score) for score in (0.8, 0.79, 0.4, 0.1)] == [6, 2.5, -1, -5]
    assert Compared(method="exact").points(1.0) == 0


def test_levels_are_given_from_the_highest_on() -> None:
    rising = ({"at": 0.5, "points": 1}, {"at": 1, "points": 2})
    with pytest.raises(ValueError, match="highest likeness"):
        Compared.model_validate({"method": "name", "levels": rising})


def test_rules_without_levels_go_by_the_weighted_mean() -> None:
    """As they did before there were levels: an administrator may return to them."""
    plain = {path: how.model_copy(update={"levels": ()}) for path, how in RULES.person.compared.items()}
    search = Search(accept=0.85, possible=0.7, margin=0.05, weight=0.5)
    sure, unsure = record(TYPO, exact=False), record({"name": 1.0, "birth_date": 1.0}, exact=False)
    assert select((sure,), plain, search) is sure
    assert select((unsure,), plain, search) is None
    assert select((record(HALF, exact=False),), plain, search) is None


def house(known: Known, **fields: Any) -> Decision:
    return decide(entry(Kind.HOUSE, {"house_code": HOUSE_CODE, "address": "示例路1号"} | fields), known, RULES, at=NOW)


def houses(scores: Mapping[str, float] | None = None, *, grid: str = GRID, **known: Any) -> Known:
    found = Candidate({"house_code": HOUSE_CODE, "grid_id": grid}, scores or {"address": 1.0}, exact=True)
    return Known(**({"datasets": frozenset({HOUSES}), "candidates": (found,)} | known))


TENANT = {"id": str(OTHER), "name": "李四"}
LIMIT = RULES.house.tenants_limit


@pytest.mark.parametrize(
    ("known", "fields", "findings"),
    [
        (houses(), {}, ["match"]),
        (houses(candidates=()), {}, ["address_unknown"]),
        (houses(candidates=()), {"house_code": None}, ["address_unknown"]),
        (Known(), {}, ["accepted"]),
        (houses(grid=NEXT_GRID), {}, ["out_of_grid"]),
        (houses(point_grids=(GRID,)), {}, ["match"]),
        (houses(point_grids=(NEXT_GRID,)), {}, ["out_of_grid"]),
        (houses(point_grids=()), {}, ["out_of_grid"]),
        (houses({"address": 0.7}), {}, ["differs"]),
        (houses({"address": 1.0, "owner.name": 0.5}), {"owner": {"name": "王五"}}, ["differs"]),
        (houses(), {"rental_use": "rented", "tenants": []}, ["rental_hazard"]),
        (houses(), {"rental_use": "rented"}, ["rental_hazard"]),
        (houses(), {"rental_use": "rented", "tenants": [TENANT] * LIMIT}, ["match"]),
        (houses(), {"rental_use": "rented", "tenants": [TENANT] * (LIMIT + 1)}, ["rental_hazard"]),
        (houses(), {"rental_use": "self_occupied", "tenants": [TENANT] * (LIMIT + 1)}, ["match"]),
        (houses(twins=(OTHER,)), {}, ["duplicate"]),
    ],
    ids=[
        "match",
        "unknown-code",
        "no-code",
        "no-dataset-loaded",
        "record-in-another-grid",
        "point-in-grid",
        "point-in-another-grid",
        "point-in-no-grid",
        "address-differs",
        "owner-differs",
        "no-tenant",
        "tenants-left-out",
        "as-many-as-allowed",
        "too-many",
        "family-is-no-tenant",
        "same-house-twice",
    ],
)
def test_a_house_is_compared_with_the_register_and_the_grids(
    known: Known, fields: dict[str, Any], findings: list[str]
) -> None:
    assert list(house(known, **fields).findings) == findings


def organisation(known: Known, **fields: Any) -> Decision:
    return decide(entry(Kind.ORGANISATION, {"uscc": USCC, "name": "示例公司"} | fields), known, RULES, at=NOW)


def organisations(scores: Mapping[str, float] | None = None, *, status: str = "operating", **known: Any) -> Known:
    found = Candidate({"uscc": USCC, "status": status}, scores or {"name": 1.0}, exact=True)
    return Known(**({"datasets": frozenset({ORGANISATIONS}), "candidates": (found,)} | known))


@pytest.mark.parametrize(
    ("known", "fields", "findings"),
    [
        (organisations(), {"status_seen": "operating"}, ["match"]),
        (organisations(candidates=()), {}, ["not_found"]),
        (organisations(candidates=()), {"uscc": None}, ["not_found"]),
        (organisations(status="deregistered"), {"status_seen": "operating"}, ["organisation_closed"]),
        (organisations(status="deregistered"), {"status_seen": "closed"}, ["match"]),
        (organisations({"name": 0.6}), {}, ["name_differs"]),
        (organisations({"name": 1.0, "registered_address": 0.7}), {}, ["differs"]),
        (organisations(candidates=()), {"uscc": USCC[:-1] + "0"}, ["id_self_inconsistent", "not_found"]),
        (organisations(twins=(OTHER,)), {}, ["duplicate"]),
    ],
    ids=["match", "unknown", "no-code", "closed", "closed-and-seen-closed", "name", "address", "code", "twice"],
)
def test_an_organisation_is_compared_with_the_register(
    known: Known, fields: dict[str, Any], findings: list[str]
) -> None:
    assert list(organisation(known, **fields).findings) == findings


def component(known: Known, **fields: Any) -> Decision:
    base = {"component_id": "4403100101000001", "class_code": "0101", "location": HERE}
    return decide(entry(Kind.COMPONENT, base | fields), known, RULES, at=NOW)


def components(scores: Mapping[str, float] | None = None, **changes: Any) -> Known:
    fields = {"class_code": "0101", "owner_unit": "water", "location": HERE} | changes
    found = Candidate(fields, scores or {"class_code": 1.0}, exact=True)
    return Known(frozenset({COMPONENTS}), (found,))


@pytest.mark.parametrize(
    ("known", "fields", "findings"),
    [
        (components(), {}, ["match"]),
        (Known(frozenset({COMPONENTS})), {}, ["component_unknown"]),
        (components(), {"location": north(29)}, ["match"]),
        (components(), {"location": north(31)}, ["moved"]),
        (components(owner_unit=None), {"owner_unit": "water"}, ["component_unknown"]),
        (components({"class_code": 0.0}), {}, ["differs"]),
        (components({"class_code": 1.0, "state": 0.0}), {}, ["match"]),
        (replace(components(), twins=(OTHER,)), {}, ["duplicate"]),
    ],
    ids=["match", "unknown", "within-30-m", "beyond-30-m", "no-owner", "class", "state-is-evidence-only", "twice"],
)
def test_a_component_is_compared_with_its_record(known: Known, fields: dict[str, Any], findings: list[str]) -> None:
    assert list(component(known, **fields).findings) == findings


def neighbour(metres: float = 0, *, hours: float = 0, **changes: Any) -> Neighbour:
    place = north(metres)
    happened = NOW - timedelta(hours=hours)
    degrees = (place["lat"] / 1e7, place["lon"] / 1e7)
    made = Neighbour(SourceType.REPORT, OTHER, "0102", happened, NOW - timedelta(minutes=1), degrees)
    return replace(made, **changes)


def event(*neighbours: Neighbour, class_known: bool = True, **changes: Any) -> Decision:
    fields = {"class_code": "0102", "location": HERE} | changes
    return decide(entry(Kind.EVENT, fields), Known(class_known=class_known, neighbours=neighbours), RULES, at=NOW)


@pytest.mark.parametrize(
    ("decision", "findings"),
    [
        (event(), ["accepted"]),
        (event(class_known=False), ["class_unknown"]),
        (event(neighbour(49)), ["duplicate"]),
        (event(neighbour(51)), ["accepted"]),
        (event(neighbour(hours=23.9)), ["duplicate"]),
        (event(neighbour(hours=-23.9)), ["duplicate"]),
        (event(neighbour(hours=24.1)), ["accepted"]),
        (event(neighbour(class_code="0103")), ["accepted"]),
        (event(neighbour(class_code=None)), ["accepted"]),
        (event(neighbour(), class_code=None), ["accepted"]),
        (event(neighbour(), location=None), ["accepted"]),
        (event(neighbour(known_since=NOW + timedelta(seconds=1))), ["accepted"]),
        (event(neighbour(known_since=NOW, source_id=THIRD)), ["accepted"]),
        (event(neighbour(known_since=NOW, source_id=OTHER)), ["duplicate"]),
        (event(neighbour(source_id=ME, known_since=NOW)), ["accepted"]),
        (event(neighbour(), class_known=False), ["class_unknown", "duplicate"]),
    ],
    ids=[
        "accepted",
        "class-unknown",
        "within-50-m",
        "beyond-50-m",
        "within-24-h",
        "within-24-h-after",
        "beyond-24-h",
        "another-class",
        "their-class-missing",
        "my-class-missing",
        "no-place",
        "the-later-one-is-the-duplicate",
        "same-moment-later-id",
        "same-moment-earlier-id",
        "itself",
        "two-findings",
    ],
)
def test_an_event_repeats_an_earlier_one_nearby(decision: Decision, findings: list[str]) -> None:
    assert list(decision.findings) == findings


def test_of_two_similar_events_exactly_one_is_the_duplicate_whichever_is_checked_first() -> None:
    late = NOW + timedelta(minutes=5)
    first = event(neighbour(10, known_since=late, source_id=THIRD))
    second = decide(
        entry(Kind.EVENT, {"class_code": "0102", "location": north(10)}, known_since=late),
        Known(neighbours=(neighbour(0, known_since=NOW),)),
        RULES,
        at=NOW,
    )
    assert [first.verdict, second.verdict] == [VerdictKind.ACCEPTED, VerdictKind.DUPLICATE]


def test_the_main_verdict_is_the_first_by_the_rule_set_s_priority() -> None:
    known = population(record(EQUAL | {"name": 0.5}, house_code=OTHER_CODE), home=HOME)
    usual = person(known, birth_date="1990-03-08")
    assert list(usual.findings) == ["id_self_inconsistent", "name_differs", "moved"]
    turned = RULES.model_copy(update={"priority": tuple(reversed(RULES.priority))})
    other = decide(entry(Kind.PERSON, PERSON | {"birth_date": "1990-03-08"}), known, turned, at=NOW)
    assert other.verdict is VerdictKind.MOVED


def test_evidence_names_both_values_their_likeness_and_the_dataset() -> None:
    decision = person(population(record(EQUAL | {"name": 0.5}, name="李四")))
    found = {item.field: item for item in decision.evidence}
    name = found["name"]
    assert (name.mine, name.theirs, name.score) == ("张三", "李四", 0.5)
    assert (name.dataset, name.finding) == (POPULATION, VerdictKind.NAME_DIFFERS)
    assert found["phone"].finding is None


def test_the_score_is_the_weighted_mean_of_the_compared_fields() -> None:
    weights = {path: how.weight for path, how in RULES.person.compared.items() if path in EQUAL}
    expected = 1 - 0.5 * weights["name"] / sum(weights.values())
    assert person(population(record(EQUAL | {"name": 0.5}))).score == pytest.approx(expected, abs=1e-4)
    assert person(population()).score is None


def test_thresholds_are_data_not_code() -> None:
    lenient = json.loads(json.dumps(DATA))
    lenient["person"]["compared"]["name"]["threshold"] = 0.4
    known = population(record(EQUAL | {"name": 0.5}))
    decision = decide(entry(Kind.PERSON, PERSON), known, Rules.model_validate(lenient), at=NOW)
    assert decision.verdict is VerdictKind.MATCH


def test_a_number_of_the_future_is_told_by_the_clock_that_is_given() -> None:
    decision = decide(entry(Kind.PERSON, PERSON), Known(), RULES, at=datetime(1989, 1, 1, tzinfo=UTC))
    assert decision.verdict is VerdictKind.ID_SELF_INCONSISTENT


@pytest.mark.parametrize("verdict", ["match", "moved"])
def test_a_rule_set_that_leaves_a_verdict_without_priority_is_refused(verdict: str) -> None:
    broken = DATA | {"priority": [kind for kind in DATA["priority"] if kind != verdict]}
    with pytest.raises(ValidationError):
        Rules.model_validate(broken)


def test_every_verdict_can_be_given() -> None:
    """The tables above show each kind of verdict at least once, `test_crosscheck_elsewhere` shows the last."""
    tables = [test_a_person_is_compared_with_the_population, test_an_event_repeats_an_earlier_one_nearby]
    tables += [test_a_house_is_compared_with_the_register_and_the_grids]
    tables += [test_an_organisation_is_compared_with_the_register, test_a_component_is_compared_with_its_record]
    tables += [test_candidates_by_phone_or_birth_date_count_only_when_one_stands_out]
    shown = {finding for table in tables for mark in table.pytestmark for row in mark.args[1] for finding in row[-1]}
    assert shown == set(VerdictKind) - {VerdictKind.SOURCES_DIFFER}
