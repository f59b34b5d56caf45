"""Older forms: what a client of each version gets and what its edits leave alone."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.enums import COLLECTED_KINDS, Kind
from backend.kinds import KINDS
from sync.projection import CHANGES, CURRENT, OLDEST, Added, down, lift, up
from sync.rules import Base, Master, State, decide

GRID = "440310001001001"
OLDER = range(OLDEST, CURRENT)
HOUSE = {"grid_id": GRID, "address": "示例路1号", "area_dm2": 8_950, "hazards": ["wires"], "rental_use": "rented"}

# The forms as the apps of those versions were built: what their schemas let through.
FORMS: dict[tuple[Kind, int], set[str]] = {
    (Kind.HOUSE, 1): {"house_code", "name", "address", "use", "area_m2", "tenure", "owner", "tenants", "location"},
    (Kind.HOUSE, 2): {
        *("house_code", "name", "address", "use", "area_m2", "tenure", "owner", "tenants", "location"),
        *("hazards", "rental_use"),
    },
    (Kind.PERSON, 1): {
        *("name", "id_type", "id_number", "sex", "birth_date", "ethnicity", "education", "phone", "work_unit"),
        *("registered_address", "house_id", "residence_matches_registration", "household_no", "head_relation"),
    },
    (Kind.EVENT, 1): {"class_code", "description", "occurred_at", "parties", "location"},
}
COMMON = {"grid_id", "captured_at", "photos", "remark"}
VALUES = st.none() | st.integers(0, 10**6) | st.text(max_size=3) | st.lists(st.text(max_size=2), max_size=2)


def documents(kind: Kind) -> st.SearchStrategy[dict[str, Any]]:
    names = st.sampled_from([*sorted(KINDS[kind].model.model_fields), "of_a_newer_client"])
    return st.dictionaries(names, VALUES, max_size=8)


@pytest.mark.parametrize(("kind", "version"), FORMS)
def test_an_older_client_gets_only_what_its_schema_knows(kind: Kind, version: int) -> None:
    every = dict.fromkeys((*KINDS[kind].model.model_fields, "of_a_newer_client"), "x")
    assert set(down(kind, every, version)) == FORMS[kind, version] | COMMON


@pytest.mark.parametrize("version", OLDER)
@pytest.mark.parametrize("kind", COLLECTED_KINDS)
def test_what_is_required_is_in_every_form(kind: Kind, version: int) -> None:
    """Else neither a tombstone nor a push of that client would be whole."""
    required = {name: "x" for name, field in KINDS[kind].model.model_fields.items() if field.is_required()}
    assert down(kind, required, version) == required
    assert not any(isinstance(step, Added) and step.new in required for step in CHANGES[2].get(kind, ()))


def test_the_current_form_and_those_of_newer_clients_are_left_alone() -> None:
    strange = {**HOUSE, "of_a_newer_client": 1}
    for version in (CURRENT, CURRENT + 1, CURRENT + 1000):
        assert down(Kind.HOUSE, strange, version) is strange
        assert up(Kind.HOUSE, strange, version) is strange


def test_names_and_units_are_those_of_the_version() -> None:
    shown = down(Kind.HOUSE, HOUSE, 1)
    assert shown == {"grid_id": GRID, "address": "示例路1号", "area_m2": 89}
    assert up(Kind.HOUSE, {**shown, "area_m2": 95}, 1)["area_dm2"] == 9_500
    assert down(Kind.PERSON, {"employer": "某公司"}, 2) == {"work_unit": "某公司"}
    assert up(Kind.PERSON, {"work_unit": "某公司", "x": 1}, 2) == {"employer": "某公司", "x": 1}


@pytest.mark.parametrize("value", ["12", None, True, 1.5, [1]])
def test_a_value_of_a_wrong_type_stays_for_the_form_to_refuse(value: Any) -> None:
    assert up(Kind.HOUSE, {"area_m2": value}, 1) == {"area_dm2": value}


@given(st.sampled_from(COLLECTED_KINDS).flatmap(lambda kind: st.tuples(st.just(kind), documents(kind))), st.data())
def test_a_client_that_changed_nothing_changes_nothing(drawn: tuple[Kind, dict[str, Any]], data: st.DataObject) -> None:
    kind, origin = drawn
    version = data.draw(st.sampled_from(OLDER))
    pushed = up(kind, down(kind, origin, version), version)
    assert lift(kind, pushed, version, origin=origin) == origin


@given(documents(Kind.HOUSE), documents(Kind.HOUSE), st.sampled_from(OLDER), st.data())
def test_an_edit_in_an_older_form_leaves_everybody_elses_fields_alone(
    base: dict[str, Any], master: dict[str, Any], version: int, data: st.DataObject
) -> None:
    """The merge sees a change in the edited field and in no other, whatever the client could not see."""
    shown = down(Kind.HOUSE, base, version)
    edited = {**shown, "address": data.draw(st.text(min_size=4, max_size=5))}
    mine = lift(Kind.HOUSE, up(Kind.HOUSE, edited, version), version, origin=base)
    decision = decide(KINDS[Kind.HOUSE], mine=State(mine), base=Base(State(base), 1), master=Master(State(master), 2))
    for name in (*KINDS[Kind.HOUSE].model.model_fields, "of_a_newer_client"):
        if name != "address":
            assert decision.result.fields.get(name, "absent") == master.get(name, "absent"), name


def test_what_the_client_took_away_is_taken_away() -> None:
    shown = down(Kind.HOUSE, HOUSE, 1)
    del shown["area_m2"]
    mine = lift(Kind.HOUSE, up(Kind.HOUSE, shown, 1), 1, origin=HOUSE)
    assert "area_dm2" not in mine
    assert mine["hazards"] == ["wires"]
