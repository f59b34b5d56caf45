"""What it costs that no document changes without its feed row, and that streams are told: `make bench-feed`.

On a PostgreSQL of its own that makes every commit durable. Documents of 600 bytes are written by one statement for a
batch, then the feed, then the commit: with the triggers of migration 0021 and without, in turns, in processor time of
PostgreSQL, which the load of the machine does not change; and by eight writers in grids of their own, with NOTIFY and
without. No ledger, history, jobs or audit: with the rest of a push the ratios come closer to one.

    python -m bench.feed_wall [--rounds N]
"""

import argparse
import os
import re
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import Engine, text

from backend.core.db import make_engine, transaction
from backend.core.enums import Kind
from backend.core.ids import new_id
from backend.services import feed
from bench.stack import OwnStack, own_stack, run_module

DATABASE = "feed"
WRITERS = 8
SEALED = os.urandom(400)
BODY = '{"class_code": "0101", "remark": "' + "x" * 150 + '"}'
WRITE = text(
    """
    INSERT INTO document (id, kind, grid_id, version, op, deleted, body, sealed, created_at, updated_at)
    SELECT id, 'event', :grid, 1, id, false, CAST(:body AS json), :sealed, now(), now()
    FROM unnest(CAST(:ids AS uuid[])) AS t (id)
    """
)


def write(engine: Engine, grid_id: str, rows: int) -> float:
    """Seconds of processor time that PostgreSQL spent on one batch, with its commit."""
    ids = [new_id() for _ in range(rows)]
    with transaction(engine) as session:
        backend = session.connection().execute(text("SELECT pg_backend_pid()")).scalar_one()
        began = spent(backend)
        session.connection().execute(WRITE, {"grid": grid_id, "ids": ids, "body": BODY, "sealed": SEALED})
        feed.touch(session, [(grid_id, one, Kind.EVENT) for one in ids])
    return spent(backend) - began


def spent(backend: int) -> float:
    """Processor seconds of a process so far (Linux)."""
    return int(Path(f"/proc/{backend}/schedstat").read_text().split()[0]) / 1e9


@contextmanager
def silence() -> Iterator[None]:
    """The product's own statement without its NOTIFY."""
    told: Any = feed._TOUCH
    quiet = re.sub(r"pg_notify\(.*?grid_id\)", "grid_id", str(told))
    with patch.object(feed, "_TOUCH", quiet if isinstance(told, str) else text(quiet)):
        yield


def trigger(stack: OwnStack, *, enabled: bool) -> None:
    """Switch the wall on or off."""
    with stack.superuser(DATABASE) as connection:
        for name in ("document_due_insert", "document_due_update"):
            word = "ENABLE" if enabled else "DISABLE"
            connection.execute(f"ALTER TABLE document {word} TRIGGER {name}".encode())


def walled(stack: OwnStack, engine: Engine, grid_id: str, *, rows: int, rounds: int) -> tuple[float, float]:
    """Processor microseconds a row with the wall and without, the medians of turns."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(2 * rounds):
        enabled = turn % 4 in (0, 3)
        trigger(stack, enabled=enabled)
        write(engine, grid_id, rows)
        seconds[enabled] += [write(engine, grid_id, rows) for _ in range(5)]
    trigger(stack, enabled=True)
    return tuple(statistics.median(seconds[kind]) / rows * 1e6 for kind in (True, False))  # type: ignore[return-value]


def told(engine: Engine, grids: list[str], *, rows: int, batches: int, tells: bool) -> float:
    """Rows a second of eight writers at once."""

    def work(grid_id: str) -> None:
        for _ in range(batches):
            write(engine, grid_id, rows)

    threads = [threading.Thread(target=work, args=(grid,)) for grid in grids]
    began = time.perf_counter()
    with nullcontext() if tells else silence():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return rows * batches * len(grids) / (time.perf_counter() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    rounds = parser.parse_args().rounds
    result = []
    with own_stack(fsync=True) as stack:
        stack.migrate(DATABASE)
        environment = stack.environment(DATABASE)
        run_module("bench.seed", environment=environment)
        engine = make_engine(environment["WORKER_DATABASE_URL"], role="zw_worker")
        with transaction(engine) as session:
            query = text("SELECT id FROM grid ORDER BY id LIMIT :n")
            grids = [str(grid) for grid in session.connection().execute(query, {"n": WRITERS}).scalars()]
        for rows in (50, 500):
            on, off = walled(stack, engine, grids[0], rows=rows, rounds=rounds)
            print(f"  a batch of {rows}: {on:.1f} us a row with the wall, {off:.1f} without")
            result += [f"wall{rows}_us_per_row={on - off:.1f}", f"wall{rows}_ratio={on / off:.2f}"]
        speeds: dict[bool, list[float]] = {True: [], False: []}
        for turn in range(2 * max(1, rounds // 2)):
            tells = turn % 2 == 0
            speeds[tells].append(told(engine, grids, rows=50, batches=20, tells=tells))
        loud, quiet = (statistics.median(speeds[kind]) for kind in (True, False))
        print(f"  eight writers, batches of 50: {loud:.0f} rows/s with NOTIFY, {quiet:.0f} without")
        result.append(f"notify_vs_none={loud / quiet:.2f}")
        engine.dispose()
    print("RESULT", *result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
