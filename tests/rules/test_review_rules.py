"""The life of conflicts and quarantined rows: lawful steps only, each a person's, and fields set one at a time."""

from collections import deque
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.enums import ConflictState, Kind, QuarantineState, Role, VerificationState
from backend.kinds import KINDS
from sync.review_rules import (
    CONFLICT_EDGES,
    QUARANTINE_EDGES,
    REASONS,
    WAITING,
    Action,
    Actor,
    Edge,
    Refused,
    Standing,
    allowed,
    decide,
    same_value,
    split_place,
    value_at,
    with_value,
)
from sync.rules import ABSENT, DELETED, State
from sync.verification_rules import VERIFICATION_EDGES

HOUSE = KINDS[Kind.HOUSE]
AUTHOR, OTHER = UUID(int=1), UUID(int=2)
COLLECTOR, SUPERVISOR = Actor(AUTHOR, Role.GRID_WORKER), Actor(OTHER, Role.SUPERVISOR)
ALL_EDGES = (*CONFLICT_EDGES, *QUARANTINE_EDGES, *VERIFICATION_EDGES)


def conflict(state: ConflictState, *actions: Action) -> Standing:
    return Standing(state, AUTHOR, actions)


def test_every_edge_has_reasons_with_a_text_and_every_reason_is_used() -> None:
    assert all(edge.reasons for edge in ALL_EDGES)
    assert {reason for edge in ALL_EDGES for reason in edge.reasons} == set(REASONS)
    assert all(REASONS.values())


def test_one_action_leads_from_a_state_to_one_state() -> None:
    keys = [(type(edge.origin), edge.action, edge.origin) for edge in ALL_EDGES]
    assert len(keys) == len(set(keys))


def test_no_conflict_changes_by_itself() -> None:
    """Never downgraded: each edge is somebody's, and nobody decides about his own work."""
    assert all(edge.roles for edge in CONFLICT_EDGES)
    desk = [edge for edge in ALL_EDGES if edge.roles and Role.GRID_WORKER not in edge.roles]
    author_at_the_desk = Actor(AUTHOR, Role.STEWARD)
    for edge in desk:
        table = next(edges for edges in (CONFLICT_EDGES, QUARANTINE_EDGES, VERIFICATION_EDGES) if edge in edges)
        with pytest.raises(Refused, match="not_author"):
            decide(table, edge.action, Standing(edge.origin, AUTHOR), author_at_the_desk)


@pytest.mark.parametrize(
    ("edges", "states"),
    [
        (CONFLICT_EDGES, ConflictState),
        (QUARANTINE_EDGES, QuarantineState),
        (VERIFICATION_EDGES, VerificationState),
    ],
)
def test_every_state_can_be_reached_and_waiting_ones_left(edges: tuple[Edge, ...], states: Any) -> None:
    reached, queue = {states.OPEN}, deque([states.OPEN])
    while queue:
        here = queue.popleft()
        for edge in edges:
            if edge.origin is here and edge.target not in reached:
                reached.add(edge.target)
                queue.append(edge.target)
    assert reached == set(states)
    for state in [state for state in states if state in WAITING]:
        assert [edge for edge in edges if edge.origin is state and edge.roles]


def test_the_collector_answers_and_the_desk_decides() -> None:
    resolved = conflict(ConflictState.RESOLVED, Action.RESOLVE)
    assert decide(CONFLICT_EDGES, Action.ACCEPT, resolved, COLLECTOR).target is ConflictState.ACCEPTED
    assert decide(CONFLICT_EDGES, Action.CONTEST, resolved, COLLECTOR).target is ConflictState.CONTESTED
    with pytest.raises(Refused, match="role"):
        decide(CONFLICT_EDGES, Action.ACCEPT, resolved, SUPERVISOR)
    with pytest.raises(Refused, match="author"):
        decide(CONFLICT_EDGES, Action.ACCEPT, resolved, Actor(OTHER, Role.GRID_WORKER))
    with pytest.raises(Refused, match="role"):
        decide(CONFLICT_EDGES, Action.RESOLVE, conflict(ConflictState.OPEN), COLLECTOR)
    with pytest.raises(Refused, match="state"):
        decide(CONFLICT_EDGES, Action.RESOLVE, resolved, SUPERVISOR)


