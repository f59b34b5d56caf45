"""Documents as all rooms know them: the lock that everybody who changes one takes first."""

from collections.abc import Iterable
from uuid import UUID

from sqlmodel import Session

from backend.core.statements import execute


def lock(session: Session, document_ids: Iterable[UUID]) -> None:
    """Lock the ids in sorted order until the end of the transaction, also those that do not exist yet (rule 10)."""
    keys = sorted({int.from_bytes(document_id.bytes[8:], signed=True) for document_id in document_ids})
    if keys:
        execute(session, _LOCK, {"keys": keys})


_LOCK = "SELECT pg_advisory_xact_lock(key) FROM (SELECT unnest(%(keys)b::bigint[]) AS key ORDER BY 1) AS sorted"
