"""What an import costs against a bare COPY: the second half of `make bench-crosscheck`.

A population file is loaded by the product (read, judged, keyed, sealed, written, swapped, committed) on a PostgreSQL of
its own that makes every commit durable. The peer gets the finished rows, ciphertexts and blind indexes and all, as they
came out of the table, in the binary form, and does nothing but COPY them into the same table with the same indexes. In
turns: first loads, which make a key for each person, and later ones of the same people, as each month brings them.

    python -m bench.crosscheck_import [--rows N] [--rounds N]
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import IO

import psycopg

from backend.core.db import engine_for, transaction
from backend.core.enums import ImportState
from backend.seed import synthetic
from backend.seed.drops import flat
from backend.services import registry
from backend.services.registry_specs import SPECS
from backend.services.spreadsheets import line
from bench.stack import OwnStack, own_stack, run_module

DATABASE = "imports"
DATASET = "population"
BLOCK_BYTES = 1024 * 1024


def write_file(path: Path, rows: int, *, first: int) -> None:
    """A CSV file of synthetic people."""
    spec = SPECS[DATASET]
    with path.open("wb") as file:
        file.write(line([column.title for column in spec.columns]))
        for index in range(first, first + rows):
            file.write(line(flat(spec, synthetic.person(index))))


def load(path: Path, rows: int) -> float:
    """Seconds of one import, its commit included."""
    began = time.perf_counter()
    with transaction(engine_for("zw_worker")) as session:
        snapshot = registry.import_path(session, DATASET, path, actor="bench")
        state, accepted = snapshot.state, snapshot.accepted
    taken = time.perf_counter() - began
    if (state, accepted) != (ImportState.CURRENT, rows):
        raise RuntimeError(f"{accepted} of {rows} rows, {state}")
    return taken


def raw_copy(stack: OwnStack, file: IO[bytes]) -> float:
    """Seconds of the bare COPY of the current snapshot's rows, its commit included; the rows are removed again."""
    with stack.superuser(DATABASE) as connection:
        columns = _columns(connection)
        [copied] = connection.execute("SELECT gen_random_uuid()").fetchall()
        connection.execute(
            "INSERT INTO snapshot (id, dataset_code, taken_at, state, accepted, rejected, reasons, sha256) "
            "VALUES (%s, %s, now(), 'failed', 0, 0, '[]', '')",
            (copied[0], DATASET),
        )
        others = ", ".join(columns)
        source = (
            f"COPY (SELECT '{copied[0]}'::uuid, {others} FROM business_record WHERE snapshot_id = "
            f"(SELECT current_snapshot_id FROM dataset WHERE code = '{DATASET}')) TO STDOUT (FORMAT BINARY)"
        )
        file.seek(0)
        file.truncate()
        with connection.cursor().copy(source.encode()) as out:
            for block in out:
                file.write(block)
        file.seek(0)
        connection.execute("CHECKPOINT")
        began = time.perf_counter()
        into = f"COPY business_record (snapshot_id, {others}) FROM STDIN (FORMAT BINARY)"
        with connection.cursor().copy(into.encode()) as copy:
            while block := file.read(BLOCK_BYTES):
                copy.write(block)
        taken = time.perf_counter() - began
        connection.execute("DELETE FROM business_record WHERE snapshot_id = %s", (copied[0],))
        connection.execute("VACUUM ANALYZE business_record")
        connection.execute("CHECKPOINT")
    return taken


def _columns(connection: psycopg.Connection[tuple[object, ...]]) -> list[str]:
    rows = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'business_record' "
        "AND column_name NOT IN ('id', 'snapshot_id') ORDER BY ordinal_position"
    )
    return [str(name) for (name,) in rows]


def measure(stack: OwnStack, folder: Path, *, rows: int, rounds: int) -> None:
    """Print the medians and the RESULT line."""
    firsts: list[float] = []
    agains: list[float] = []
    copies: list[float] = []
    path = folder / "people.csv"
    with (folder / "rows").open("w+b") as file:
        for turn in range(rounds):
            write_file(path, rows, first=turn * rows)
            firsts.append(load(path, rows))
            copies.append(raw_copy(stack, file))
            agains.append(load(path, rows))
            copies.append(raw_copy(stack, file))
            print(f"round {turn}: first {firsts[-1]:.2f} s, again {agains[-1]:.2f} s, copies {copies[-2:]}")
    first, again, copy = (statistics.median(times) for times in (firsts, agains, copies))
    print(
        f"RESULT import_vs_copy={copy / again:.3f} first_import_vs_copy={copy / first:.3f} rows={rows} "
        f"rows_per_s={rows / again:.0f} first_rows_per_s={rows / first:.0f} copy_rows_per_s={rows / copy:.0f}"
    )


def main() -> None:
    """Parse the arguments, start the servers, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with own_stack() as stack, tempfile.TemporaryDirectory() as folder:
        stack.migrate(DATABASE)
        os.environ |= stack.environment(DATABASE)
        run_module("bench.seed", environment=stack.environment(DATABASE))
        measure(stack, Path(folder), rows=arguments.rows, rounds=arguments.rounds)
        engine_for("zw_worker").dispose()


if __name__ == "__main__":
    main()
