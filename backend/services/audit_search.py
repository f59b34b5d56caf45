"""The trail as auditors read it. Whoever reads it leaves an entry of his own."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict
from sqlmodel import Session, col, or_, select

from backend.core.clock import now
from backend.core.errors import Malformed
from backend.models import AuditEntry, AuditSeal
from backend.services import audit
from backend.services.audit_chain import noted_batch
from backend.services.audit_hashing import microseconds, moment_of
from backend.services.audit_sealing import trail

SPAN = timedelta(days=31)
"""How far back a search reaches that names no beginning."""


class EntryView(BaseModel):
    """One entry, and the batch that seals it; null while it waits for one."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "01900000-0000-7000-8000-000000000001",
                "at": "2026-11-25T08:00:00Z",
                "actor": "01900000-0000-7000-8000-000000000002",
                "action": "case_dispatch",
                "object_type": "case",
                "object_id": "01900000-0000-7000-8000-000000000003",
                "request_id": "01900000-0000-7000-8000-000000000004",
                "detail": {"version": 3},
                "batch": 1284,
                "position": 17,
            }
        }
    )

    id: UUID
    at: AwareDatetime
    actor: str
    action: str
    object_type: str
    object_id: str
    request_id: str | None
    detail: dict[str, Any]
    batch: int | None
    position: int | None


class EntryPage(BaseModel):
    """Entries, the newest first. `next` goes into the next `cursor`; null where nothing follows."""

    entries: list[EntryView]
    next: str | None


class TrailView(BaseModel):
    """How far the trail is sealed and anchored, as the database tells it; `audit verify` does not take its word."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "batches": 1284,
                "head": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "sealed_at": "2026-11-25T08:00:05Z",
                "unsealed": 12,
                "anchored_batches": 1284,
                "dropped_batches": 0,
            }
        }
    )

    batches: int
    head: str
    sealed_at: AwareDatetime | None
    unsealed: int
    anchored_batches: int
    dropped_batches: int


def search(
    session: Session,
    *,
    reader: str,
    wanted: dict[str, str | None],
    since: datetime | None,
    until: datetime | None,
    cursor: str | None,
    limit: int,
) -> EntryPage:
    """Entries with these values, from `since` (by default 31 days back) to before `until`, the newest first.

    `wanted` maps columns of the entry to values; None is not asked for. `Malformed` for a cursor that is none of
    ours. Audited with the names of the filters, never with what was typed into them.
    """
    try:
        oldest = since or (until or now()) - SPAN
    except OverflowError as error:
        raise Malformed("to") from error
    filters = {name: value for name, value in wanted.items() if value is not None}
    newest_first = (col(AuditEntry.at).desc(), col(AuditEntry.id).desc())
    query = (
        select(AuditEntry, AuditSeal.batch, AuditSeal.position)
        .outerjoin(AuditSeal, col(AuditSeal.entry_id) == col(AuditEntry.id))
        .where(*(getattr(AuditEntry, name) == value for name, value in filters.items()))
        .where(col(AuditEntry.at) >= oldest)
        .order_by(*newest_first)
        .limit(limit + 1)
    )
    if until is not None:
        query = query.where(col(AuditEntry.at) < until)
    if cursor is not None:
        at, entry_id = _position(cursor)
        earlier = (col(AuditEntry.at) == at) & (col(AuditEntry.id) < entry_id)
        query = query.where(or_(col(AuditEntry.at) < at, earlier))
    rows = session.exec(query).all()
    audit.record(
        session,
        actor=reader,
        action="audit_read",
        object_type="audit_trail",
        object_id="entries",
        filters=",".join(sorted(filters)),
        found=min(len(rows), limit),
    )
    shown = rows[:limit]
    last = shown[-1][0] if len(rows) > limit else None
    return EntryPage(
        entries=[EntryView(**entry.model_dump(), batch=batch, position=place) for entry, batch, place in shown],
        next=f"{microseconds(last.at)}.{last.id}" if last else None,
    )


def status(session: Session, *, reader: str) -> TrailView:
    """How far the trail is. Audited."""
    seen = trail(session)
    audit.record(session, actor=reader, action="audit_read", object_type="audit_trail", object_id="status")
    return TrailView(
        batches=seen.batches,
        head=seen.head.hex(),
        sealed_at=seen.sealed_at,
        unsealed=seen.unsealed,
        anchored_batches=noted_batch(session),
        dropped_batches=seen.dropped_batches,
    )


def _position(cursor: str) -> tuple[datetime, UUID]:
    at, _, entry_id = cursor.partition(".")
    try:
        return moment_of(int(at)), UUID(entry_id)
    except (ValueError, OverflowError) as error:
        raise Malformed("cursor") from error
