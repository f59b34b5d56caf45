"""The audit trail: one row for each change of state, written in the transaction that makes the change."""

from typing import Any

import msgspec
import structlog
from sqlalchemy import text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.ids import new_id


def record(
    session: Session, *, actor: str, action: str, object_type: str, object_id: str, **detail: str | int | None
) -> None:
    """Append one entry. `actor` is an account id or the name of a job; `detail` holds ids, codes and counts only."""
    record_many(session, actor=actor, action=action, object_type=object_type, entries=[(object_id, detail)])


def record_many(
    session: Session, *, actor: str, action: str, object_type: str, entries: list[tuple[str, dict[str, Any]]]
) -> None:
    """Append entries of one action with one statement; each is an object id and its detail."""
    if not entries:
        return
    moment = now()
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    session.connection().execute(
        _INSERT,
        [
            {
                "id": new_id(),
                "at": moment,
                "actor": actor,
                "action": action,
                "object_type": object_type,
                "object_id": object_id,
                "request_id": request_id,
                "detail": msgspec.json.encode(detail).decode(),
            }
            for object_id, detail in entries
        ],
    )


_INSERT = text(
    """
    INSERT INTO audit_entry (id, at, actor, action, object_type, object_id, request_id, detail)
    VALUES (:id, :at, :actor, :action, :object_type, :object_id, :request_id, CAST(:detail AS json))
    """
)
