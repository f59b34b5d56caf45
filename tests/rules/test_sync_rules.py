"""The pure merge: no silent loss, exactly the server's rules, and members of a set merged one by one."""

from typing import Any
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from backend.core.enums import Hardness, Kind, Outcome
from backend.kinds import KINDS
from backend.kinds.base import Document
from sync.rules import ABSENT, Base, Master, State, choose_base, decide, is_ahead, merge_fields, noted, same

PERSON = KINDS[Kind.PERSON]
HOUSE = KINDS[Kind.HOUSE]

NAMES = ("name", "phone", "sex", "employer")
values = st.sampled_from(["a", "b", "c", None, 1, True])
documents = st.dictionaries(st.sampled_from(NAMES), values, max_size=4)
members = st.dictionaries(st.sampled_from("pqrs"), st.integers(0, 2), max_size=4).map(
    lambda chosen: [{"id": key, "value": value} for key, value in chosen.items()]
)


def _decide(base: Document | None, mine: Document, theirs: Document, *, stale: bool = True) -> Any:
    version = 2 if stale else 1
    return decide(
        PERSON,
        mine=State(mine),
        base=Base(State(base), 1) if base is not None else None,
        master=Master(State(theirs), version),
    )


def test_a_new_document_is_applied() -> None:
    decision = decide(PERSON, mine=State({"name": "a"}), base=None, master=None)
    assert (decision.outcome, decision.changed) == (Outcome.APPLIED, True)


def test_disjoint_edits_merge_and_leave_a_soft_conflict_for_each_field_taken() -> None:
    decision = _decide({"name": "a", "phone": "1"}, {"name": "b", "phone": "1"}, {"name": "a", "phone": "2"})
    assert decision.outcome is Outcome.MERGED
    assert decision.result.fields == {"name": "b", "phone": "2"}
    assert [(found.field, found.hardness) for found in decision.conflicts] == [("name", Hardness.SOFT)]


def test_two_edits_of_one_field_keep_the_servers_value_and_record_both() -> None:
    decision = _decide({"name": "a"}, {"name": "b"}, {"name": "c"})
    assert decision.outcome is Outcome.CONFLICT
    assert decision.result.fields == {"name": "c"}
    found = decision.conflicts[0]
    assert (found.base, found.mine, found.theirs, found.kept) == ("a", "b", "c", "c")


def test_the_same_edit_on_both_sides_is_no_conflict() -> None:
    assert _decide({"name": "a"}, {"name": "b"}, {"name": "b"}).outcome is Outcome.UNCHANGED


def test_without_a_base_every_difference_is_a_hard_conflict() -> None:
    decision = _decide(None, {"name": "b", "sex": "x"}, {"name": "a", "phone": "2"})
    assert {found.field for found in decision.conflicts} == {"name", "sex", "phone"}
    assert decision.result.fields == {"name": "a", "phone": "2"}


def test_absent_is_not_null() -> None:
    decision = _decide({"name": "a", "phone": None}, {"name": "a"}, {"name": "a", "phone": None}, stale=False)
    assert decision.result.fields == {"name": "a"}
    assert decision.changed


def test_numbers_and_booleans_are_told_apart() -> None:
    assert not same(1, True)
    assert not same([0], [False])
    assert not same({"a": None}, {})


def test_a_delete_of_an_unchanged_document_is_applied_and_leaves_no_fields() -> None:
    decision = decide(
        PERSON,
        mine=State({}, deleted=True),
        base=Base(State({"name": "a"}), 1),
        master=Master(State({"name": "a"}), 1),
    )
    assert decision.outcome is Outcome.APPLIED
    assert decision.result == State({}, deleted=True)


def test_an_edit_wins_over_a_delete_whichever_came_first() -> None:
    base = Base(State({"name": "a"}), 1)
    late_delete = decide(PERSON, mine=State({}, deleted=True), base=base, master=Master(State({"name": "b"}), 2))
    late_edit = decide(PERSON, mine=State({"name": "b"}), base=base, master=Master(State({}, deleted=True), 2))
    for decision in (late_delete, late_edit):
        assert decision.outcome is Outcome.CONFLICT
        assert decision.result == State({"name": "b"})
    assert late_edit.changed
    assert not late_delete.changed


