"""The kinds of tampering that `bench.tamper` does to an audit trail, and where each must be found.

Each alters the database in the caller's transaction, as a superuser can, or gives an altered copy of the anchor.
"""

import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import text
from sqlmodel import Session

from backend.core.ids import new_id
from backend.services import audit_sealing
from backend.services.audit_anchor import Batch, private_key, short_hashes, writing
from backend.services.audit_hashing import CANONICAL, batch_head, entry_hash, fetch, microseconds
from backend.services.audit_locate import Wrong
from backend.services.audit_rows import entry_ids, rows_of
from backend.services.audit_verify import Report

FIRST_DAY = datetime(2026, 1, 5, 8, tzinfo=UTC)
STEP = timedelta(hours=6)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


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


EDITS = {
    "at": "at + make_interval(secs => :salt)",
    "actor": "left(actor || :word, 60)",
    "action": "action || :word",
    "object_type": "left(object_type || :word, 32)",
    "object_id": "overlay(object_id placing :word from 1)",
    "request_id": "CASE WHEN request_id IS NULL THEN :word END",
    "detail": "CAST(replace(detail::text, '}', ', \"x\": \"' || :word || '\"}') AS json)",
}


@tampering
def edit_a_column(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, position, entry = trail.pick(random)
    column = random.choice(list(EDITS))
    statement = f"UPDATE audit_entry SET {column} = {EDITS[column]} WHERE id = :id".replace("::", "\\:\\:")
    values = {"salt": random.choice([-1, 1]) * random.uniform(0.000002, 5000), "word": f"{random.randrange(10**6)}"}
    run(session, statement, id=entry, **{name: value for name, value in values.items() if f":{name}" in statement})
    maybe_recompute(session, random, batch)
    return Expected(any_of(Wrong.EDITED), batch, position, entry), None


@tampering
def give_an_entry_another_id(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, position, entry = trail.pick(random)
    run(session, "UPDATE audit_entry SET id = :new WHERE id = :id", new=new_id(), id=entry)
    return Expected(any_of(Wrong.DELETED), batch, position, entry), None


@tampering
def give_entry_and_seal_another_id(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, position, entry = trail.pick(random)
    new = new_id()
    run(session, "UPDATE audit_entry SET id = :new WHERE id = :id", new=new, id=entry)
    run(session, "UPDATE audit_seal SET entry_id = :new WHERE entry_id = :id", new=new, id=entry)
    maybe_recompute(session, random, batch)
    return Expected(any_of(Wrong.EDITED), batch, position, str(new)), None


@tampering
def delete_an_entry(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, position, entry = trail.pick(random)
    run(session, "DELETE FROM audit_entry WHERE id = :id", id=entry)
    return Expected(any_of(Wrong.DELETED), batch, position, entry), None


@tampering
def delete_an_entry_and_its_seal(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, position, entry = trail.pick(random)
    run(session, "DELETE FROM audit_entry WHERE id = :id", id=entry)
    run(session, "DELETE FROM audit_seal WHERE entry_id = :id", id=entry)
    if random.random() < 0.7:
        close_gap(session, batch, position)
    maybe_recompute(session, random, batch)
    return Expected(any_of(Wrong.DELETED), batch, position), None


def close_gap(session: Session, batch: int, position: int) -> None:
    """Later entries of the batch move up; by way of negative numbers, as positions are unique."""
    where = "WHERE batch = :batch AND position"
    run(session, f"UPDATE audit_seal SET position = -position {where} > :p", batch=batch, p=position)
    run(session, f"UPDATE audit_seal SET position = -position - 1 {where} < 0", batch=batch)


@tampering
def delete_a_seal(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, position, entry = trail.pick(random)
    run(session, "DELETE FROM audit_seal WHERE entry_id = :id", id=entry)
    return Expected(any_of(Wrong.DELETED), batch, position), None


@tampering
def swap_two_places(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, one, _ = trail.pick(random, least=2)
    other = random.choice([p for p in range(1, len(trail.batches[batch - 1]) + 1) if p != one])
    for before, after in ((one, -1), (other, one), (-1, other)):
        run(
            session,
            "UPDATE audit_seal SET position = :after WHERE batch = :batch AND position = :before",
            batch=batch,
            before=before,
            after=after,
        )
    maybe_recompute(session, random, batch)
    first = min(one, other)
    entry = trail.batches[batch - 1][max(one, other) - 1]
    return Expected(any_of(Wrong.REORDERED), batch, first, entry), None


@tampering
def swap_entries_of_two_batches(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    one, two = sorted(random.sample(range(1, len(trail.batches) + 1), 2))
    first = random.randint(1, len(trail.batches[one - 1]))
    second = random.randint(1, len(trail.batches[two - 1]))
    for batch, position, entry in (
        (one, -first, trail.batches[one - 1][first - 1]),
        (one, first, trail.batches[two - 1][second - 1]),
        (two, second, trail.batches[one - 1][first - 1]),
    ):
        run(
            session,
            "UPDATE audit_seal SET batch = :batch, position = :position WHERE entry_id = :id",
            batch=batch,
            position=position,
            id=entry,
        )
    maybe_recompute(session, random, one)
    return Expected(any_of(Wrong.EDITED), one, first, trail.batches[two - 1][second - 1]), None


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


@tampering
def insert_into_a_batch(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch = random.randint(1, len(trail.batches))
    position = random.randint(1, len(trail.batches[batch - 1]) + 1)
    entry = forged(session, at=FIRST_DAY)
    where = "WHERE batch = :batch AND position"
    run(session, f"UPDATE audit_seal SET position = -position {where} >= :p", batch=batch, p=position)
    run(session, f"UPDATE audit_seal SET position = -position + 1 {where} < 0", batch=batch)
    run(
        session,
        "INSERT INTO audit_seal VALUES (:id, :batch, :position, :hash)",
        id=entry,
        batch=batch,
        position=position,
        hash=secrets.token_bytes(32),
    )
    maybe_recompute(session, random, batch)
    return Expected(any_of(Wrong.INSERTED), batch, position, str(entry)), None


@tampering
def insert_with_a_false_time(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    """Whoever may append can append; what gives it away is that it claims to be old."""
    entry = forged(session, at=FIRST_DAY + random.uniform(0, 0.9) * STEP * len(trail.batches))
    if random.random() < 0.3:
        audit_sealing.seal_waiting(session)
    return Expected(any_of(), 0, entry=str(entry), late=True), None


@tampering
def insert_a_batch(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    """A forged batch between two honest ones, later ones moved up and computed anew."""
    batch = random.randint(1, len(trail.batches))
    entry = forged(session, at=FIRST_DAY)
    for table, column in (("audit_batch", "number"), ("audit_seal", "batch")):
        run(session, f"UPDATE {table} SET {column} = -{column} WHERE {column} >= :n", n=batch)
        run(session, f"UPDATE {table} SET {column} = -{column} + 1 WHERE {column} < 0")
    run(
        session,
        "INSERT INTO audit_batch SELECT :n, previous_head, head, 1, first_at, last_at, sealed_at FROM audit_batch "
        "WHERE number = :next",
        n=batch,
        next=batch + 1,
    )
    run(session, "INSERT INTO audit_seal VALUES (:id, :n, 1, :hash)", id=entry, n=batch, hash=bytes(32))
    recompute(session, batch)
    return Expected(any_of(Wrong.EDITED), batch, 1, str(entry)), None


@tampering
def cut_off_batches(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    last = random.randint(0, len(trail.batches) - 1)
    remove_batches(session, "> :last", last=last)
    if random.random() < 0.5:
        run(session, "UPDATE server_state SET value = :last WHERE name = 'audit_anchored'", last=str(last))
    return Expected(any_of(Wrong.CUT_OFF), last + 1, 1), None


def remove_batches(session: Session, which: str, **values: object) -> None:
    run(session, f"DELETE FROM audit_entry WHERE id IN (SELECT entry_id FROM audit_seal WHERE batch {which})", **values)
    run(session, f"DELETE FROM audit_seal WHERE batch {which}", **values)
    run(session, f"DELETE FROM audit_batch WHERE number {which}", **values)


@tampering
def cut_off_batches_and_anchor(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    """Both ends cut: the note in the database still tells, as would a head that somebody wrote down."""
    last = random.randint(0, len(trail.batches) - 1)
    remove_batches(session, "> :last", last=last)
    return Expected(any_of(Wrong.CUT_OFF), last + 1, 1), trail.altered(trail.lines[: last + 1])


@tampering
def cut_off_entries(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, position, _ = trail.pick(random, least=2)
    values = {"batch": batch, "p": position}
    where = "batch = :batch AND position >= :p"
    run(session, f"DELETE FROM audit_entry WHERE id IN (SELECT entry_id FROM audit_seal WHERE {where})", **values)
    run(session, f"DELETE FROM audit_seal WHERE {where}", **values)
    maybe_recompute(session, random, batch)
    return Expected(any_of(Wrong.DELETED), batch, position), None


@tampering
def delete_a_batch(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch = random.randint(1, len(trail.batches) - 1)
    if random.random() < 0.5:
        remove_batches(session, "= :batch", batch=batch)
    else:
        run(session, "DELETE FROM audit_batch WHERE number = :batch", batch=batch)
    return Expected(any_of(Wrong.DELETED), batch, 0), None


@tampering
def alter_a_batch(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch = random.randint(1, len(trail.batches))
    change = random.choice(
        (
            "head = sha256(head)",
            "previous_head = sha256(previous_head)",
            "entry_count = entry_count + 1",
            "first_at = first_at - interval '1 second'",
            "last_at = last_at + interval '1 microsecond'",
            "sealed_at = sealed_at + interval '1 hour'",
        )
    )
    run(session, f"UPDATE audit_batch SET {change} WHERE number = :n", n=batch)
    return Expected(any_of(Wrong.BATCH_ALTERED), batch, 0), None


@tampering
def alter_a_seal(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, position, entry = trail.pick(random)
    run(session, "UPDATE audit_seal SET entry_hash = sha256(entry_hash) WHERE entry_id = :id", id=entry)
    return Expected(any_of(Wrong.SEAL_ALTERED), batch, position, entry), None


@tampering
def drop_before_its_time(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    """As retention would, but by hand: only the age gives it away."""
    batch = random.randint(1, len(trail.batches))
    run(
        session,
        "INSERT INTO audit_drop SELECT batch, now(), string_agg(entry_hash, ''\\:\\:bytea ORDER BY position) "
        "FROM audit_seal WHERE batch = :n GROUP BY batch",
        n=batch,
    )
    run(session, "DELETE FROM audit_entry WHERE id IN (SELECT entry_id FROM audit_seal WHERE batch = :n)", n=batch)
    run(session, "DELETE FROM audit_seal WHERE batch = :n", n=batch)
    return Expected(any_of(Wrong.DROPPED_EARLY), batch, 0), None


@tampering
def drop_a_batch_that_says_it_is_old(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    """A fresh entry in a batch of its own, rightly chained, said to be of 2020, dropped, and even signed."""
    last = list(rows_of(session))[-1]
    number, entry = last.number + 1, forged(session, at=FIRST_DAY + STEP * (len(trail.batches) + random.random()))
    [(form,)] = fetch(session, f"SELECT {CANONICAL} FROM audit_entry e WHERE id = %(id)s", {"id": entry})
    digest = entry_hash(form)
    head, old = batch_head(last.head, number, [digest]), microseconds(LONG_AGO)
    run(
        session,
        "INSERT INTO audit_batch VALUES (:n, :previous, :head, 1, :old, :old, :old)",
        n=number,
        previous=last.head,
        head=head,
        old=LONG_AGO,
    )
    run(session, "INSERT INTO audit_drop VALUES (:n, now(), :digest)", n=number, digest=digest)
    run(session, "DELETE FROM audit_entry WHERE id = :id", id=entry)
    key, path = private_key(), trail.altered(trail.lines)
    assert key is not None
    short, heads = short_hashes([digest]), (head.hex(), last.head.hex())
    with writing(path, key) as writer:
        writer.append([lambda line, previous: Batch(line, previous, number, *heads, 1, old, old, old, short)])
    return Expected(any_of(Wrong.BATCH_ALTERED), number, 0), path


@tampering
def change_a_byte_of_the_anchor(_: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    index = random.randrange(len(trail.lines))
    line = bytearray(trail.lines[index])
    at = random.randrange(len(line) - 1)
    line[at] ^= 1 << random.randrange(7)
    lines = [*trail.lines[:index], bytes(line), *trail.lines[index + 1 :]]
    return Expected(any_of(Wrong.ANCHOR_ALTERED), max(index, 1)), trail.altered(lines)


@tampering
def take_a_line_out_of_the_anchor(_: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    index = random.randrange(len(trail.lines) - 1)
    lines = [*trail.lines[:index], *trail.lines[index + 1 :]]
    return Expected(any_of(Wrong.ANCHOR_ALTERED), max(index, 1)), trail.altered(lines)


@tampering
def cut_off_the_anchor(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    kept = random.randrange(len(trail.lines))
    if random.random() < 0.5:
        run(session, "UPDATE server_state SET value = :n WHERE name = 'audit_anchored'", n=str(max(kept - 1, 0)))
    return Expected(any_of(Wrong.ANCHOR_CUT_OFF), max(kept, 1), 0), trail.altered(trail.lines[:kept])


@tampering
def swap_lines_of_the_anchor(_: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    one, two = sorted(random.sample(range(len(trail.lines)), 2))
    lines = list(trail.lines)
    lines[one], lines[two] = lines[two], lines[one]
    return Expected(any_of(Wrong.ANCHOR_ALTERED), max(one, 1)), trail.altered(lines)


@tampering
def repeat_a_line_of_the_anchor(_: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    index = random.randrange(len(trail.lines))
    at = random.choice([n for n in range(1, len(trail.lines) + 1) if n != index])
    lines = [*trail.lines[:at], trail.lines[index], *trail.lines[at:]]
    return Expected(any_of(Wrong.ANCHOR_ALTERED), at), trail.altered(lines)


@tampering
def fork_without_the_key(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    """Cut the database off and explain it by a fork that the trail's key did not sign."""
    last = random.randint(1, len(trail.batches) - 1)
    remove_batches(session, "> :last", last=last)
    body = json.loads(trail.lines[last])
    line = {
        "kind": "fork",
        "line": len(trail.lines) + 1,
        "previous_line": sha256(trail.lines[-1][:-1]).hexdigest(),
        "number": last,
        "head": body["head"],
        "parent": last + 1,
        "at": 0,
        "reason": "restore",
        "backup_id": "none",
    }
    raw = json.dumps(line, separators=(",", ":")).encode()
    signature = base64.b64encode(Ed25519PrivateKey.generate().sign(raw))
    lines = [*trail.lines, raw[:-1] + b',"signature":"' + signature + b'"}\n']
    return Expected(any_of(Wrong.ANCHOR_ALTERED), len(trail.batches) + 1), trail.altered(lines)
