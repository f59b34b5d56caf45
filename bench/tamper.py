"""Tampers with the audit trail in every way an owner of the database can, and verifies after each: `make tamper N=…`.

The trail is honest and made by the product's own code on an embedded PostgreSQL. Each tampering is done as a superuser
in a transaction, verified in the same transaction and rolled back; anchors are altered in copies of the file. It is
detected when verification finds anything, and located when it names the right batch, the right place in it and, where
the database still knows it, the right entry.

    python bench/tamper.py --number 10000 --seed 1
"""

import argparse
import base64
import json
import os
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from unittest.mock import patch
from uuid import UUID, uuid4

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from alembic import command
from alembic.config import Config
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Engine, create_engine, pool, text
from sqlmodel import Session

from backend.core.db import dialect_url, engine_for, transaction
from backend.core.ids import new_id
from backend.core.settings import PROJECT_ROOT, get_settings
from backend.embedded.postgres import EmbeddedPostgres
from backend.services import audit, audit_chain, audit_sealing
from backend.services.audit_anchor import private_key
from backend.services.audit_hashing import batch_head, canonical, entry_hash
from backend.services.audit_locate import Finding, Wrong
from backend.services.audit_rows import entry_ids, rows_of
from backend.services.audit_verify import Report, verify

BATCHES = 30
BATCH_SIZES = (1, 2, 60, 100, 140)
SPEED_ENTRIES = 100_000
FIRST_DAY = datetime(2026, 1, 5, 8, tzinfo=UTC)
STEP = timedelta(hours=6)
VACUUM_EVERY = 500


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


@dataclass
class Score:
    """How a run went."""

    tampered: int = 0
    detected: int = 0
    located: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)


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


def tamper(engine: Engine, trail: Trail, *, number: int, seed: int, moment: datetime) -> Score:
    """Do `number` tamperings, each undone before the next."""
    score, random = Score(), Random(seed)
    names = list(TAMPERINGS)
    with Session(engine) as session:
        for index in range(number):
            name = names[index] if index < len(names) else random.choice(names)
            expected, anchor = TAMPERINGS[name](session, random, trail)
            report = verify(session, path=anchor or trail.anchor, moment=moment, key=trail.key)
            session.rollback()
            score.tampered += 1
            score.kinds[name] += 1
            score.detected += report.finding is not None or bool(report.late)
            if expected.located(report):
                score.located += 1
            else:
                score.missed.append(f"{name}: expected {expected}, found {report.finding} late={report.late[:1]}")
            if index % VACUUM_EVERY == VACUUM_EVERY - 1:
                vacuum(engine)
    return score


def honest(engine: Engine, trail: Trail, *, moment: datetime) -> Finding | None:
    """What verification finds in the trail as it is: nothing."""
    with Session(engine) as session:
        report = verify(session, path=trail.anchor, moment=moment, key=trail.key)
    assert report.entries == sum(map(len, trail.batches))
    assert not report.late
    assert not report.unanchored
    return report.finding


