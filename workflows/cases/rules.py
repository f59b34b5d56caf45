"""The life cycle of a case as a table of data, and the other pure rules of cases.

Stages after GB/T 30428.8: report, accept, register, dispatch, handle, check, close. `docs/case-lifecycle.md` explains
the table and is held to it by a test.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from backend.core.enums import CaseState, Kind, Role, VerdictKind
from backend.kinds.geodesy import distance_m

SIMILAR_WITHIN_M = 50.0
SIMILAR_WITHIN = timedelta(hours=24)
RETURNS_BEFORE_RULING = 2

ENDED = frozenset({CaseState.CLOSED, CaseState.REJECTED})
OPEN_STATES = tuple(state for state in CaseState if state not in ENDED | {CaseState.REPORTED})


class Action(StrEnum):
    """What a person may do to a case."""

    CLAIM = "claim"
    DISPATCH = "dispatch"
    HANDLE = "handle"
    COMPLETE = "complete"
    RETURN = "return"
    CLOSE = "close"
    REJECT = "reject"


class SystemAction(StrEnum):
    """What a verdict does: it opens a case, comes again to one that is open, or finds its record in order now. The
    verdict of a check that was made again settles a case whose difference is gone."""

    OPEN = "open"
    AGAIN = "again"
    CLEARED = "cleared"
    SETTLE = "settle"


class CaseOutcome(StrEnum):
    """How a closed case ended. A rejected case has the reason of its rejection instead."""

    RESOLVED = "resolved"
    RECORD_CORRECTED = "record_corrected"
    UNFOUNDED = "unfounded"


class Need(StrEnum):
    """What a caller must name with an action."""

    REASON = "reason"
    DEPARTMENT = "department_code"
    OUTCOME = "outcome"
    NOTE = "note"


REASONS: Mapping[str, str] = {
    "needs_triage": "待审核立案",
    "urgent_standard": "符合紧急立案标准，直接立案",
    "seen_again": "同一对象再次核查出同样问题",
    "record_corrected": "数据已更正，最新核查未再发现问题，请核实后办结",
    "difference_gone": "比对所用数据已更新，重新核查后差异消失，自动办结",
    "rules_changed": "比对规则已调整，重新核查后不再认定为问题，自动办结",
    "declaration_withdrawn": "申报已撤回，自动办结",
    "standard_met": "符合立案标准",
    "taken_on": "接手经办",
    "responsible_unit": "派给责任单位",
    "signed_for": "签收并开始处置",
    "handled": "处置完毕，待核查",
    "not_ours": "不属本单位职责",
    "wrong_place": "不在本单位辖区",
    "needs_information": "信息不足，无法处置",
    "not_fixed": "核查发现问题未解决",
    "evidence_missing": "处置结果缺少依据",
    "checked": "核查通过",
    "confirmed_on_site": "现场确认已解决",
    "outside_scope": "不属受理范围",
    "duplicate": "重复案件",
    "unfounded": "情况不属实",
}
"""Every reason an edge may carry, with its plain Chinese text."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the rules look at in a case. `handlers` are the people who signed for it or reported it handled."""

    state: CaseState
    claimed_by: UUID | None = None
    collected_by: UUID | None = None
    department_code: str | None = None
    handlers: frozenset[str] = frozenset()
    returns: int = 0


@dataclass(frozen=True, slots=True)
class Actor:
    """Who wants to act."""

    account_id: UUID
    role: Role
    department_code: str | None = None


class Guard(StrEnum):
    """A condition on the person, beyond the role."""

    UNCLAIMED_OR_SUPERVISOR = "unclaimed_or_supervisor"
    CLAIMANT = "claimant"
    RULING = "ruling"
    OWN_DEPARTMENT = "own_department"
    NOT_COLLECTOR = "not_collector"
    NOT_HANDLER = "not_handler"


