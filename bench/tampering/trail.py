"""What every tampering works with: the honest trail, where it must be found, and what a clever owner does afterwards.

Each tampering alters the database in the caller's transaction, as a superuser can, or gives an altered copy of the
anchor.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import text
from sqlmodel import Session

from backend.core.ids import new_id
from backend.services.audit_hashing import batch_head
from backend.services.audit_locate import Wrong
from backend.services.audit_rows import entry_ids, rows_of
from backend.services.audit_verify import Report

FIRST_DAY = datetime(2026, 1, 5, 8, tzinfo=UTC)
STEP = timedelta(hours=6)


@dataclass(frozen=True)
class Expected:
    """Where a tampering must be found. A position of None is any; an entry of None is not asked for."""

    kinds: frozenset[Wrong]
    batch: int
    position: int | None = None
    entry: str | None = None
    late: bool = False

    def located(self, report: Report) -> bool:
        if self.late:
            return report.finding is None and any(found.entry_id == self.entry for found in report.late)
        found = report.finding
        return (
            found is not None
            and found.wrong in self.kinds
            and found.batch == self.batch
            and self.position in (None, found.position)
            and self.entry in (None, found.entry_id)
        )


@dataclass
class Trail:
    """The honest trail: entry ids by batch, and the anchor's lines."""

    batches: list[list[str]]
    anchor: Path
    lines: list[bytes]
    scratch: Path
    key: Ed25519PublicKey

    def pick(self, random: Random, *, least: int = 1) -> tuple[int, int, str]:
        """A batch of at least so many entries, a position in it, and the entry there."""
        batch = random.choice([n for n, ids in enumerate(self.batches, 1) if len(ids) >= least])
        position = random.randint(1, len(self.batches[batch - 1]))
        return batch, position, self.batches[batch - 1][position - 1]

    def altered(self, lines: list[bytes]) -> Path:
        self.scratch.write_bytes(b"".join(lines))
        return self.scratch


Tampering = Callable[[Session, Random, Trail], tuple[Expected, Path | None]]
TAMPERINGS: dict[str, Tampering] = {}


def tampering(function: Tampering) -> Tampering:
    TAMPERINGS[function.__name__] = function
    return function


def run(session: Session, statement: str, **values: object) -> None:
    session.connection().execute(text(statement), values)


def any_of(*kinds: Wrong) -> frozenset[Wrong]:
    return frozenset(kinds)


def recompute(session: Session, batch: int) -> None:
    """What a clever owner does afterwards: seals and head of the batch, and every later head, computed anew."""
    head: bytes | None = None
    for row in list(rows_of(session, after=batch - 1)):
        hashes = row.hashes()
        if row.number == batch:
            run(
                session,
                "UPDATE audit_seal s SET entry_hash = n.hash FROM "
                "unnest(CAST(:ids AS uuid[]), CAST(:hashes AS bytea[])) AS n (id, hash) WHERE s.entry_id = n.id",
                ids=entry_ids(session, batch),
                hashes=hashes,
            )
        previous = row.previous_head if head is None else head
        head = batch_head(previous, row.number, hashes)
        run(
            session,
            "UPDATE audit_batch SET head = :head, previous_head = :previous, entry_count = :count WHERE number = :n",
            head=head,
            previous=previous,
            count=len(hashes),
            n=row.number,
        )


def maybe_recompute(session: Session, random: Random, batch: int) -> None:
    if random.random() < 0.5:
        recompute(session, batch)


def forged(session: Session, *, at: datetime) -> UUID:
    """An entry nobody made, copied from an honest one."""
    entry = new_id()
    run(
        session,
        "INSERT INTO audit_entry SELECT :id, :at, actor, action, object_type, :object, request_id, detail "
        "FROM audit_entry ORDER BY id LIMIT 1",
        id=entry,
        at=at,
        object=str(uuid4()),
    )
    return entry


def remove_batches(session: Session, which: str, **values: object) -> None:
    run(session, f"DELETE FROM audit_entry WHERE id IN (SELECT entry_id FROM audit_seal WHERE batch {which})", **values)
    run(session, f"DELETE FROM audit_seal WHERE batch {which}", **values)
    run(session, f"DELETE FROM audit_batch WHERE number {which}", **values)