def test_a_document_comes_back_as_it_last_lived_with_the_edit_in_it() -> None:
    """Somebody edited another field, and the same one, before the delete: neither is forgotten."""
    base = Base(State({"name": "a", "phone": "1", "sex": "x"}), 1)
    living = State({"name": "c", "phone": "2", "sex": "x"})
    mine, gone = State({"name": "b", "phone": "1", "sex": "y"}), Master(State({}, deleted=True), 3)
    decision = decide(PERSON, mine=mine, base=base, master=gone, living=living)
    assert decision.result.fields == {"name": "c", "phone": "2", "sex": "y"}
    assert [(one.field, one.hardness) for one in decision.conflicts] == [
        ("_deleted", Hardness.HARD),
        ("name", Hardness.HARD),
    ]


def test_without_a_base_a_row_that_comes_back_is_taken_and_what_it_replaces_is_noted() -> None:
    gone, living = Master(State({}, deleted=True), 3), State({"name": "a", "phone": "2"})
    decision = decide(PERSON, mine=State({"name": "b", "phone": "2"}), base=None, master=gone, living=living)
    assert decision.result.fields == {"name": "b", "phone": "2"}
    assert [(one.field, one.hardness) for one in decision.conflicts] == [
        ("_deleted", Hardness.HARD),
        ("name", Hardness.SOFT),
    ]


def test_an_unedited_copy_does_not_bring_a_deleted_document_back() -> None:
    decision = decide(
        PERSON,
        mine=State({"name": "a"}),
        base=Base(State({"name": "a"}), 1),
        master=Master(State({}, deleted=True), 2),
    )
    assert (decision.outcome, decision.changed) == (Outcome.UNCHANGED, False)


def test_two_devices_add_different_tenants_and_both_stay() -> None:
    one, two = {"id": str(uuid4()), "name": "甲"}, {"id": str(uuid4()), "name": "乙"}
    merged, conflicts = merge_fields(HOUSE, base={"tenants": []}, mine={"tenants": [one]}, theirs={"tenants": [two]})
    assert sorted(item["name"] for item in merged["tenants"]) == ["乙", "甲"]
    assert conflicts == []


def test_one_tenant_edited_twice_is_a_conflict_named_by_the_tenant() -> None:
    before = {"id": "t", "name": "a"}
    merged, conflicts = merge_fields(
        HOUSE,
        base={"tenants": [before]},
        mine={"tenants": [{**before, "name": "b"}]},
        theirs={"tenants": [{**before, "name": "c"}]},
    )
    assert merged["tenants"] == [{"id": "t", "name": "c"}]
    assert [found.field for found in conflicts] == ["tenants[t]"]


def test_an_edited_tenant_wins_over_a_removed_one() -> None:
    before = {"id": "t", "name": "a"}
    edited = {"id": "t", "name": "b"}
    for mine, theirs in (([edited], []), ([], [edited])):
        merged, conflicts = merge_fields(
            HOUSE, base={"tenants": [before]}, mine={"tenants": mine}, theirs={"tenants": theirs}
        )
        assert merged["tenants"] == [edited]
        assert len(conflicts) == 1


def test_the_base_is_what_this_device_pushed_last_if_that_came_after_the_named_version() -> None:
    """A0 → A1 → A0 after a lost answer: against the old base the last edit would look like no edit (rule 2)."""
    named, pushed = Base(State({"name": "A0"}), 1), Base(State({"name": "A1"}), 2)
    assert choose_base(last_pushed=pushed, named=named) is pushed
    assert choose_base(last_pushed=named, named=pushed) is pushed
    assert choose_base(last_pushed=pushed, named=None) is None
    decision = decide(PERSON, mine=State({"name": "A0"}), base=pushed, master=Master(State({"name": "A1"}), 2))
    assert decision.result.fields == {"name": "A0"}
    lost = decide(PERSON, mine=State({"name": "A0"}), base=named, master=Master(State({"name": "A1"}), 2))
    assert lost.result.fields == {"name": "A1"}, "negative control: the old base loses the edit"


@given(base=documents, mine=documents, theirs=documents)
def test_no_edit_is_lost_in_silence(base: Document, mine: Document, theirs: Document) -> None:
    merged, conflicts = merge_fields(PERSON, base=base, mine=mine, theirs=theirs)
    told = {found.field for found in conflicts}
    for name in NAMES:
        before, ours, others = (side.get(name, ABSENT) for side in (base, mine, theirs))
        kept = merged.get(name, ABSENT)
        if not same(ours, before) and not same(ours, kept):
            assert name in told
        if not same(others, before):
            assert same(others, kept)


@given(base=documents, mine=documents, theirs=documents)
def test_pushing_the_result_again_changes_nothing(base: Document, mine: Document, theirs: Document) -> None:
    merged, _ = merge_fields(PERSON, base=base, mine=mine, theirs=theirs)
    again, conflicts = merge_fields(PERSON, base=merged, mine=merged, theirs=merged)
    assert same(again, merged)
    assert conflicts == []


