"""Seals audit entries into chained batches, after they were committed and without any writer knowing of it.

Unsealed entries are found as those that have no seal, never as those behind a cursor: an entry whose transaction
commits late has an older id and an older time than some that are sealed already. To stay quick among millions of seals
the search usually looks at recent entries only (`since`); transactions are bounded in time (statements by 60 s, jobs by
540 s), so `LONGEST_TRANSACTION` reaches every late commit, and `oldest_unsealed` now and then assumes nothing at all.

Writers take no lock and share no row here. Of two sealers one does nothing; the primary key of the batch is the second
wall.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.statements import raw_connection
from backend.services import audit
from backend.services.audit_hashing import (
    CANONICAL,
    ID_PLACE,
    NO_HEAD,
    batch_head,
    entry_hash,
    fetch,
    microseconds,
    moment_of,
    time_of,
)

BATCH_ENTRIES = 1000
SEALED_AT_ONCE = 10_000
LONGEST_TRANSACTION = timedelta(minutes=15)
COUNTED_BEFORE = timedelta(minutes=1)
"""How long before the last sealing `trail` still counts: a cheap answer for each scrape of the metrics."""
LEAST_KEPT = timedelta(days=183)
"""The database's own function refuses to drop anything younger, whatever a batch says of its age."""
DROPPED_AT_ONCE = 100
_SEALER = 7_240_140
"""The advisory lock of sealers: any number, the same in every process."""


@dataclass(frozen=True, slots=True)
class Trail:
    """The trail as the database tells it. `unsealed` counts what was written since the last sealing, or just before."""

    batches: int
    head: bytes
    sealed_at: datetime | None
    unsealed: int
    dropped_batches: int


def seal_waiting(
    session: Session, *, since: datetime | None = None, at_least: int = 1, until: datetime | None = None
) -> int:
    """Seal unsealed entries as the next batches, some thousands at most, in the caller's transaction; gives how many.

    `since` narrows the search to entries of that time and later; None looks at all. Fewer than `at_least` entries are
    left for later while none of them is older than `until`. Gives 0 where another sealer is at work.
    """
    if not session.connection().execute(_LOCK, {"key": _SEALER}).scalar_one():
        return 0
    found = [form for (form,) in fetch(session, _UNSEALED, {"since": since or _BEGINNING, "limit": SEALED_AT_ONCE})]
    if not found or (len(found) < at_least and until is not None and time_of(found[0]) > microseconds(until)):
        return 0
    last = session.connection().execute(_LAST).first()
    number, head = (last.number, bytes(last.head)) if last else (0, NO_HEAD)
    # Of two machines one may be behind, and a clock may be set back; batches are never out of order for that.
    sealed_at = max(now(), last.sealed_at) if last else now()
    for start in range(0, len(found), BATCH_ENTRIES):
        number += 1
        head = _seal(session, number, head, found[start : start + BATCH_ENTRIES], sealed_at)
    return len(found)


def _seal(session: Session, number: int, previous: bytes, forms: list[bytes], sealed_at: datetime) -> bytes:
    """Write one batch of entries in their canonical form; gives its head."""
    hashes = [entry_hash(form) for form in forms]
    head = batch_head(previous, number, hashes)
    session.connection().execute(
        _INSERT_BATCH,
        {
            "number": number,
            "previous_head": previous,
            "head": head,
            "entry_count": len(forms),
            "first_at": moment_of(time_of(forms[0])),
            "last_at": moment_of(time_of(forms[-1])),
            "sealed_at": sealed_at,
        },
    )
    with raw_connection(session).cursor() as cursor, cursor.copy(_COPY_SEALS) as copy:
        for position, (form, digest) in enumerate(zip(forms, hashes, strict=True), start=1):
            copy.write(f"{form[ID_PLACE].decode()}\t{number}\t{position}\t\\\\x{digest.hex()}\n")
    return head