def vacuum(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE audit_entry, audit_seal, audit_batch, audit_drop, server_state"))


def build(scratch: Path, *, seed: int, batches: int = BATCHES) -> tuple[Trail, datetime]:
    """An honest trail in the database of the settings, with a clock of its own; gives it and the time it ends."""
    random, moment = Random(seed), FIRST_DAY
    seal_rest()
    for _ in range(batches):
        moment += STEP
        with at_time(moment):
            write(random.choice(BATCH_SIZES) if random.random() < 0.4 else 100)
            seal_rest()
    with Session(engine_for("zw_worker")) as session:
        ids = [entry_ids(session, row.number) for row in rows_of(session)]
    key = private_key()
    assert key is not None
    path = get_settings().anchor_path()
    lines = path.read_bytes().splitlines(keepends=True)
    return Trail(ids, path, lines, scratch, key.public_key()), moment + timedelta(hours=1)


@contextmanager
def at_time(moment: datetime) -> Iterator[None]:
    with patch.object(audit, "now", lambda: moment), patch.object(audit_sealing, "now", lambda: moment):
        yield


def seal_rest() -> None:
    """Seal and anchor all that waits."""
    while True:
        with transaction(engine_for("zw_worker")) as session:
            if not audit_sealing.seal_waiting(session):
                break
    with transaction(engine_for("zw_worker")) as session:
        audit_chain.anchor(session)


def write(number: int) -> None:
    """Entries as a push writes them."""
    with transaction(engine_for("zw_api")) as session:
        audit.record_many(
            session,
            actor=str(uuid4()),
            action="document_written",
            object_type="person",
            entries=[(str(new_id()), {"version": version + 1}) for version in range(number)],
        )


def speed(engine: Engine, trail: Trail, *, moment: datetime) -> tuple[float, float, float]:
    """Entries a second: read, checked and held to the anchor; hashed alone; through SHA-256 alone. Best of three.

    Hashed alone means from the values in memory: canonical form, entry hashes, heads.
    """
    with Session(engine) as session:
        rows = session.connection().execute(text(_VALUES)).all()
        values = [(str(row.id), *row[1:]) for row in rows]
        forms = [canonical(*row) for row in values]
        sizes = [row.entry_count for row in rows_of(session)]
        times = [
            min(timed(action) for _ in range(3))
            for action in (
                lambda: checked(session, trail, moment),
                lambda: hashed([canonical(*row) for row in values], sizes),
                lambda: hashed(forms, sizes),
            )
        ]
    return len(rows) / times[0], len(rows) / times[1], len(rows) / times[2]


_VALUES = """
    SELECT e.id, e.at, e.actor, e.action, e.object_type, e.object_id, e.request_id, CAST(e.detail AS text)
    FROM audit_entry e JOIN audit_seal s ON s.entry_id = e.id ORDER BY s.batch, s.position
"""


def checked(session: Session, trail: Trail, moment: datetime) -> None:
    report = verify(session, path=trail.anchor, moment=moment, key=trail.key)
    assert report.finding is None, report.finding


def hashed(forms: list[bytes], sizes: list[int]) -> None:
    """Every entry's hash and every head."""
    head, at = bytes(32), 0
    for number, size in enumerate(sizes, start=1):
        head = batch_head(head, number, [entry_hash(form) for form in forms[at : at + size]])
        at += size


def timed(action: Callable[[], None]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def prepare(folder: Path) -> tuple[EmbeddedPostgres, Engine]:
    """A migrated database and the settings of this process; gives the server and an engine of its superuser."""
    server = EmbeddedPostgres(folder / "postgres", fsync=False)
    server.start()
    server.prepare("zhiwang")
    os.environ |= {
        "ENVIRONMENT": "test",
        "STATE_DIR": str(folder / "state"),
        "DATABASE_URL": server.url(user="zw_api", database="zhiwang"),
        "WORKER_DATABASE_URL": server.url(user="zw_worker", database="zhiwang"),
        "MIGRATION_DATABASE_URL": server.url(user="zw_owner", database="zhiwang"),
        "AUDIT_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
    }
    get_settings.cache_clear()
    engine_for.cache_clear()
    command.upgrade(Config(str(PROJECT_ROOT / "alembic.ini")), "head")
    address = dialect_url(server.url(user="postgres", database="zhiwang"))
    return server, create_engine(address, poolclass=pool.NullPool)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        server, engine = prepare(Path(name))
        try:
            return report(engine, Path(name), number=options.number, seed=options.seed)
        finally:
            engine.dispose()
            server.stop()


def report(engine: Engine, folder: Path, *, number: int, seed: int) -> int:
    trail, moment = build(folder / "altered.jsonl", seed=seed)
    vacuum(engine)
    print(f"trail: {sum(map(len, trail.batches))} entries in {len(trail.batches)} batches")
    alarms = int(honest(engine, trail, moment=moment) is not None)
    began = time.perf_counter()
    score = tamper(engine, trail, number=number, seed=seed, moment=moment)
    seconds = time.perf_counter() - began
    for kind, times in sorted(score.kinds.items()):
        print(f"  {kind:<40} {times:6}")
    print("\n".join(score.missed[:10]))
    alarms += honest(engine, trail, moment=moment) is not None
    with at_time(moment):
        for _ in range(SPEED_ENTRIES // 1000):
            write(1000)
        seal_rest()
    vacuum(engine)
    whole, alone, digests = speed(engine, trail, moment=moment)
    print(f"{number} tamperings in {seconds:.0f} s")
    print(f"verified {whole:,.0f} entries/s; hashed alone {alone:,.0f}/s; SHA-256 of ready bytes {digests:,.0f}/s")
    print(
        f"RESULT tampered={score.tampered} detected={score.detected} located={score.located} "
        f"false_alarms={alarms} audit_vs_hash={whole / alone:.2f} audit_vs_sha256={whole / digests:.2f}"
    )
    return int(alarms > 0 or score.located < score.tampered)


if __name__ == "__main__":
    sys.exit(main())
