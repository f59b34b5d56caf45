"""What follows where another source than the base dataset speaks about the entry's own human or thing."""

from typing import Any

import pytest
from pydantic import ValidationError

from backend.core.enums import Kind, VerdictKind
from tests.rules.test_crosscheck_rules import DATA, NOW, RULES, entry
from workflows.crosscheck.evidence import parts_of, subject_of
from workflows.crosscheck.facts import (
    COMPONENTS,
    HOUSES,
    POPULATION,
    Candidate,
    Decision,
    Entry,
    Evidence,
    Known,
    Other,
)
from workflows.crosscheck.rules import decide
from workflows.crosscheck.ruleset import Rules

PERMITS, LEASES = "permits", "leases"
TAKEN_AT = "2026-02-01T00:00:00+08:00"
MINE = {"name": "张三", "id_type": "citizen_id", "id_number": "110101199003072316"}
HOUSE = {"house_code": "4" * 25, "address": "示例路1号", "tenure": "commodity"}
COMPONENT = {"component_id": "4403100101000001", "owner_unit": "water"}


def other(scores: dict[str, float], dataset: str = PERMITS, **fields: Any) -> Other:
    return Other(dataset, TAKEN_AT, fields, scores)


def decided(kind: Kind, fields: dict[str, Any], known: Known, rules: Rules = RULES) -> Decision:
    return decide(entry(kind, fields), known, rules, at=NOW)


def person(*others: Other, found: bool = True) -> Decision:
    record = (Candidate(MINE, {"name": 1.0, "id_number": 1.0}, exact=True),) if found else ()
    return decided(Kind.PERSON, MINE, Known(frozenset({POPULATION, PERMITS}), record, others=others))


def house(said: str | None, *others: Other) -> Decision:
    fields = {**HOUSE, "tenure": said} if said else {name: HOUSE[name] for name in ("house_code", "address")}
    record = Candidate(fields, {"address": 1.0}, exact=True)
    return decided(Kind.HOUSE, HOUSE, Known(frozenset({HOUSES}), (record,), others=others))


def from_others(decision: Decision) -> list[Evidence]:
    return [item for item in decision.evidence if item.other is not None]


def test_a_source_that_agrees_is_evidence_and_nothing_is_wrong() -> None:
    decision = person(other({"name": 0.95}, name="张叁"))
    assert (decision.verdict, decision.findings) == (VerdictKind.MATCH, (VerdictKind.MATCH,))
    [item] = from_others(decision)
    assert (item.field, item.mine, item.theirs, item.score) == ("name", "张三", "张叁", 0.95)
    assert (item.dataset, item.finding) == (PERMITS, None)


@pytest.mark.parametrize("found", [True, False], ids=["on-record", "not-on-record"])
def test_a_source_that_says_something_else_is_a_finding(found: bool) -> None:
    decision = person(other({"name": 1.0}, name="张三"), other({"name": 0.3}, LEASES, name="李四"), found=found)
    assert decision.findings == ("sources_differ",) if found else ("not_found", "sources_differ")
    [wrong] = [item for item in from_others(decision) if item.finding]
    assert (wrong.field, wrong.theirs, wrong.dataset, wrong.finding) == ("name", "李四", LEASES, "sources_differ")


def test_who_is_not_on_record_is_said_to_be_known_elsewhere_and_stays_not_found() -> None:
    decision = person(other({}), other({}, LEASES), found=False)
    assert decision.findings == ("not_found",)
    assert [(item.field, item.theirs, item.dataset) for item in from_others(decision)] == [
        ("elsewhere", True, PERMITS),
        ("elsewhere", True, LEASES),
    ]
    assert from_others(person(other({}))) == [], "who is on record needs no other"
    nothing_loaded = decided(Kind.PERSON, MINE, Known(others=(other({}),)))
    assert from_others(nothing_loaded) == [], "nothing is missing from a dataset that was never loaded"


@pytest.mark.parametrize(
    ("said", "dataset", "finding"),
    [
        ("commodity", LEASES, None),
        (None, LEASES, "sources_differ"),
        ("commodity", HOUSES, "sources_differ"),
    ],
    ids=["kept-by-the-base-dataset", "the-base-dataset-is-silent", "said-by-the-keeper-itself"],
)
def test_nobody_overrules_the_department_that_keeps_a_field(
    said: str | None, dataset: str, finding: str | None
) -> None:
    decision = house(said, other({"tenure": 0.0}, dataset, tenure="affordable"))
    [item] = from_others(decision)
    assert (item.mine, item.theirs, item.score) == ("commodity", "affordable", 0.0)
    assert item.finding == finding
    assert decision.findings == ((finding or "match"),)


def test_a_field_that_nobody_keeps_is_not_settled_by_the_base_dataset() -> None:
    assert house("commodity", other({"address": 0.2}, address="别路9号")).findings == ("sources_differ",)


def test_what_is_wrong_by_the_base_dataset_comes_first() -> None:
    record = Candidate({**COMPONENT, "owner_unit": "gas"}, {"owner_unit": 0.0}, exact=True)
    known = Known(frozenset({COMPONENTS}), (record,), others=(other({"class_code": 0.0}, class_code="0202"),))
    decision = decided(Kind.COMPONENT, COMPONENT | {"class_code": "0101"}, known)
    assert decision.findings == ("differs", "sources_differ")


@pytest.mark.parametrize("without", [("others",), ("others", "sources_differ")])
def test_rules_from_before_look_into_no_other_source(without: tuple[str, ...]) -> None:
    before = {name: part for name, part in DATA.items() if name not in without}
    before["priority"] = [kind for kind in DATA["priority"] if kind not in without]
    known = Known(others=(other({"name": 0.0}, name="李四"),))
    decision = decided(Kind.PERSON, MINE, known, Rules.model_validate(before))
    assert (decision.verdict, from_others(decision)) == (VerdictKind.ACCEPTED, [])


def test_rules_that_look_into_other_sources_say_how_much_a_difference_matters() -> None:
    silent = [kind for kind in DATA["priority"] if kind != "sources_differ"]
    with pytest.raises(ValidationError, match="priority"):
        Rules.model_validate(DATA | {"priority": silent})
    with pytest.raises(ValidationError):
        Rules.model_validate(DATA | {"others": {"event": {"class_code": {"method": "exact"}}}})


def test_what_another_source_says_of_an_owner_is_sealed_as_his() -> None:
    """Also where the business record names another owner, or none."""
    li = {"name": "李梅", "id_type": "citizen_id", "id_number": "110101198504121249"}
    mine: Entry = entry(Kind.HOUSE, HOUSE | {"owner": MINE})
    known = Known(
        frozenset({HOUSES}),
        (Candidate(HOUSE | {"owner": MINE}, {}, exact=True),),
        others=(other({"owner.name": 0.0}, owner=li),),
    )
    decision = decide(mine, known, RULES, at=NOW)
    parts = parts_of(mine, decision, {HOUSES: {"taken_at": "2026-01-01T00:00:00+08:00"}})
    [head] = [part for part in parts if isinstance(part.value, dict) and part.value.get("finding") == "sources_differ"]
    assert (head.value["dataset"], head.value["taken_at"]) == (PERMITS, TAKEN_AT)
    [theirs] = [part for part in parts if part.value == "李梅"]
    own = {subject_of(mine), subject_of(entry(Kind.PERSON, MINE))}
    assert theirs.subject == subject_of(entry(Kind.PERSON, li)) not in own