_HOLDS: Mapping[Guard, Callable[[Standing, Actor], bool]] = {
    # Nobody has it yet, or a supervisor takes it over from somebody else.
    Guard.UNCLAIMED_OR_SUPERVISOR: lambda case, actor: (
        case.claimed_by is None or (actor.role is Role.SUPERVISOR and case.claimed_by != actor.account_id)
    ),
    # Whoever claimed it stays responsible for where it goes.
    Guard.CLAIMANT: lambda case, actor: case.claimed_by == actor.account_id,
    # After two returns the units disagree, and a supervisor rules (domain.md, "Case life cycle").
    Guard.RULING: lambda case, actor: case.returns < RETURNS_BEFORE_RULING or actor.role is Role.SUPERVISOR,
    Guard.OWN_DEPARTMENT: lambda case, actor: (
        case.department_code is not None and case.department_code == actor.department_code
    ),
    # 采办分离: the collector never handles or closes what he collected.
    Guard.NOT_COLLECTOR: lambda case, actor: case.collected_by != actor.account_id,
    # A check is by someone other than the handler.
    Guard.NOT_HANDLER: lambda case, actor: str(actor.account_id) not in case.handlers,
}


@dataclass(frozen=True, slots=True)
class Edge:
    """One lawful change. Without roles it is the system's own. Of several reasons the caller names one."""

    action: Action | SystemAction
    origin: CaseState
    target: CaseState
    reasons: tuple[str, ...]
    roles: tuple[Role, ...] = ()
    needs: tuple[Need, ...] = ()
    guards: tuple[Guard, ...] = ()


_TRIAGE = (Role.SUPERVISOR, Role.OPERATOR)
_DESK = (Role.SUPERVISOR, Role.OPERATOR, Role.DISPATCHER)
_UNIT = (Role.HANDLER,)
_REFUSALS = ("outside_scope", "duplicate", "unfounded")
_UNIT_RETURNS = ("not_ours", "wrong_place", "needs_information")
_GONE = ("difference_gone", "rules_changed", "declaration_withdrawn")
_CHECKER = (Guard.NOT_COLLECTOR, Guard.NOT_HANDLER)

CASE_ROLES = (*_DESK, *_UNIT)

EDGES: tuple[Edge, ...] = (
    Edge(SystemAction.OPEN, CaseState.REPORTED, CaseState.ACCEPTED, ("needs_triage",)),
    Edge(SystemAction.OPEN, CaseState.REPORTED, CaseState.REGISTERED, ("urgent_standard",)),
    *(Edge(SystemAction.AGAIN, state, state, ("seen_again",)) for state in OPEN_STATES),
    *(Edge(SystemAction.CLEARED, state, state, ("record_corrected",)) for state in OPEN_STATES),
    *(Edge(SystemAction.SETTLE, state, CaseState.CLOSED, _GONE) for state in OPEN_STATES),
    Edge(Action.CLAIM, CaseState.ACCEPTED, CaseState.REGISTERED, ("standard_met",), _TRIAGE),
    Edge(
        Action.CLAIM,
        CaseState.REGISTERED,
        CaseState.REGISTERED,
        ("taken_on",),
        _DESK,
        guards=(Guard.UNCLAIMED_OR_SUPERVISOR,),
    ),
    Edge(Action.REJECT, CaseState.ACCEPTED, CaseState.REJECTED, _REFUSALS, _TRIAGE),
    Edge(Action.REJECT, CaseState.REGISTERED, CaseState.REJECTED, _REFUSALS, _TRIAGE, guards=(Guard.CLAIMANT,)),
    Edge(
        Action.DISPATCH,
        CaseState.REGISTERED,
        CaseState.DISPATCHED,
        ("responsible_unit",),
        _DESK,
        needs=(Need.DEPARTMENT,),
        guards=(Guard.CLAIMANT, Guard.RULING),
    ),
    Edge(
        Action.HANDLE,
        CaseState.DISPATCHED,
        CaseState.HANDLING,
        ("signed_for",),
        _UNIT,
        guards=(Guard.OWN_DEPARTMENT, Guard.NOT_COLLECTOR),
    ),
    Edge(
        Action.RETURN,
        CaseState.DISPATCHED,
        CaseState.REGISTERED,
        _UNIT_RETURNS,
        _UNIT,
        guards=(Guard.OWN_DEPARTMENT,),
    ),
    Edge(
        Action.RETURN,
        CaseState.HANDLING,
        CaseState.REGISTERED,
        _UNIT_RETURNS,
        _UNIT,
        guards=(Guard.OWN_DEPARTMENT,),
    ),
    Edge(
        Action.COMPLETE,
        CaseState.HANDLING,
        CaseState.CHECKING,
        ("handled",),
        _UNIT,
        guards=(Guard.OWN_DEPARTMENT, Guard.NOT_COLLECTOR),
    ),
    Edge(
        Action.RETURN,
        CaseState.CHECKING,
        CaseState.HANDLING,
        ("not_fixed", "evidence_missing"),
        _TRIAGE,
        guards=_CHECKER,
    ),
    Edge(Action.CLOSE, CaseState.CHECKING, CaseState.CLOSED, ("checked",), _TRIAGE, (Need.OUTCOME,), _CHECKER),
    *(
        Edge(
            Action.CLOSE,
            state,
            CaseState.CLOSED,
            ("confirmed_on_site",),
            (Role.SUPERVISOR,),
            (Need.OUTCOME, Need.NOTE),
            _CHECKER,
        )
        for state in (CaseState.DISPATCHED, CaseState.HANDLING)
    ),
)


