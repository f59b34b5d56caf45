"""Sealed batches as they stand in the database, with the hashes of their entries computed anew."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from backend.services.audit_hashing import CANONICAL, EPOCH_2000, HASH_BYTES, entry_hash, exact, fetch

PAGE_BATCHES = 500
WINDOW_ENTRIES = 20_000
"""Entries read at once, about 8 MB: memory stays the same however long the trail is."""


@dataclass(slots=True)
class BatchRow:
    """A batch, times in microseconds since 1970. `dropped` holds its hashes where retention dropped the entries.

    Its seals by position: the position, the hash that was sealed, the hash the entry has now (None: it is gone).
    """

    number: int
    previous_head: bytes
    head: bytes
    entry_count: int
    first_at: int
    last_at: int
    sealed_at: int
    dropped: bytes | None
    dropped_at: int | None
    positions: list[int] = field(default_factory=list)
    sealed: list[bytes] = field(default_factory=list)
    digests: list[bytes | None] = field(default_factory=list)

    def hashes(self) -> list[bytes]:
        """The hashes the head has to be made of: of the entries as they are, or as they were when dropped.

        An entry that is gone counts as its seal says; `is_whole` asks for it by itself.
        """
        if self.dropped is not None:
            return [self.dropped[at : at + HASH_BYTES] for at in range(0, len(self.dropped), HASH_BYTES)]
        return [digest or sealed for digest, sealed in zip(self.digests, self.sealed, strict=True)]

    def is_whole(self) -> bool:
        """Whether every entry is there, agrees with its seal and stands in its place."""
        return self.digests == self.sealed and self.positions == list(range(1, self.entry_count + 1))


def rows_of(session: Session, *, after: int = 0, limit: int | None = None) -> Iterator[BatchRow]:
    """The batches after a number, by number, with their seals by position."""
    return islice(_all_rows(session, after), limit)


def entry_ids(session: Session, number: int) -> list[str]:
    """The ids of the entries of a batch, as its seals name them, by position."""
    return [str(row.entry_id) for row in session.connection().execute(_IDS, {"number": number})]


def _all_rows(session: Session, after: int) -> Iterator[BatchRow]:
    while True:
        page = [_batch_row(row) for row in fetch(session, _BATCHES, {"after": after, "limit": PAGE_BATCHES})]
        if not page:
            return
        for window in _windows(page):
            _read_seals(session, after, window)
            after = window[-1].number
            yield from window


def _batch_row(row: tuple[Any, ...]) -> BatchRow:
    """A row of `_BATCHES`, its last four columns brought to microseconds since 1970."""
    number, previous, head, count, dropped, first, last, sealed, dropped_at = row
    times = first + EPOCH_2000, last + EPOCH_2000, sealed + EPOCH_2000
    return BatchRow(
        number, previous, head, count, *times, dropped, None if dropped_at is None else dropped_at + EPOCH_2000
    )


def _windows(page: list[BatchRow]) -> Iterator[list[BatchRow]]:
    """A page cut into pieces of a bounded number of entries."""
    window: list[BatchRow] = []
    entries = 0
    for batch in page:
        window.append(batch)
        entries += max(batch.entry_count, 1)
        if entries >= WINDOW_ENTRIES:
            yield window
            window, entries = [], 0
    if window:
        yield window


def _read_seals(session: Session, after: int, window: list[BatchRow]) -> None:
    """Give each batch of a window its seals. Seals of a batch that has no row are left out."""
    batches = {batch.number: batch for batch in window}
    values = {"after": after, "until": window[-1].number}
    for number, positions, sealed, forms in fetch(session, _SEALS, values):
        if batch := batches.get(number):
            batch.positions, batch.sealed = positions, sealed
            batch.digests = [None if form is None else entry_hash(form) for form in forms]


_BATCHES = f"""
    SELECT b.number, b.previous_head, b.head, b.entry_count, d.hashes,
           {exact("b.first_at")}, {exact("b.last_at")}, {exact("b.sealed_at")}, {exact("d.dropped_at")}
    FROM audit_batch b LEFT JOIN audit_drop d ON d.batch = b.number
    WHERE b.number > %(after)s ORDER BY b.number LIMIT %(limit)s
"""
_SEALS = f"""
    SELECT batch, array_agg(position ORDER BY position), array_agg(entry_hash ORDER BY position),
           array_agg(form ORDER BY position)
    FROM (SELECT s.batch, s.position, s.entry_hash, CASE WHEN e.id IS NOT NULL THEN {CANONICAL} END AS form
          FROM audit_seal s LEFT JOIN audit_entry e ON e.id = s.entry_id
          WHERE s.batch > %(after)s AND s.batch <= %(until)s) AS sealed
    GROUP BY batch
"""
_IDS = text("SELECT entry_id FROM audit_seal WHERE batch = :number ORDER BY position")
