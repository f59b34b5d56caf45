"""Tampers with the audit trail in every way an owner of the database can, and verifies after each: `make tamper N=…`.

The trail is honest and made by the product's own code on an embedded PostgreSQL. Each tampering is done as a superuser
in a transaction, verified in the same transaction and rolled back; anchors are altered in copies of the file. It is
detected when verification finds anything, and located when it names the right batch, the right place in it and, where
the database still knows it, the right entry.

    python bench/tamper.py --number 10000 --seed 1
"""

import argparse
import base64
import os
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from unittest.mock import patch
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, pool, text
from sqlmodel import Session

from backend.core.db import dialect_url, engine_for, transaction
from backend.core.ids import new_id
from backend.core.settings import PROJECT_ROOT, get_settings
from backend.embedded.postgres import EmbeddedPostgres
from backend.services import audit, audit_chain, audit_sealing
from backend.services.audit_anchor import private_key
from backend.services.audit_hashing import batch_head, canonical, entry_hash
from backend.services.audit_locate import Finding
from backend.services.audit_rows import entry_ids, rows_of
from backend.services.audit_verify import verify
from bench.tampering import FIRST_DAY, STEP, TAMPERINGS, Trail

BATCHES = 30
BATCH_SIZES = (1, 2, 60, 100, 140)
SPEED_ENTRIES = 100_000
VACUUM_EVERY = 500


@dataclass
class Score:
    """How a run went."""

    tampered: int = 0
    detected: int = 0
    located: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)


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
