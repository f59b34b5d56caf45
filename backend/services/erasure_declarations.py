"""Declarations that an erasure, or the end of their time, empties. That there was one stays, and its id is not free."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend import jobs
from backend.core.clock import now
from backend.core.enums import DeclarationState, SourceType, WithdrawalReason
from backend.services import audit, documents, sealing
from backend.services.declarations import WITHDRAWN_JOB

Counts = dict[str, int]


def of_human(session: Session, index: bytes) -> set[UUID]:
    """What a human has declared about himself, by the blind index of his identity document."""
    return set(session.connection().execute(_OF_HUMAN, {"index": index}).scalars())


def naming(session: Session, subjects: Sequence[bytes], kinds: Sequence[str]) -> list[UUID]:
    """Declarations of these kinds that name one of the subjects in what is sealed. It reads the whole table."""
    given = {"subjects": list(subjects), "kinds": list(kinds)}
    return list(session.connection().execute(_NAMING, given).scalars())


def written_since(session: Session, since: datetime, kinds: Collection[str]) -> list[UUID]:
    """Declarations of these kinds that were written beside the erasure of their subject."""
    rows = session.connection().execute(_WRITTEN_SINCE, {"since": since, "kinds": list(kinds)}).all()
    gone = sealing.erased_among(session, sealing.subjects_in(row.sealed for row in rows))
    return [row.id for row in rows if gone & sealing.subjects_in([row.sealed])]


def forget(session: Session, declaration_ids: Iterable[UUID], *, actor: str) -> Counts:
    """End declarations, with what they had led to, and empty them with their versions, evidence and notes. Emptied ones
    are left alone."""
    ids = sorted(declaration_ids)
    if not ids:
        return {}
    documents.lock(session, ids)
    counts = {"keys": sealing.destroy_keys(session, [one.bytes for one in ids])}
    run = session.connection().execute
    ended: dict[str, Any] = {"state": DeclarationState.WITHDRAWN.value, "reason": WithdrawalReason.ERASED.value}
    emptied = list(run(_END, {"ids": ids, "now": now(), **ended}).scalars())
    counts["declaration"] = len(emptied)
    for row in run(_EMPTY, {"ids": ids}).all():
        counts[row.part] = row.affected
    for row in run(_EMPTY_HISTORY, {"source": SourceType.DECLARATION.value, "ids": ids}).all():
        counts[row.part] = counts.get(row.part, 0) + row.affected
    audit.record_many(
        session,
        actor=actor,
        action="declaration_erased",
        object_type="declaration",
        entries=[(str(one), {}) for one in emptied],
    )
    jobs.enqueue_many(session, [jobs.NewJob(WITHDRAWN_JOB, str(one), {"declaration_id": str(one)}) for one in emptied])
    session.expire_all()
    return counts


def remove_withdrawn(session: Session, before: datetime, *, limit: int) -> int:
    """Empty what was withdrawn before a moment, with its own keys; gives how many there were."""
    run = session.connection().execute
    ids = list(run(_OVER, {"before": before, "limit": limit}).scalars())
    run(_EMPTY, {"ids": ids}).all()
    run(_DELETE_KEYS, {"subjects": [one.bytes for one in ids]})
    return len(ids)


_BLANK = (
    "body = '{}', sealed = NULL, id_index = NULL, phone_index = NULL, block_index = NULL, name_year_index = NULL, "
    "name_address_index = NULL, natural_key = NULL"
)
_HOLDS = "(sealed IS NOT NULL OR natural_key IS NOT NULL OR body::text <> '{}')"
_OF_HUMAN = text("SELECT id FROM declaration WHERE id_index = :index")
_NAMING = text(
    """
    SELECT id FROM declaration d WHERE d.kind = ANY(CAST(:kinds AS text[])) AND EXISTS (
        SELECT FROM unnest(CAST(:subjects AS bytea[])) AS gone (subject) WHERE position(subject IN d.sealed) > 0)
    """
)
_WRITTEN_SINCE = text(
    """
    SELECT id, sealed FROM declaration
    WHERE updated_at > :since AND sealed IS NOT NULL AND kind = ANY(CAST(:kinds AS text[]))
    """
)
_END = text(
    f"""
    UPDATE declaration SET state = :state, end_reason = :reason, ended_at = coalesce(ended_at, :now), {_BLANK}
    WHERE id = ANY(CAST(:ids AS uuid[])) AND {_HOLDS} RETURNING id
    """
)
_OVER = text(
    f"""
    UPDATE declaration SET {_BLANK} WHERE id IN (
        SELECT id FROM declaration WHERE state = 'withdrawn' AND ended_at < :before AND {_HOLDS}
        ORDER BY id LIMIT :limit)
    RETURNING id
    """
)
_EMPTY = text("SELECT part, affected FROM empty_declarations(CAST(:ids AS uuid[])) WHERE affected > 0")
_EMPTY_HISTORY = text(
    "SELECT part, affected FROM erase_history(CAST(:source AS text), CAST(:ids AS uuid[])) WHERE affected > 0"
)
_DELETE_KEYS = text("DELETE FROM subject_key WHERE subject_id = ANY(CAST(:subjects AS bytea[]))")
