"""The life of a conflict and of a quarantined row as tables of data, and how one field of a document is read and set.

Nothing here happens by itself: every edge of a conflict is a person's, so a conflict is never downgraded by a later
edit, by time or by a job. `docs/sync-protocol.md` explains the tables; pure, like `sync.rules`.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from backend.core.enums import ConflictState, QuarantineState, Role, VerificationState
from backend.kinds.base import Document, KindSpec
from sync.rules import ABSENT, DELETED, State, same

ReviewState = ConflictState | QuarantineState | VerificationState


class Action(StrEnum):
    """What is done to a conflict (the first four), a quarantined row, or (the last two) a verification request."""

    RESOLVE = "resolve"
    UNDO = "undo"
    ACCEPT = "accept"
    CONTEST = "contest"
    RELEASE = "release"
    CORRECT = "correct"
    REJECT = "reject"
    REOPEN = "reopen"
    RESUBMIT = "resubmit"
    APPROVE = "approve"
    REFUSE = "refuse"


class Choice(StrEnum):
    """Which value a resolved field gets: the handheld's, the server's of that time, the department's, one that was
    given, or the one it has now."""

    MINE = "mine"
    THEIRS = "theirs"
    STEWARD = "steward"
    VALUE = "value"
    KEEP = "keep"


REASONS: Mapping[str, str] = {
    "checked_with_collector": "已与采集员核实",
    "checked_on_site": "已现场核实",
    "department_record": "以部门业务数据为准",
    "newer_value": "以较新的采集结果为准",
    "same_meaning": "两者含义一致",
    "no_contradiction": "两处修改互不影响",
    "contest_upheld": "采集员异议成立",
    "contest_dismissed": "采集员异议不成立，维持原处理",
    "decided_wrongly": "处理有误，撤回重审",
    "new_information": "有新的情况，撤回重审",
    "agreed": "认可处理结果",
    "differs_on_site": "与现场情况不符",
    "newer_information": "掌握更新的情况",
    "wrong_object": "对象有误",
    "in_order": "核对无误，准予入库",
    "captured_in_term": "系管辖期内采集，准予入库",
    "belongs_here": "确属本辖区，准予入库",
    "typing_error": "录入有误，更正后入库",
    "grid_corrected": "更正网格后入库",
    "form_corrected": "更正格式后入库",
    "not_true": "情况不属实",
    "duplicate": "重复上报",
    "outside_scope": "不属采集范围",
    "not_ours": "不属本辖区",
    "unusable": "内容无法使用",
    "rejected_wrongly": "退回有误，重新审核",
    "evidence_sufficient": "佐证充分，予以采纳",
    "department_corrected": "部门业务数据已更正",
    "evidence_lacking": "佐证不足",
    "refused_wrongly": "驳回有误，重新核实",
    "pushed_again": "采集员更正后重新上报",
}
"""Every reason an edge may carry, with its plain Chinese text."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the rules look at: where it stands, whose work it is, and what was done to it before, oldest first."""

    state: ReviewState
    author: UUID
    actions: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Actor:
    """Who wants to act."""

    account_id: UUID
    role: Role


class Guard(StrEnum):
    """A condition on the person or on what went before, beyond the role."""

    AUTHOR = "author"
    NOT_AUTHOR = "not_author"
    FIRST_CONTEST = "first_contest"


_HOLDS: Mapping[Guard, Callable[[Standing, Actor], bool]] = {
    Guard.AUTHOR: lambda thing, actor: thing.author == actor.account_id,
    # 采审分离: nobody reviews his own work, whatever he has become since.
    Guard.NOT_AUTHOR: lambda thing, actor: thing.author != actor.account_id,
    # One contest: the second decision is final for the collector.
    Guard.FIRST_CONTEST: lambda thing, _: Action.CONTEST not in thing.actions,
}


@dataclass(frozen=True, slots=True)
class Edge:
    """One lawful change, with the reasons of which the caller names one. Without roles it is the system's own."""

    action: Action
    origin: ReviewState
    target: ReviewState
    reasons: tuple[str, ...]
    roles: tuple[Role, ...] = ()
    guards: tuple[Guard, ...] = ()


_DESK = (Role.SUPERVISOR, Role.STEWARD)
_FIELD = (Role.GRID_WORKER,)
_COMMENTS = (
    "checked_with_collector",
    "checked_on_site",
    "department_record",
    "newer_value",
    "same_meaning",
    "no_contradiction",
)
_AGAIN = ("decided_wrongly", "new_information")
_CONTESTS = ("differs_on_site", "newer_information", "wrong_object")
_NOT_OWN = (Guard.NOT_AUTHOR,)