def test_a_conflict_is_contested_once() -> None:
    again = conflict(ConflictState.RESOLVED, Action.RESOLVE, Action.CONTEST, Action.RESOLVE)
    with pytest.raises(Refused, match="first_contest"):
        decide(CONFLICT_EDGES, Action.CONTEST, again, COLLECTOR)
    assert [edge.action for edge in allowed(CONFLICT_EDGES, again, COLLECTOR)] == [Action.ACCEPT]


@given(st.lists(st.sampled_from([*Action]), max_size=30))
def test_however_often_people_act_there_is_at_most_one_contest(actions: list[Action]) -> None:
    state, done = ConflictState.OPEN, list[Action]()
    for action in actions:
        for actor in (COLLECTOR, SUPERVISOR):
            try:
                edge = decide(CONFLICT_EDGES, action, Standing(state, AUTHOR, done), actor)
            except Refused:
                continue
            state = ConflictState(edge.target.value)
            done.append(action)
    assert done.count(Action.CONTEST) <= 1
    assert done.count(Action.UNDO) <= done.count(Action.RESOLVE)


TENANT = {"id": "p", "name": "甲"}
HOME = State({"address": "合成路1号", "use": None, "tenants": [TENANT, {"id": "q"}]})


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("address", "合成路1号"),
        ("use", None),
        ("name", ABSENT),
        ("tenants[p]", TENANT),
        ("tenants[z]", ABSENT),
        ("tenants", HOME.fields["tenants"]),
        (DELETED, False),
    ],
)
def test_a_place_has_its_value(place: str, value: Any) -> None:
    assert same_value(value_at(HOUSE, HOME, place), value)


def test_brackets_mean_a_member_only_where_the_list_merges_as_a_set() -> None:
    assert split_place(HOUSE, "tenants[p]") == ("tenants", "p")
    assert split_place(HOUSE, "hazards[p]") == ("hazards[p]", None)
    assert split_place(HOUSE, "odd[") == ("odd[", None)


def test_a_member_is_set_in_its_place_added_last_and_taken_away() -> None:
    changed = with_value(HOUSE, HOME, "tenants[p]", {**TENANT, "name": "乙"})
    assert [member["id"] for member in changed.fields["tenants"]] == ["p", "q"]
    assert changed.fields["tenants"][0]["name"] == "乙"
    added = with_value(HOUSE, HOME, "tenants[z]", {"id": "z"})
    assert [member["id"] for member in added.fields["tenants"]] == ["p", "q", "z"]
    fewer = with_value(HOUSE, HOME, "tenants[p]", ABSENT)
    assert [member["id"] for member in fewer.fields["tenants"]] == ["q"]
    assert HOME.fields["tenants"][0] == TENANT, "the version that was read stays as it is"


def test_null_is_a_value_and_absent_is_none() -> None:
    assert with_value(HOUSE, HOME, "name", None).fields["name"] is None
    assert "use" not in with_value(HOUSE, HOME, "use", ABSENT).fields
    assert not same_value(None, ABSENT)
    assert same_value(ABSENT, ABSENT)
    assert with_value(HOUSE, HOME, DELETED, True) == State({}, deleted=True)


names = st.sampled_from(["address", "use", "name", "tenants[p]", "tenants[q]", "tenants[z]"])


@given(names, names, st.sampled_from([ABSENT, "x", None]))
def test_setting_a_place_gives_its_value_and_leaves_every_other(place: str, other: str, drawn: Any) -> None:
    member = split_place(HOUSE, place)[1]
    value = {"id": member, "name": drawn} if member is not None and drawn is not ABSENT else drawn
    changed = with_value(HOUSE, HOME, place, value)
    assert same_value(value_at(HOUSE, changed, place), value)
    if other != place:
        assert same_value(value_at(HOUSE, changed, other), value_at(HOUSE, HOME, other))
    back = with_value(HOUSE, changed, place, value_at(HOUSE, HOME, place))
    assert same_value(value_at(HOUSE, back, place), value_at(HOUSE, HOME, place))
