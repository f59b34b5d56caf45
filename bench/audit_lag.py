"""How long the sealer's looks take with millions of sealed entries behind it: `python bench/audit_lag.py --millions 2`.

The sealed past is made by SQL; what waits is written by the product's own code. Three looks are timed, each finding the
same thousand entries: the last 20 seconds, the longest transaction, and the hourly search among everything.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sqlmodel import Session

from backend.core.clock import now
from backend.core.db import engine_for
from backend.services import audit_sealing
from bench.tamper import prepare, vacuum, write
from bench.tampering.trail import run

RATE = 100
"""Entries a second in the past: about 8.6 million a day."""

_PAST = """
    INSERT INTO audit_entry (id, at, actor, action, object_type, object_id, request_id, detail)
    SELECT CAST(lpad(to_hex(CAST(extract(epoch FROM at) * 1000 AS bigint)), 12, '0') || '7' ||
                substr(md5(CAST(n AS text)), 1, 19) AS uuid),
           at, 'actor' || n % 500, 'document_written', 'person', md5(CAST(n AS text)), NULL, '{"version": 1}'
    FROM (SELECT n, now() - interval '1 minute' - n * interval '1 second' / :rate AS at
          FROM generate_series(1, :number) AS n) AS made
"""
_SEALS = """
    INSERT INTO audit_seal (entry_id, batch, position, entry_hash)
    SELECT id, 1 + (n - 1) / 1000, 1 + (n - 1) % 1000, sha256(CAST(CAST(id AS text) AS bytea))
    FROM (SELECT id, row_number() OVER (ORDER BY at) AS n FROM audit_entry) AS numbered
"""
_LAST_BATCH = """
    INSERT INTO audit_batch SELECT max(batch), sha256(''), sha256(''), 1000, now(), now(), now() - interval '1 minute'
    FROM audit_seal
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=float, default=2.0)
    number = int(parser.parse_args().millions * 1_000_000)
    with tempfile.TemporaryDirectory() as name:
        server, engine = prepare(Path(name))
        try:
            with Session(engine) as session:
                run(session, _PAST, number=number, rate=RATE)
                run(session, _SEALS)
                run(session, _LAST_BATCH)
                session.commit()
            write(1000)
            vacuum(engine)
            near = best(lambda: look(timedelta(seconds=20)))
            far = best(lambda: look(audit_sealing.LONGEST_TRANSACTION))
            whole = best(everything)
            metric = best(lag)
        finally:
            engine.dispose()
            server.stop()
    print(f"milliseconds to find and seal 1,000 entries behind {number:,} sealed ones, best of five")
    print(
        f"RESULT sealed={number} near_ms={near:.0f} longest_transaction_ms={far:.0f} everything_ms={whole:.0f} "
        f"metric_ms={metric:.0f} near_entries_per_s={1000 / near * 1000:.0f}"
    )
    return 0


def everything() -> None:
    """The search that assumes nothing."""
    with Session(engine_for("zw_worker")) as session:
        assert audit_sealing.oldest_unsealed(session)


def look(back: timedelta) -> None:
    """One look of the sealer, undone."""
    with Session(engine_for("zw_worker")) as session:
        found = audit_sealing.seal_waiting(session, since=now() - back)
        assert found == 1000, found
        session.rollback()


def lag() -> None:
    """What each scrape of the metrics costs."""
    with Session(engine_for("zw_api")) as session:
        audit_sealing.trail(session)


def best(action: Callable[[], None]) -> float:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return min(times) * 1000


if __name__ == "__main__":
    sys.exit(main())