@given(base=documents, first=documents, second=documents)
def test_disjoint_edits_commute(base: Document, first: Document, second: Document) -> None:
    edit = {**base, **{name: value for name, value in first.items() if name in NAMES[:2]}}
    other = {**base, **{name: value for name, value in second.items() if name in NAMES[2:]}}
    one, none = merge_fields(PERSON, base=base, mine=edit, theirs=other)
    two, _ = merge_fields(PERSON, base=base, mine=other, theirs=edit)
    assert same(one, two)
    assert none == []


@given(base=members, mine=members, theirs=members)
def test_no_member_is_lost_in_silence(base: list[Any], mine: list[Any], theirs: list[Any]) -> None:
    merged, conflicts = merge_fields(HOUSE, base={"tenants": base}, mine={"tenants": mine}, theirs={"tenants": theirs})
    before, ours, others = ({item["id"]: item for item in side} for side in (base, mine, theirs))
    kept = {item["id"]: item for item in merged.get("tenants") or []}
    told = {found.field for found in conflicts}
    for member in "pqrs":
        if ours.get(member) != before.get(member) and ours.get(member) != kept.get(member):
            assert f"tenants[{member}]" in told
        if others.get(member) != before.get(member) and others.get(member) != kept.get(member):
            assert f"tenants[{member}]" in told


def test_a_row_is_ahead_only_without_a_base_and_with_a_later_number() -> None:
    master = Master(State({"name": "a"}), 5)
    assert is_ahead(rev=6, master=master)
    assert not is_ahead(rev=6, master=None)
    assert not any(is_ahead(rev=rev, master=master) for rev in (5, 4, None))


@given(documents, documents)
def test_a_row_that_is_ahead_is_taken_and_what_it_replaces_is_noted(mine: Document, theirs: Document) -> None:
    decision = decide(PERSON, mine=State(mine), base=None, master=Master(State(theirs), 1), ahead=True)
    assert decision.result.fields == mine
    assert decision.outcome in (Outcome.APPLIED, Outcome.UNCHANGED)
    lost = {name for name, value in theirs.items() if not same(mine.get(name, ABSENT), value)}
    assert {found.field for found in decision.conflicts} == lost
    assert all(found.hardness is Hardness.SOFT for found in decision.conflicts)


def test_what_a_guessed_base_hides_is_noted() -> None:
    """Set back to what the guessed base says: the merge sees no edit, and the one who made it is told all the same."""
    mine, master = State({"name": "A"}), Master(State({"name": "B"}), 3)
    decision = decide(PERSON, mine=mine, base=Base(State({"name": "A"}), 1), master=master)
    assert (decision.result.fields, decision.conflicts) == ({"name": "B"}, [])
    (told,) = noted(decision, mine=mine, theirs=master.state).conflicts
    assert (told.field, told.hardness, told.mine, told.theirs, told.kept) == ("name", Hardness.SOFT, "A", "B", "B")


def test_a_delete_is_never_taken_because_it_is_ahead() -> None:
    decision = decide(
        PERSON, mine=State({}, deleted=True), base=None, master=Master(State({"name": "a"}), 1), ahead=True
    )
    assert (decision.outcome, decision.changed) == (Outcome.CONFLICT, False)


def test_a_row_that_is_ahead_of_a_delete_brings_the_document_back_with_a_conflict() -> None:
    decision = decide(
        PERSON, mine=State({"name": "a"}), base=None, master=Master(State({}, deleted=True), 1), ahead=True
    )
    assert (decision.outcome, decision.result.deleted) == (Outcome.CONFLICT, False)


def test_a_row_that_is_ahead_leaves_alone_what_it_did_not_change() -> None:
    """An older lost version comes back after a later one: what only the later one changed stands."""
    shared = Base(State({"name": "a", "phone": "1", "address": "x"}), 1)
    later = Master(State({"name": "b", "phone": "2", "address": "x"}), 2)
    older = State({"name": "b", "phone": "1", "address": "x"})
    decision = decide(PERSON, mine=older, base=shared, master=later, ahead=True)
    assert (decision.outcome, decision.changed, decision.conflicts) == (Outcome.UNCHANGED, False, [])
    newest = State({"name": "c", "phone": "1", "address": "y"})
    decision = decide(PERSON, mine=newest, base=shared, master=later, ahead=True)
    assert decision.result.fields == {"name": "c", "phone": "2", "address": "y"}
    assert decision.outcome is Outcome.MERGED
    assert {(found.field, found.hardness) for found in decision.conflicts} == {
        ("name", Hardness.SOFT),
        ("address", Hardness.SOFT),
    }
