"""Anchors sealed batches in the signed file outside the database, and lawful forks of it.

A batch is committed first and anchored afterwards. A crash between the two is healed by the next run: what is sealed
and not anchored is anchored then, after its hashes were computed anew from the entries. The database also notes the
last anchored batch (`server_state`), so that cutting off the file alone is noticed even before anything is verified.
"""

from collections.abc import Callable, Iterator
from functools import partial

from sqlalchemy import text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.settings import get_settings
from backend.services import audit
from backend.services.audit_anchor import (
    AuditBroken,
    Batch,
    Fork,
    Line,
    Read,
    Writer,
    private_key,
    read_lines,
    short_hashes,
    writing,
)
from backend.services.audit_hashing import batch_head, microseconds
from backend.services.audit_rows import BatchRow, rows_of

PENDING_AT_ONCE = 50
LONGEST_REASON = 200
_NOTED = "audit_anchored"
_UNLOCKED = "AUDIT_KEY is not set: batches are sealed and not anchored"


def anchor(session: Session, *, seen: Read | None = None) -> tuple[Read, int]:
    """Append a line for every sealed batch that has none; gives the last line and how many were written.

    `seen` is a line this process wrote or saw before: it must still be there. `AuditBroken` where the file is not
    ours, was cut off, or names another head than the database, where a batch is not what it was sealed as or says
    it was sealed before the one before it, and where there is no key.
    """
    key = private_key()
    if key is None:
        raise AuditBroken(_UNLOCKED)
    with writing(get_settings().anchor_path(), key) as writer:
        if seen is not None and not writer.holds(seen):
            raise AuditBroken("the anchor was changed behind this process")
        noted = noted_batch(session)
        if writer.tail is None:
            if noted:
                raise AuditBroken("the anchor file is gone")
            writer.start()
        tail = writer.tail
        assert tail is not None
        if tail.line.number < noted:
            raise AuditBroken(f"the anchor ends with batch {tail.line.number}, the database noted batch {noted}")
        if tail.line.number and _head_of(session, tail.line.number) != tail.line.head:
            raise AuditBroken(f"the database has not the batch {tail.line.number} of the anchor")
        written = _append_pending(session, writer)
        assert writer.tail is not None
        return writer.tail, written


def append_fork(session: Session, *, reason: str, backup_id: str) -> int:
    """Say in the anchor that the database was lawfully set back; gives the batch from which the trail goes on.

    To be called after a restore and before anything is anchored. `reason` is a short text without personal values.
    The fork stands at the latest batch that the database and the anchor have in common, or, in a new anchor file, at
    the last batch of the database. What was sealed since is anchored behind it. Audited.
    """
    key = private_key()
    if key is None:
        raise AuditBroken(_UNLOCKED)
    path = get_settings().anchor_path()
    with writing(path, key) as writer:
        if writer.tail is None:
            writer.start()
        common = _latest_common(session, read_lines(path, key.public_key()))
        parent, number, head = common or (1, *_last_batch(session))
        writer.append(
            [
                lambda line, previous: Fork(
                    line, previous, number, head, parent, microseconds(now()), reason[:LONGEST_REASON], backup_id
                )
            ]
        )
        _note(session, number)
        _append_pending(session, writer)
    audit.record(
        session,
        actor="audit.fork",
        action="audit_forked",
        object_type="audit_batch",
        object_id=str(number),
        backup=backup_id,
    )
    return number


def noted_batch(session: Session) -> int:
    """The last batch the database knows to be anchored."""
    value = session.connection().execute(_NOTED_BATCH, {"name": _NOTED}).scalar_one_or_none()
    return int(value or 0)


def _append_pending(session: Session, writer: Writer) -> int:
    """Anchor what is sealed and not anchored, some batches at a time."""
    written = 0
    while True:
        assert writer.tail is not None
        tail = writer.tail.line
        pending = list(rows_of(session, after=tail.number, limit=PENDING_AT_ONCE))
        if not pending:
            return written
        writer.append(list(_lines_for(pending, bytes.fromhex(tail.head), _sealed_at(session, tail.number))))
        _note(session, pending[-1].number)
        written += len(pending)


def _lines_for(pending: list[BatchRow], head: bytes, sealed_at: int) -> Iterator[Callable[[int, str], Line]]:
    """Lines for batches that go on from a head and the time it was sealed at."""
    for batch in pending:
        hashes = batch.hashes()
        if (
            not (batch.dropped is not None or batch.is_whole())
            or batch.previous_head != head
            or batch_head(head, batch.number, hashes) != batch.head
        ):
            raise AuditBroken(f"batch {batch.number} is not what it was sealed as")
        if batch.sealed_at < sealed_at:
            raise AuditBroken(f"batch {batch.number} says it was sealed before the one before it")
        head, sealed_at = batch.head, batch.sealed_at
        yield partial(_line_for, batch, hashes)


def _line_for(batch: BatchRow, hashes: list[bytes], line: int, previous: str) -> Batch:
    return Batch(
        line,
        previous,
        batch.number,
        batch.head.hex(),
        batch.previous_head.hex(),
        batch.entry_count,
        batch.first_at,
        batch.last_at,
        batch.sealed_at,
        short_hashes(hashes),
    )


def _latest_common(session: Session, lines: Iterator[Read]) -> tuple[int, int, str] | None:
    """Line, batch and head of the latest batch that the anchor and the database both have."""
    best: tuple[int, int, str] | None = None
    for read in lines:
        line = read.line
        later = isinstance(line, Batch) and (best is None or line.number >= best[1])
        if later and _head_of(session, line.number) == line.head:
            best = line.line, line.number, line.head
    return best


def _head_of(session: Session, number: int) -> str | None:
    head = session.connection().execute(_HEAD, {"number": number}).scalar_one_or_none()
    return None if head is None else bytes(head).hex()


def _sealed_at(session: Session, number: int) -> int:
    """When a batch was sealed, in microseconds since 1970; 0 where there is none before the first."""
    found = session.connection().execute(_SEALED_AT, {"number": number}).scalar_one_or_none()
    return 0 if found is None else microseconds(found)


def _last_batch(session: Session) -> tuple[int, str]:
    row = session.connection().execute(_LAST).first()
    return (row.number, bytes(row.head).hex()) if row else (0, bytes(32).hex())


def _note(session: Session, number: int) -> None:
    session.connection().execute(_WRITE_NOTE, {"name": _NOTED, "value": str(number)})


_HEAD = text("SELECT head FROM audit_batch WHERE number = :number")
_SEALED_AT = text("SELECT sealed_at FROM audit_batch WHERE number = :number")
_LAST = text("SELECT number, head FROM audit_batch ORDER BY number DESC LIMIT 1")
_NOTED_BATCH = text("SELECT value FROM server_state WHERE name = :name")
_WRITE_NOTE = text(
    """
    INSERT INTO server_state (name, value) VALUES (:name, :value)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value
    """
)
