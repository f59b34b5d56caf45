"""Steps of reviews as they are written: the step, where the thing stands now, and the number its author reads on from.

All of a request at once, whatever it decided. `announce` comes late in the transaction: it takes the row lock of each
author's counter, so that the numbers come in commit order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlmodel import Session

from backend import jobs
from backend.core.enums import Role
from backend.core.ids import new_id
from backend.services import audit
from backend.services.sealing import Part, Vault, subjects_in
from backend.services.sessions import Caller
from sync.ownership import task_of
from sync.review_errors import ReviewNotAllowed, ReviewReasonUnknown
from sync.review_rules import (
    CONFLICT_EDGES,
    QUARANTINE_EDGES,
    Action,
    Actor,
    Edge,
    Refused,
    Standing,
    allowed,
    decide,
)
from sync.verification_rules import VERIFICATION_EDGES

CONFLICT, QUARANTINED, VERIFICATION = "conflict", "quarantine", "verification"
EDGES = {CONFLICT: CONFLICT_EDGES, QUARANTINED: QUARANTINE_EDGES, VERIFICATION: VERIFICATION_EDGES}


@dataclass(frozen=True, slots=True)
class Step:
    """A step to be written, of the conflict, quarantined row or verification request `thing_id`, which `account_id`
    pushed."""

    thing: str
    thing_id: UUID
    number: int
    edge: Edge
    reason: str
    account_id: UUID
    id: UUID
    choice: str | None = None
    version_before: int | None = None
    version: int | None = None
    op: UUID | None = None
    detail: bytes | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """A step that was taken, with what it holds opened: `value` is missing where none was chosen or it was erased."""

    id: UUID
    number: int
    action: Action
    from_state: str
    to_state: str
    actor: UUID
    role: Role | None
    reason: str
    choice: str | None
    version_before: int | None
    version: int | None
    op: UUID | None
    at: datetime
    detail: Mapping[str, Any]


def lawful(thing: str, action: Action, standing: Standing, caller: Caller, *, reason: str | None) -> tuple[Edge, str]:
    """The edge of an action with its reason; `ReviewNotAllowed`, `ReviewReasonUnknown`."""
    actor, edges = Actor(caller.account_id, caller.role), EDGES[thing]
    try:
        edge = decide(edges, action, standing, actor)
    except Refused as refusal:
        may = [edge.action.value for edge in allowed(edges, standing, actor)]
        raise ReviewNotAllowed(state=standing.state.value, because=refusal.because, allowed=may) from refusal
    if reason is None and len(edge.reasons) == 1:
        return edge, edge.reasons[0]
    if reason not in edge.reasons:
        raise ReviewReasonUnknown(reasons=list(edge.reasons))
    return edge, reason


def sealed_detail(vault: Vault, step_id: UUID, parts: Sequence[Part]) -> bytes | None:
    """What a step holds for somebody, sealed."""
    vault.provide(part.subject for part in parts)
    return vault.seal(parts, context=step_id.bytes)


def past_steps(session: Session, thing: str, thing_ids: Sequence[UUID], *, vault: Vault) -> dict[UUID, list[Past]]:
    """The steps of many things, oldest first, opened with one read of keys."""
    found: dict[UUID, list[Past]] = {thing_id: [] for thing_id in thing_ids}
    if not thing_ids:
        return found
    rows = list(session.connection().execute(_READ[thing], {"ids": list(thing_ids)}))
    vault.load(subjects_in(row.detail for row in rows))
    for row in rows:
        detail = {str(part.path[0]): part.value for part in vault.open(row.detail, context=row.id.bytes)}
        found[row.thing_id].append(
            Past(
                row.id,
                row.number,
                Action(row.action),
                row.from_state,
                row.to_state,
                row.actor,
                Role(row.role) if row.role else None,
                row.reason,
                row.choice,
                row.version_before,
                row.version,
                row.op,
                row.at,
                detail,
            )
        )
    return found


def write(session: Session, steps: Sequence[Step], *, caller: Caller, now: datetime) -> None:
    """Append the steps, and say where their things stand now; each step is one entry of the audit trail."""
    for thing in EDGES:
        own = [step for step in steps if step.thing == thing]
        if not own:
            continue
        rows = [_row(step, caller, now) for step in own]
        session.connection().execute(_APPEND, rows)
        session.connection().execute(
            _MOVE[thing],
            {"ids": [step.thing_id for step in own], "states": [step.edge.target.value for step in own], "now": now},
        )
        for step in own:
            audit.record(
                session,
                actor=str(caller.account_id),
                action=f"{thing}_{step.edge.action.value}",
                object_type=thing,
                object_id=str(step.thing_id),
                reason=step.reason,
                author=str(step.account_id),
                **({"choice": step.choice} if step.choice else {}),
                **({"version": step.version} if step.version is not None else {}),
            )

    published = [task_of(step.thing_id, step.number) for step in steps if step.thing == VERIFICATION]
    jobs.enqueue_many(session, published)


def announce(session: Session, steps: Sequence[Step]) -> None:
    """Number the things for their authors, who read on from such a number. Just before the feed."""
    by_author: dict[UUID, list[Step]] = {}
    for step in steps:
        by_author.setdefault(step.account_id, []).append(step)
    for account_id in sorted(by_author):
        own = by_author[account_id]
        last = session.connection().execute(_BUMP, {"account": account_id, "count": len(own)}).scalar_one()
        for seq, step in enumerate(own, start=last - len(own) + 1):
            session.connection().execute(_NUMBER[step.thing], {"id": step.thing_id, "seq": seq})


def new_step_id() -> UUID:
    """The id of a step, which its detail is sealed with before it is written."""
    return new_id()


def _row(step: Step, caller: Caller, now: datetime) -> dict[str, Any]:
    return {
        "id": step.id,
        "conflict": step.thing_id if step.thing == CONFLICT else None,
        "quarantined": step.thing_id if step.thing == QUARANTINED else None,
        "verification": step.thing_id if step.thing == VERIFICATION else None,
        "number": step.number,
        "action": step.edge.action.value,
        "origin": step.edge.origin.value,
        "target": step.edge.target.value,
        "actor": caller.account_id,
        "role": caller.role.value,
        "reason": step.reason,
        "choice": step.choice,
        "before": step.version_before,
        "version": step.version,
        "op": step.op,
        "detail": step.detail,
        "now": now,
    }


_APPEND = text(
    """
    INSERT INTO review_step (id, conflict_id, quarantine_id, verification_id, number, action, from_state, to_state,
                             actor, role, reason, choice, version_before, version, op, detail, at)
    VALUES (:id, :conflict, :quarantined, :verification, :number, :action, :origin, :target, :actor, :role, :reason,
            :choice, :before, :version, :op, :detail, :now)
    """
)
_MOVE: Mapping[str, TextClause] = {
    CONFLICT: text(
        """
        UPDATE conflict SET state = given.state
        FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[])) AS given (id, state)
        WHERE conflict.id = given.id
        """
    ),
    QUARANTINED: text(
        """
        UPDATE quarantine SET state = given.state, decided_at = CASE given.state WHEN 'open' THEN NULL ELSE :now END
        FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[])) AS given (id, state)
        WHERE quarantine.id = given.id
        """
    ),
    VERIFICATION: text(
        """
        UPDATE verification_request SET state = given.state
        FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[])) AS given (id, state)
        WHERE verification_request.id = given.id
        """
    ),
}
_NUMBER: Mapping[str, TextClause] = {
    CONFLICT: text("UPDATE conflict SET review_seq = :seq WHERE id = :id"),
    QUARANTINED: text("UPDATE quarantine SET review_seq = :seq WHERE id = :id"),
    VERIFICATION: text("UPDATE verification_request SET review_seq = :seq WHERE id = :id"),
}
_BUMP = text(
    """
    INSERT INTO review_counter (account_id, seq) VALUES (:account, :count)
    ON CONFLICT (account_id) DO UPDATE SET seq = review_counter.seq + :count
    RETURNING seq
    """
)
_COLUMNS = (
    "id, number, action, from_state, to_state, actor, role, reason, choice, version_before, version, op, at, detail"
)
_OWNER = {CONFLICT: "conflict_id", QUARANTINED: "quarantine_id", VERIFICATION: "verification_id"}
_READ: Mapping[str, TextClause] = {
    thing: text(f"SELECT {owner} AS thing_id, {_COLUMNS} FROM review_step WHERE {owner} = ANY(:ids) ORDER BY number")
    for thing, owner in _OWNER.items()
}
