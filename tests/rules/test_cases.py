"""The life cycle of a case: lawful ways, and every kind of unlawful one."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.enums import CaseState, Role
from backend.services.case_numbers import case_number
from workflows.cases.rules import (
    EDGES,
    ENDED,
    OPEN_STATES,
    REASONS,
    Action,
    Actor,
    Edge,
    Need,
    Refused,
    Sighting,
    Standing,
    SystemAction,
    allowed,
    being_cleared,
    coming_again,
    decide,
    first_similar,
    lacking,
    opening,
)


def person(number: int, role: Role, department: str | None = None) -> Actor:
    return Actor(UUID(int=number), role, department)


SUPERVISOR = person(1, Role.SUPERVISOR)
OTHER_SUPERVISOR = person(2, Role.SUPERVISOR)
OPERATOR = person(3, Role.OPERATOR)
DISPATCHER = person(4, Role.DISPATCHER)
HANDLER = person(5, Role.HANDLER, "water")
FOREIGN_HANDLER = person(6, Role.HANDLER, "gas")
WORKER = person(7, Role.GRID_WORKER)
STAFF = [SUPERVISOR, OTHER_SUPERVISOR, OPERATOR, DISPATCHER, HANDLER, FOREIGN_HANDLER, WORKER]

CLAIMED = Standing(CaseState.REGISTERED, claimed_by=OPERATOR.account_id)
DISPATCHED = Standing(CaseState.DISPATCHED, claimed_by=OPERATOR.account_id, department_code="water")
HANDLING = Standing(
    CaseState.HANDLING,
    claimed_by=OPERATOR.account_id,
    department_code="water",
    handlers=frozenset({str(HANDLER.account_id)}),
)
CHECKING = Standing(CaseState.CHECKING, OPERATOR.account_id, None, "water", HANDLING.handlers)


def why_not(action: Action, case: Standing, actor: Actor) -> str:
    with pytest.raises(Refused) as refusal:
        decide(action, case, actor)
    return refusal.value.because


@pytest.mark.parametrize(
    ("action", "case", "actor", "target"),
    [
        (Action.CLAIM, Standing(CaseState.ACCEPTED), OPERATOR, CaseState.REGISTERED),
        (Action.CLAIM, Standing(CaseState.REGISTERED), DISPATCHER, CaseState.REGISTERED),
        (Action.REJECT, Standing(CaseState.ACCEPTED), OPERATOR, CaseState.REJECTED),
        (Action.REJECT, CLAIMED, OPERATOR, CaseState.REJECTED),
        (Action.DISPATCH, CLAIMED, OPERATOR, CaseState.DISPATCHED),
        (Action.HANDLE, DISPATCHED, HANDLER, CaseState.HANDLING),
        (Action.RETURN, DISPATCHED, HANDLER, CaseState.REGISTERED),
        (Action.RETURN, HANDLING, HANDLER, CaseState.REGISTERED),
        (Action.COMPLETE, HANDLING, HANDLER, CaseState.CHECKING),
        (Action.RETURN, CHECKING, OPERATOR, CaseState.HANDLING),
        (Action.CLOSE, CHECKING, OPERATOR, CaseState.CLOSED),
        (Action.CLOSE, DISPATCHED, SUPERVISOR, CaseState.CLOSED),
        (Action.CLOSE, HANDLING, SUPERVISOR, CaseState.CLOSED),
    ],
)
def test_each_action_leads_where_the_life_cycle_says(
    action: Action, case: Standing, actor: Actor, target: CaseState
) -> None:
    assert decide(action, case, actor).target is target


@pytest.mark.parametrize(
    ("action", "case", "actor", "because"),
    [
        # No skipping of stages.
        (Action.DISPATCH, Standing(CaseState.ACCEPTED), SUPERVISOR, "state"),
        (Action.CLOSE, Standing(CaseState.ACCEPTED), SUPERVISOR, "state"),
        (Action.CLOSE, CLAIMED, SUPERVISOR, "state"),
        (Action.COMPLETE, DISPATCHED, HANDLER, "state"),
        (Action.REJECT, DISPATCHED, SUPERVISOR, "state"),
        # Each stage has its roles.
        (Action.CLAIM, Standing(CaseState.ACCEPTED), DISPATCHER, "role"),
        (Action.HANDLE, DISPATCHED, SUPERVISOR, "role"),
        (Action.CLOSE, CHECKING, HANDLER, "role"),
        (Action.CLOSE, CHECKING, DISPATCHER, "role"),
        (Action.CLOSE, HANDLING, OPERATOR, "role"),
        (Action.CLAIM, Standing(CaseState.ACCEPTED), WORKER, "role"),
        # Only who claimed it decides where it goes; only a supervisor takes it over.
        (Action.DISPATCH, Standing(CaseState.REGISTERED), SUPERVISOR, "claimant"),
        (Action.DISPATCH, CLAIMED, SUPERVISOR, "claimant"),
        (Action.REJECT, CLAIMED, SUPERVISOR, "claimant"),
        (Action.CLAIM, CLAIMED, DISPATCHER, "unclaimed_or_supervisor"),
        (Action.CLAIM, CLAIMED, OPERATOR, "unclaimed_or_supervisor"),
        # Another department's case.
        (Action.HANDLE, DISPATCHED, FOREIGN_HANDLER, "own_department"),
        (Action.RETURN, DISPATCHED, FOREIGN_HANDLER, "own_department"),
        (Action.COMPLETE, HANDLING, FOREIGN_HANDLER, "own_department"),
    ],
)
def test_what_the_life_cycle_does_not_say_is_refused_with_its_cause(
    action: Action, case: Standing, actor: Actor, because: str
) -> None:
    assert why_not(action, case, actor) == because


def test_a_supervisor_may_take_over_what_another_claimed_but_not_what_he_has() -> None:
    theirs = Standing(CaseState.REGISTERED, claimed_by=SUPERVISOR.account_id)
    assert decide(Action.CLAIM, theirs, OTHER_SUPERVISOR).target is CaseState.REGISTERED
    assert why_not(Action.CLAIM, theirs, SUPERVISOR) == "unclaimed_or_supervisor"


@pytest.mark.parametrize(
    ("action", "case", "actor"),
    [
        (Action.HANDLE, DISPATCHED, HANDLER),
        (Action.COMPLETE, HANDLING, HANDLER),
        (Action.CLOSE, CHECKING, SUPERVISOR),
        (Action.CLOSE, DISPATCHED, SUPERVISOR),
        (Action.CLOSE, HANDLING, SUPERVISOR),
    ],
)
def test_the_collector_never_handles_or_closes_what_he_collected(action: Action, case: Standing, actor: Actor) -> None:
    collected = Standing(case.state, case.claimed_by, actor.account_id, case.department_code)
    assert why_not(action, collected, actor) == "not_collector"


@pytest.mark.parametrize("action", [Action.CLOSE, Action.RETURN])
def test_a_check_is_by_someone_other_than_the_handler(action: Action) -> None:
    handled = Standing(CaseState.CHECKING, None, None, "water", frozenset({str(SUPERVISOR.account_id)}))
    assert why_not(action, handled, SUPERVISOR) == "not_handler"
    assert decide(action, handled, OTHER_SUPERVISOR) in EDGES


def test_after_two_returns_only_a_supervisor_dispatches() -> None:
    once = Standing(CaseState.REGISTERED, claimed_by=OPERATOR.account_id, returns=1)
    twice = Standing(CaseState.REGISTERED, claimed_by=OPERATOR.account_id, returns=2)
    ruled = Standing(CaseState.REGISTERED, claimed_by=SUPERVISOR.account_id, returns=2)
    assert decide(Action.DISPATCH, once, OPERATOR) in EDGES
    assert why_not(Action.DISPATCH, twice, OPERATOR) == "ruling"
    assert decide(Action.DISPATCH, ruled, SUPERVISOR) in EDGES


@pytest.mark.parametrize("state", [*sorted(ENDED), CaseState.REPORTED])
def test_nothing_can_be_done_to_an_ended_case_or_before_one_is_opened(state: CaseState) -> None:
    assert [edge for actor in STAFF for edge in allowed(Standing(state, actor.account_id), actor)] == []


@pytest.mark.parametrize("state", OPEN_STATES)
def test_every_open_stage_leads_to_an_end(state: CaseState) -> None:
    reached, frontier = {state}, [state]
    while frontier:
        here = frontier.pop()
        ahead = {edge.target for edge in EDGES if edge.origin is here and edge.roles} - reached
        reached |= ahead
        frontier += ahead
    assert reached & ENDED


def test_the_table_is_unambiguous_and_every_reason_has_a_text() -> None:
    ways = [(edge.action, edge.origin) for edge in EDGES if edge.action is not SystemAction.OPEN]
    assert len(ways) == len(set(ways))
    assert {reason for edge in EDGES for reason in edge.reasons} == set(REASONS)
    assert all(edge.reasons for edge in EDGES)
    assert all(bool(edge.roles) is isinstance(edge.action, Action) for edge in EDGES)


def test_an_urgent_standard_opens_registered_and_any_other_waits_for_triage() -> None:
    assert opening(urgent=True).target is CaseState.REGISTERED
    assert opening(urgent=False).target is CaseState.ACCEPTED


@pytest.mark.parametrize("state", OPEN_STATES)
def test_coming_again_leaves_an_open_case_where_it_stands(state: CaseState) -> None:
    assert coming_again(state).target is state


@pytest.mark.parametrize("state", OPEN_STATES)
def test_being_cleared_leaves_an_open_case_where_it_stands(state: CaseState) -> None:
    assert being_cleared(state).target is state


def test_what_an_action_needs_is_asked_for() -> None:
    dispatch = decide(Action.DISPATCH, CLAIMED, OPERATOR)
    on_site = decide(Action.CLOSE, HANDLING, SUPERVISOR)
    sent_back = decide(Action.RETURN, HANDLING, HANDLER)
    assert lacking(dispatch, reason=None, given=set()) == [Need.DEPARTMENT]
    assert lacking(dispatch, reason=None, given={Need.DEPARTMENT}) == []
    assert lacking(dispatch, reason="not_ours", given={Need.DEPARTMENT}) == [Need.REASON]
    assert lacking(on_site, reason=None, given={Need.OUTCOME}) == [Need.NOTE]
    assert lacking(sent_back, reason=None, given=set()) == [Need.REASON]
    assert lacking(sent_back, reason="not_ours", given=set()) == []


standings = st.builds(
    Standing,
    state=st.sampled_from(CaseState),
    claimed_by=st.sampled_from([None, *(actor.account_id for actor in STAFF)]),
    collected_by=st.sampled_from([None, *(actor.account_id for actor in STAFF)]),
    department_code=st.sampled_from([None, "water", "gas"]),
    handlers=st.frozensets(st.sampled_from([str(actor.account_id) for actor in STAFF]), max_size=2),
    returns=st.integers(0, 3),
)


@given(case=standings, actor=st.sampled_from(STAFF), action=st.sampled_from(Action))
def test_an_action_is_decided_exactly_when_it_is_listed_as_allowed(
    case: Standing, actor: Actor, action: Action
) -> None:
    listed: dict[object, Edge] = {edge.action: edge for edge in allowed(case, actor)}
    try:
        assert decide(action, case, actor) == listed[action]
    except Refused:
        assert action not in listed


@given(case=standings, actor=st.sampled_from(STAFF))
def test_nobody_ever_handles_or_closes_his_own_find_whatever_the_history(case: Standing, actor: Actor) -> None:
    if case.collected_by == actor.account_id:
        assert not {Action.HANDLE, Action.COMPLETE, Action.CLOSE} & {edge.action for edge in allowed(case, actor)}


NOON = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
HERE = (22.7, 114.3)


def sighting(number: int, *, metres_north: float = 0, hours: float = 0, class_code: str | None = "0601") -> Sighting:
    point = (HERE[0] + metres_north / 111_195, HERE[1])
    return Sighting(UUID(int=number), point, NOON + timedelta(hours=hours), class_code)


@pytest.mark.parametrize(
    ("other", "similar"),
    [
        (sighting(2, metres_north=49.5, hours=-23.9), True),
        (sighting(2, metres_north=50.5), False),
        (sighting(2, hours=-24.1), False),
        (sighting(2, class_code=None), True),
        (sighting(2, class_code="0602"), False),
        (sighting(1), False),
    ],
)
def test_similar_is_within_50_m_and_24_h_of_no_other_class_and_not_itself(other: Sighting, similar: bool) -> None:
    assert first_similar(sighting(1), [other]) == (other.case_id if similar else None)


def test_of_several_similar_cases_the_earliest_is_named() -> None:
    others = [sighting(2, hours=-1), sighting(3, hours=-5), sighting(4, hours=-3, metres_north=80)]
    assert first_similar(sighting(1), others) == UUID(int=3)


def test_the_number_people_read_holds_the_day_and_the_running_number() -> None:
    assert case_number(datetime(2026, 11, 23, 15, 59, tzinfo=UTC), 123) == "20261123-000123"
    assert case_number(datetime(2026, 11, 23, 16, 0, tzinfo=UTC), 124) == "20261124-000124"
