"""What reviewers and departments decided about what an account pushed, as its handhelds hear of it.

In the order of the numbers that `review_steps.announce` gives. A thing comes once, as it stands now, with the last
number that was given to it; a decision that was taken back comes as undecided.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.enums import ConflictState
from backend.kinds import Document as Fields
from backend.models import Document
from backend.services import territory
from backend.services.sealing import Vault
from backend.services.sessions import Caller
from sync.review_rules import CONFLICT_EDGES, REASONS, Action, Actor, Standing, allowed
from sync.review_steps import CONFLICT, EDGES, QUARANTINED, VERIFICATION, Past, past_steps

REVIEWS = 100


def reviewed(session: Session, *, caller: Caller, since: int) -> list[Fields]:
    """The next `REVIEWS` things of the caller's account that were reviewed after the number `since`.

    The chosen value is given only for records in grids that the caller holds now: what lies elsewhere is not his to
    see any more, also where he once collected it.
    """
    given = {"account": caller.account_id, "since": since, "limit": REVIEWS}
    rows = list(session.connection().execute(_REVIEWED, given))
    vault = Vault(session)
    steps = {
        thing: past_steps(session, thing, [row.id for row in rows if row.thing == thing], vault=vault)
        for thing in EDGES
    }
    visible = _visible(session, caller, [row.document_id for row in rows if row.thing == CONFLICT])
    return [_reviewed(row, steps[row.thing][row.id], caller, is_visible=row.document_id in visible) for row in rows]


def _reviewed(row: Any, steps: Sequence[Past], caller: Caller, *, is_visible: bool) -> Fields:
    if row.thing == CONFLICT:
        return _conflict(row, steps, caller, is_visible=is_visible)
    return _verification(row, steps) if row.thing == VERIFICATION else _quarantined(row, steps)


def _conflict(row: Any, steps: Sequence[Past], caller: Caller, *, is_visible: bool) -> Fields:
    state = ConflictState(row.state)
    last = next((step for step in reversed(steps) if step.action is Action.RESOLVE), None)
    resolution = None
    if last is not None and state is not ConflictState.OPEN:
        value = {"value": last.detail["value"]} if is_visible and "value" in last.detail else {}
        resolution = {**_decision(last), "choice": last.choice, **value}
    standing = Standing(state, caller.account_id, [step.action for step in steps])
    may = allowed(CONFLICT_EDGES, standing, Actor(caller.account_id, caller.role))
    return {
        "seq": row.seq,
        "conflict": str(row.id),
        "kind": row.kind,
        "id": str(row.document_id),
        "op": str(row.op),
        "field": row.field,
        "hardness": row.hardness,
        "state": row.state,
        "resolution": resolution,
        "may": {edge.action.value: {code: REASONS[code] for code in edge.reasons} for edge in may},
    }


def _quarantined(row: Any, steps: Sequence[Past]) -> Fields:
    last = steps[-1]
    taken = {"outcome": last.choice, "op": str(last.op) if last.op else None}
    return {
        "seq": row.seq,
        "held": str(row.id),
        "kind": row.kind,
        "id": str(row.document_id) if row.document_id else None,
        "op": str(row.op) if row.op else None,
        "code": row.code,
        "state": row.state,
        "decision": None if last.action is Action.REOPEN else _decision(last) | taken,
    }


def _verification(row: Any, steps: Sequence[Past]) -> Fields:
    """The value that stands, or came to stand, is in the document, which the worker pulls."""
    last = steps[-1]
    return {
        "seq": row.seq,
        "verification": str(row.id),
        "kind": row.kind,
        "id": str(row.document_id),
        "op": str(row.op),
        "field": row.field,
        "state": row.state,
        "decision": _decision(last) if last.action is not Action.REOPEN else None,
    }


def _decision(step: Past) -> Fields:
    """Who decided by role, when, why, and the version of the record after it."""
    return {
        "reason": step.reason,
        "reason_zh": REASONS.get(step.reason, step.reason),
        "by": step.role.value if step.role else None,
        "at": step.at.isoformat(),
        "rev": step.version,
    }


def _visible(session: Session, caller: Caller, document_ids: Sequence[UUID]) -> set[UUID]:
    held = territory.held_grids(session, caller.account_id, at=now())
    query = select(Document.id).where(col(Document.id).in_(document_ids), col(Document.grid_id).in_(held))
    return set(session.exec(query)) if document_ids else set()


_REVIEWED = text(
    f"""
    SELECT '{CONFLICT}' AS thing, review_seq AS seq, id, kind, document_id, op, state, field, hardness, NULL AS code
    FROM conflict WHERE account_id = :account AND review_seq > :since
    UNION ALL
    SELECT '{QUARANTINED}', review_seq, id, kind, document_id, op, state, NULL, NULL, code
    FROM quarantine WHERE account_id = :account AND review_seq > :since
    UNION ALL
    SELECT '{VERIFICATION}', review_seq, id, kind, document_id, op, state, field, NULL, NULL
    FROM verification_request WHERE account_id = :account AND review_seq > :since
    ORDER BY seq LIMIT :limit
    """
)
