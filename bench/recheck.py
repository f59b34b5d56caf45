"""`make bench-recheck`: how long it takes to find the entries that a new snapshot touches.

Two snapshots of a population are filled by SQL at two sizes, the second with one record in a hundred changed and a few
added and removed, beside a fixed number of people's entries of which each shares its number with one record. The
product's own run looks for them, step by step, until its last. Every entry of a changed record must be found, and none
besides. What counts is the time for a record compared, and how it grows.
"""

import argparse
import os
import sys
import time
from uuid import UUID

from sqlmodel import Session, select

from backend.core.crypto import key_ring
from backend.core.db import engine_for
from backend.core.enums import RunState
from backend.core.settings import get_settings
from backend.models import Recheck
from bench.stack import OwnStack, own_stack, run_module
from workflows.crosscheck import recheck

CHANGED_OF = 100
GROWTH_TARGET = 1.5


def fill(stack: OwnStack, database: str, records: int, entries: int) -> None:
    """Make both snapshots, the entries and the run. Checks of foreign keys would only cost time."""
    with stack.superuser(database) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        for statement in _FILL:
            connection.execute(statement, {"records": records, "entries": entries, "of": CHANGED_OF})
        connection.execute("VACUUM ANALYZE")


def search(database: str, environment: dict[str, str]) -> tuple[float, int]:
    """Make all steps of the run, each in its own transaction as a worker does. Seconds, and how many steps."""
    os.environ |= environment
    for cached in (get_settings, key_ring, engine_for):
        cached.cache_clear()
    began, steps = time.perf_counter(), 0
    while True:
        with Session(engine_for("zw_worker")) as session:
            run = session.exec(select(Recheck)).one()
            if run.state is not RunState.SPREADING:
                return time.perf_counter() - began, steps
            recheck.step(session, run.id, number=run.step)
            session.commit()
        steps += 1


def judge(stack: OwnStack, database: str) -> tuple[int, int]:
    """How many entries were found, and how many of these or of the others are wrong."""
    with stack.superuser(database) as connection:
        found = _ids(connection.execute(_ASKED).fetchall())
        due = _ids(connection.execute(_DUE).fetchall())
    return len(found), len(found ^ due)


def _ids(rows: list[tuple[object, ...]]) -> set[UUID]:
    return {UUID(str(row[0])) for row in rows}


def main() -> int:
    """Print the figures; 1 where an entry is missed or found for nothing, or the growth is over its target."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--sizes", default="100000,1000000", help="records in a snapshot")
    reader.add_argument("--entries", type=int, default=50_000)
    said = reader.parse_args()
    sizes = sorted(int(size) for size in said.sizes.split(","))
    spent: dict[int, float] = {}
    wrong = found = 0
    with own_stack() as stack:
        for size in sizes:
            database = f"recheck_{size}"
            stack.migrate(database)
            run_module("bench.seed", environment=stack.environment(database))
            fill(stack, database, size, said.entries)
            spent[size], steps = search(database, stack.environment(database))
            found, errors = judge(stack, database)
            wrong += errors
            print(f"  {size:>12,} records: {spent[size]:.1f} s in {steps} steps, {found} of {said.entries} entries")
    growth = (spent[sizes[-1]] / sizes[-1]) / (spent[sizes[0]] / sizes[0])
    print(
        f"RESULT records={sizes[-1]} entries={said.entries} touched={found} wrong={wrong} "
        f"seconds={spent[sizes[-1]]:.1f} us_per_record={spent[sizes[-1]] / sizes[-1] * 1e6:.1f} growth={growth:.2f}"
    )
    return 1 if wrong or growth > GROWTH_TARGET else 0


_RECORDS = """
    INSERT INTO business_record (snapshot_id, record_key, line, body, phone_index, block_index, content_digest)
    SELECT s.id, md5('record' || n), n, '{{}}', decode(md5('phone' || n), 'hex'), decode(md5('block' || n), 'hex'),
           decode(md5('content' || n || CASE WHEN {changed} THEN 'new' ELSE '' END), 'hex')
    FROM snapshot s, generate_series({first}, %(records)s::integer + {more}) AS n
    WHERE s.state = '{state}'
"""
_FILL = (
    "DELETE FROM recheck",
    "DELETE FROM business_record",
    "DELETE FROM snapshot",
    """
    INSERT INTO snapshot (id, dataset_code, taken_at, state, accepted, rejected, reasons, sha256, mode, fewer, carried,
                          deleted, columns)
    SELECT gen_random_uuid(), 'population', now(), state, 0, 0, '[]', '', 'full', false, 0, 0, '[]'
    FROM unnest(ARRAY['superseded', 'current']) AS state
    """,
    """
    UPDATE dataset SET current_snapshot_id = (SELECT id FROM snapshot WHERE state = 'current')
    WHERE code = 'population'
    """,
    _RECORDS.format(first=1, more=0, state="superseded", changed="false"),
    # The first ten records are gone in the second snapshot, and ten are new.
    _RECORDS.format(first=11, more=10, state="current", changed="n %% %(of)s::integer = 0"),
    """
    INSERT INTO document (id, kind, grid_id, version, op, deleted, body, id_index, phone_index, block_index, created_at,
                          updated_at)
    SELECT gen_random_uuid(), 'person', (SELECT min(id) FROM grid), 1, gen_random_uuid(), false, '{}',
           decode(md5('record' || 1 + mod(n * 7919::bigint, %(records)s::integer)), 'hex'),
           decode(md5('own phone' || n), 'hex'), decode(md5('own block' || n), 'hex'), now(), now()
    FROM generate_series(1, %(entries)s::integer) AS n
    """,
    """
    INSERT INTO recheck (id, cause, dataset, snapshot_id, previous_id, scope, state, step, after, entries, checked,
                         created_at)
    SELECT gen_random_uuid(), 'snapshot', 'population', new.id, old.id, '{}', 'spreading', 0, '', 0, 0, now()
    FROM snapshot new, snapshot old WHERE new.state = 'current' AND old.state = 'superseded'
    """,
)
_ASKED = "SELECT payload->>'source_id' FROM job WHERE name = 'workflows.crosscheck.recheck'"
# Another way than the product's: all of both snapshots at once, in one join.
_DUE = """
    SELECT d.id FROM document d WHERE d.kind = 'person' AND encode(d.id_index, 'hex') IN (
        SELECT coalesce(o.record_key, n.record_key)
        FROM (SELECT r.* FROM business_record r JOIN snapshot s ON s.id = r.snapshot_id AND s.state = 'superseded') o
        FULL JOIN (SELECT r.* FROM business_record r JOIN snapshot s ON s.id = r.snapshot_id AND s.state = 'current') n
            USING (record_key)
        WHERE o.content_digest IS DISTINCT FROM n.content_digest)
"""

if __name__ == "__main__":
    sys.exit(main())