CONFLICT_EDGES: tuple[Edge, ...] = (
    Edge(Action.RESOLVE, ConflictState.OPEN, ConflictState.RESOLVED, _COMMENTS, _DESK, _NOT_OWN),
    Edge(Action.ACCEPT, ConflictState.RESOLVED, ConflictState.ACCEPTED, ("agreed",), _FIELD, (Guard.AUTHOR,)),
    Edge(
        Action.CONTEST,
        ConflictState.RESOLVED,
        ConflictState.CONTESTED,
        _CONTESTS,
        _FIELD,
        (Guard.AUTHOR, Guard.FIRST_CONTEST),
    ),
    Edge(
        Action.RESOLVE,
        ConflictState.CONTESTED,
        ConflictState.RESOLVED,
        ("contest_upheld", "contest_dismissed", *_COMMENTS),
        _DESK,
        _NOT_OWN,
    ),
    Edge(Action.UNDO, ConflictState.RESOLVED, ConflictState.OPEN, _AGAIN, _DESK, _NOT_OWN),
    Edge(Action.UNDO, ConflictState.ACCEPTED, ConflictState.OPEN, _AGAIN, _DESK, _NOT_OWN),
)

QUARANTINE_EDGES: tuple[Edge, ...] = (
    Edge(
        Action.RELEASE,
        QuarantineState.OPEN,
        QuarantineState.RELEASED,
        ("in_order", "captured_in_term", "belongs_here"),
        _DESK,
        _NOT_OWN,
    ),
    Edge(
        Action.CORRECT,
        QuarantineState.OPEN,
        QuarantineState.CORRECTED,
        ("typing_error", "grid_corrected", "form_corrected"),
        _DESK,
        _NOT_OWN,
    ),
    Edge(
        Action.REJECT,
        QuarantineState.OPEN,
        QuarantineState.REJECTED,
        ("not_true", "duplicate", "outside_scope", "not_ours", "unusable"),
        _DESK,
        _NOT_OWN,
    ),
    Edge(
        Action.REOPEN,
        QuarantineState.REJECTED,
        QuarantineState.OPEN,
        ("rejected_wrongly", "new_information"),
        _DESK,
        _NOT_OWN,
    ),
    Edge(Action.RESUBMIT, QuarantineState.OPEN, QuarantineState.RESOLVED, ("pushed_again",)),
)

WAITING = frozenset({ConflictState.OPEN, ConflictState.CONTESTED, QuarantineState.OPEN})
"""States in which somebody at the desk has to decide."""


class Refused(Exception):
    """An action that is not lawful now. `because` is `state`, `role` or the guard that does not hold."""

    def __init__(self, because: str) -> None:
        super().__init__(because)
        self.because = because


def decide(edges: Collection[Edge], action: Action, thing: Standing, actor: Actor) -> Edge:
    """The edge an action takes. `Refused` with the first thing that stands against it."""
    edge = next((edge for edge in edges if edge.action is action and edge.origin is thing.state), None)
    if edge is None:
        raise Refused("state")
    if actor.role not in edge.roles:
        raise Refused("role")
    for guard in edge.guards:
        if not _HOLDS[guard](thing, actor):
            raise Refused(guard.value)
    return edge


def allowed(edges: Collection[Edge], thing: Standing, actor: Actor) -> list[Edge]:
    """Every edge this person may take now."""
    found = []
    for action in dict.fromkeys(edge.action for edge in edges):
        try:
            found.append(decide(edges, action, thing, actor))
        except Refused:
            continue
    return found


_MEMBER = re.compile(r"(?P<name>[^\[\]]+)\[(?P<member>[^\[\]]*)\]", re.DOTALL)


def value_at(spec: KindSpec, state: State, place: str) -> Any:
    """The value a conflict's field has in a version: a field's, a member's (`tenants[id]`), or whether it is deleted.

    `ABSENT` where there is none.
    """
    if place == DELETED:
        return state.deleted
    name, member = split_place(spec, place)
    value = state.fields.get(name, ABSENT)
    if member is None:
        return value
    return next((item for item in _items(value) if _names(item, spec.members[name], member)), ABSENT)


def with_value(spec: KindSpec, state: State, place: str, value: Any) -> State:
    """The version with the field set, or taken away where the value is `ABSENT`. A new member comes last.

    A tombstone has no fields: whoever brings a document back gives its content, and sets fields of that.
    """
    if place == DELETED:
        return State({}, deleted=True) if value is True else state
    name, member = split_place(spec, place)
    if member is not None:
        value = _with_member(_items(state.fields.get(name)), spec.members[name], member, value)
    fields: Document = {key: item for key, item in state.fields.items() if key != name or value is not ABSENT}
    return State(fields if value is ABSENT else {**fields, name: value}, state.deleted)


def same_value(left: Any, right: Any) -> bool:
    """Equality of two values of a field, absent ones included."""
    if left is ABSENT or right is ABSENT:
        return left is right
    return same(left, right)


def split_place(spec: KindSpec, place: str) -> tuple[str, str | None]:
    """A conflict's field as the name of a field and, in a list that merges as a set, the id of the member."""
    match = _MEMBER.fullmatch(place)
    if match is None or match["name"] not in spec.members:
        return place, None
    return match["name"], match["member"]


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _names(item: Any, key: str, member: str) -> bool:
    return isinstance(item, dict) and str(item.get(key)) == member


def _with_member(items: Sequence[Any], key: str, member: str, value: Any) -> list[Any]:
    given = [] if value is ABSENT else [value]
    place = next((index for index, item in enumerate(items) if _names(item, key, member)), len(items))
    return [*items[:place], *given, *items[place + 1 :]]
