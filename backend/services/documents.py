"""Documents as all rooms know them: the lock that everybody who changes one takes first, and duplicates joined."""

from collections.abc import Iterable
from uuid import UUID

from sqlmodel import Session

from backend.core.statements import execute, rows


def lock(session: Session, document_ids: Iterable[UUID]) -> None:
    """Lock the ids in sorted order until the end of the transaction, also those that do not exist yet (rule 10)."""
    keys = sorted({int.from_bytes(document_id.bytes[8:], signed=True) for document_id in document_ids})
    if keys:
        execute(session, _LOCK, {"keys": keys})


def merged_ids(session: Session, document_id: UUID) -> list[UUID]:
    """The document with all that were joined into it, and into those: what is known of them is known of it."""
    return [found for (found,) in rows(session, _MERGED, {"id": document_id})]


_LOCK = "SELECT pg_advisory_xact_lock(key) FROM (SELECT unnest(%(keys)b::bigint[]) AS key ORDER BY 1) AS sorted"
_MERGED = """
    WITH RECURSIVE merged (id) AS (
        SELECT %(id)s::uuid
        UNION
        SELECT d.id FROM document d JOIN merged ON d.merged_into = merged.id WHERE d.deleted
    )
    SELECT id FROM merged
"""
