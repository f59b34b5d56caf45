"""What a department has written stands, whatever a row says; the rest of the row is left as it was."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backend.core.enums import Kind
from backend.kinds import KINDS
from sync.authority import Deferred, FieldRequest, defer
from sync.rules import ABSENT, Base, Master, State, decide

HOUSE = KINDS[Kind.HOUSE]
VALUES = st.sampled_from([None, "a", "b", 1, True])
FIELDS = st.dictionaries(st.sampled_from(["tenure", "use", "name"]), VALUES)
OWNED = st.dictionaries(st.just("tenure"), st.one_of(VALUES, st.just(ABSENT)))


def deferred(mine: dict[str, Any], base: dict[str, Any] | None, **owned: Any) -> Deferred:
    return defer(State(mine), None if base is None else Base(State(base), 1), owned=owned)


def test_an_edit_is_asked_for_and_a_stale_value_is_not() -> None:
    base = {"tenure": "old", "use": "x"}
    edit = deferred({"tenure": "mine", "use": "y"}, base, tenure="office")
    assert edit.requests == [FieldRequest("tenure", "mine", "office")]
    assert edit.mine.fields == {"tenure": "office", "use": "y"}
    stale = deferred({"tenure": "old", "use": "y"}, base, tenure="office")
    assert (stale.requests, stale.differs, stale.mine) == ([], True, edit.mine)


def test_without_a_base_every_other_value_is_asked_for() -> None:
    assert len(deferred({"tenure": "old"}, None, tenure="office").requests) == 1
    assert not deferred({"tenure": "office"}, None, tenure="office").differs


def test_taking_a_value_away_is_an_edit_and_so_is_giving_one_where_the_department_wants_none() -> None:
    taken = deferred({}, {"tenure": "office"}, tenure="office")
    assert taken.requests == [FieldRequest("tenure", ABSENT, "office")]
    given_ = deferred({"tenure": "mine"}, {}, tenure=ABSENT)
    assert (given_.requests, given_.mine.fields) == ([FieldRequest("tenure", "mine", ABSENT)], {})


def test_a_delete_asks_nothing() -> None:
    left = defer(State({}, deleted=True), None, owned={"tenure": "office"})
    assert (left.mine.deleted, left.requests, left.differs) == (True, [], False)


@given(FIELDS, st.one_of(st.none(), FIELDS), FIELDS, OWNED, st.booleans())
def test_no_merge_of_what_is_left_changes_a_departments_field(
    mine: dict[str, Any], base: dict[str, Any] | None, theirs: dict[str, Any], owned: dict[str, Any], ahead: bool
) -> None:
    server = {name: value for name, value in {**theirs, **owned}.items() if value is not ABSENT}
    left = deferred(mine, base, **owned)
    decision = decide(HOUSE, mine=left.mine, base=left.base, master=Master(State(server), 2), ahead=ahead)
    for name, value in owned.items():
        assert decision.result.fields.get(name, ABSENT) == value
        assert not [conflict for conflict in decision.conflicts if conflict.field == name]
    asked = {request.field for request in left.requests}
    assert asked <= owned.keys()
    assert {name: mine[name] for name in mine if name not in owned} == {
        name: value for name, value in left.mine.fields.items() if name not in owned
    }
