"""Files of what was forgotten, removed after the commit: an object store may be slow, and nobody waits for it.

The keys stand in a durable job that commits with the rows it belongs to, so a file outlives its row until the store
answers, and never the other way round. Keys are made of random ids and say nothing of anybody.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import text
from sqlmodel import Session

from backend import jobs
from backend.core.ids import new_id
from backend.core.statements import execute
from backend.services.objects import object_store

JOB = "life.remove_files"
BATCH = 200


def remove_later(session: Session, keys: Iterable[str]) -> None:
    """Have files removed once the caller's transaction has committed."""
    found = sorted(set(keys))
    parts = [found[start : start + BATCH] for start in range(0, len(found), BATCH)]
    jobs.enqueue_many(session, [jobs.NewJob(JOB, str(new_id()), {"keys": part}) for part in parts])


def remove(session: Session, *, keys: Sequence[str]) -> None:
    """Remove files, but for those that a photo has again meanwhile. Files that are gone already do no harm.

    The locks keep whoever is about to store one of them waiting until it is clear which of the two came first.
    """
    for key in sorted(keys):
        lock(session, key)
    named = set(session.connection().execute(_NAMED_AGAIN, {"keys": list(keys)}).scalars())
    for key in keys:
        if key not in named:
            object_store().delete(key)


def lock(session: Session, key: str) -> None:
    """Hold a key of the store until the transaction ends, against a removal of what is being stored there."""
    execute(session, "SELECT pg_advisory_xact_lock(hashtextextended(%(name)s, 0))", {"name": f"store:{key}"})


def remove_waiting(session: Session) -> None:
    """Remove at once what jobs wait to remove, for a database that no worker serves yet; they may run again."""
    for part in session.connection().execute(_WAITING, {"name": JOB}).scalars().all():
        remove(session, keys=part)


_NAMED_AGAIN = text(
    """
    SELECT original_key FROM photo WHERE original_key = ANY(CAST(:keys AS text[]))
    UNION
    SELECT storage_key FROM derivative WHERE storage_key = ANY(CAST(:keys AS text[]))
    """
)
_WAITING = text("SELECT payload -> 'keys' FROM job WHERE name = :name AND state <> 'done'")