def trail(session: Session) -> Trail:
    """How far the trail is sealed. Quick also among millions of entries, so fit for metrics."""
    last = session.connection().execute(_LAST).first()
    # The bound is a value of its own: inside the query the planner would not know it, and count from the beginning.
    since = moment_of(0) if last is None else min(last.sealed_at, now()) - COUNTED_BEFORE
    unsealed, dropped = session.connection().execute(_COUNTS, {"since": since}).one()
    if last is None:
        return Trail(0, NO_HEAD, None, unsealed, dropped)
    return Trail(last.number, bytes(last.head), last.sealed_at, unsealed, dropped)


def sealed_until(session: Session) -> datetime:
    """The time from which entries may be unsealed: the last sealing, less the longest transaction."""
    last: datetime | None = session.connection().execute(_LAST_SEALED).scalar_one()
    return moment_of(0) if last is None else min(last, now()) - LONGEST_TRANSACTION


def oldest_unsealed(session: Session) -> datetime | None:
    """The time of the oldest entry without a seal, None where all have one. Reads both indexes, however long it takes,
    and keeps no sealer waiting."""
    session.connection().execute(text("SET LOCAL statement_timeout = 0"))
    oldest: datetime | None = session.connection().execute(_OLDEST_UNSEALED).scalar_one()
    return oldest


def count_unsealed(session: Session) -> int:
    """All entries without a seal, whatever their age. Reads the whole index; for people, not for metrics."""
    return int(session.connection().execute(_COUNT_UNSEALED).scalar_one())


def retain(session: Session, *, days: int) -> int:
    """Drop the entries of some of the oldest batches, older than `days`; gives how many entries. Audited.

    Their hashes stay, so the chain still verifies. The database refuses less than 183 days.
    """
    values = {"before": now() - timedelta(days=days), "limit": DROPPED_AT_ONCE}
    dropped = int(session.connection().execute(_DROP, values).scalar_one())
    if dropped:
        audit.record(
            session,
            actor="audit.retention",
            action="audit_batches_dropped",
            object_type="audit_batch",
            object_id=str(session.connection().execute(_LAST_DROPPED).scalar_one()),
            entries=dropped,
            days=days,
        )
    return dropped


_BEGINNING = "-infinity"
_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)")
_LAST = text("SELECT number, head, sealed_at FROM audit_batch ORDER BY number DESC LIMIT 1")
_UNSEALED = f"""
    WITH oldest AS MATERIALIZED (
        SELECT e.at, e.id FROM audit_entry e
        WHERE e.at >= CAST(%(since)s AS timestamptz)
          AND NOT EXISTS (SELECT FROM audit_seal s WHERE s.entry_id = e.id)
        ORDER BY e.at, e.id LIMIT %(limit)s
    )
    SELECT {CANONICAL} FROM oldest JOIN audit_entry e ON e.id = oldest.id ORDER BY oldest.at, oldest.id
"""
_INSERT_BATCH = text(
    """
    INSERT INTO audit_batch (number, previous_head, head, entry_count, first_at, last_at, sealed_at)
    VALUES (:number, :previous_head, :head, :entry_count, :first_at, :last_at, :sealed_at)
    """
)
_COPY_SEALS = "COPY audit_seal (entry_id, batch, position, entry_hash) FROM STDIN"
_COUNTS = text(
    """
    SELECT (SELECT count(*) FROM audit_entry e
            WHERE e.at >= :since AND NOT EXISTS (SELECT FROM audit_seal s WHERE s.entry_id = e.id)),
           (SELECT count(*) FROM audit_drop)
    """
)
_LAST_SEALED = text("SELECT max(sealed_at) FROM audit_batch WHERE number = (SELECT max(number) FROM audit_batch)")
_OLDEST_UNSEALED = text(
    """
    SELECT min(e.at) FROM audit_entry e
    WHERE isfinite(e.at) AND NOT EXISTS (SELECT FROM audit_seal s WHERE s.entry_id = e.id)
    """
)
_COUNT_UNSEALED = text(
    "SELECT count(*) FROM audit_entry e WHERE NOT EXISTS (SELECT FROM audit_seal s WHERE s.entry_id = e.id)"
)
_LAST_DROPPED = text("SELECT max(batch) FROM audit_drop")
_DROP = text("SELECT audit_drop_batches(:before, :limit)")