class Refused(Exception):
    """An action that is not lawful now. `because` is `state`, `role` or the guard that does not hold."""

    def __init__(self, because: str) -> None:
        super().__init__(because)
        self.because = because


def decide(action: Action, case: Standing, actor: Actor) -> Edge:
    """The edge an action takes. `Refused` with the first thing that stands against it."""
    edge = next((edge for edge in EDGES if edge.action == action and edge.origin is case.state), None)
    if edge is None:
        raise Refused("state")
    if actor.role not in edge.roles:
        raise Refused("role")
    for guard in edge.guards:
        if not _HOLDS[guard](case, actor):
            raise Refused(guard.value)
    return edge


def allowed(case: Standing, actor: Actor) -> list[Edge]:
    """Every edge this person may take now."""
    edges = []
    for action in Action:
        try:
            edges.append(decide(action, case, actor))
        except Refused:
            continue
    return edges


def lacking(edge: Edge, *, reason: str | None, given: Collection[Need]) -> list[Need]:
    """What the caller still has to name. A reason is asked for where the edge has several, or has not this one."""
    missing = [need for need in edge.needs if need not in given]
    if reason not in edge.reasons and not (reason is None and len(edge.reasons) == 1):
        missing.append(Need.REASON)
    return missing


def opening(*, urgent: bool) -> Edge:
    """How a verdict opens a case. An urgent standard leaves no time for triage, so its case is registered at once."""
    target = CaseState.REGISTERED if urgent else CaseState.ACCEPTED
    return next(edge for edge in EDGES if edge.action is SystemAction.OPEN and edge.target is target)


def coming_again(state: CaseState) -> Edge:
    """How a verdict comes again to a case that is open in `state`."""
    return next(edge for edge in EDGES if edge.action is SystemAction.AGAIN and edge.origin is state)


def being_cleared(state: CaseState) -> Edge:
    """How a verdict that finds the record in order marks a case that is open in `state`; a person closes it."""
    return next(edge for edge in EDGES if edge.action is SystemAction.CLEARED and edge.origin is state)


def being_settled(state: CaseState) -> Edge:
    """How a check that was made again closes a case that is open in `state`: what it was opened for is gone."""
    return next(edge for edge in EDGES if edge.action is SystemAction.SETTLE and edge.origin is state)


def settles(kind: Kind, case_reason: str, findings: Collection[str]) -> bool:
    """Whether a check that was made again finds the difference gone that a case was opened for.

    An event is a matter outside, which no record and no rule makes go away.
    """
    return kind is not Kind.EVENT and case_reason not in findings


def clears(kind: Kind, verdict: VerdictKind) -> bool:
    """Whether a verdict says that a record is in order. An accepted event is a matter to be handled, not cleared."""
    return kind is not Kind.EVENT and verdict in (VerdictKind.MATCH, VerdictKind.ACCEPTED)


@dataclass(frozen=True, slots=True)
class Sighting:
    """Where and when a case was seen. `point` is latitude and longitude in degrees, WGS-84."""

    case_id: UUID
    point: tuple[float, float]
    at: datetime
    class_code: str | None = None


def first_similar(new: Sighting, others: Iterable[Sighting]) -> UUID | None:
    """The earliest case within 50 m and 24 h whose class is the same or not known. It is flagged, never merged."""
    near = [other for other in others if other.case_id != new.case_id and _similar(new, other)]
    return min(near, key=lambda other: (other.at, other.case_id)).case_id if near else None


def _similar(one: Sighting, other: Sighting) -> bool:
    classes = {one.class_code, other.class_code} - {None}
    return (
        len(classes) <= 1
        and abs(one.at - other.at) <= SIMILAR_WITHIN
        and distance_m(one.point, other.point) <= SIMILAR_WITHIN_M
    )
