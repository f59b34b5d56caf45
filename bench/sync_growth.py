"""The work for a pushed record as the store grows: processor time and wall time at each size, and their ratio.

The store is filled with synthetic rows of all tables that a push writes or reads, by SQL, spread over all grids. Their
ciphertext is short, because a push reads nothing of other records: what grows with them is the indexes. Processor time
is that of the API and of PostgreSQL together; wall time means something on a quiet machine only.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.stack import OwnStack
from bench.sync_load import send
from bench.sync_ours import Ours, ours, pushes, took
from bench.trust import People, cpu_seconds

DATABASE = "growth"
CHUNK = 50_000
WRITERS = 2
BATCH = 50


def growth(stack: OwnStack, sizes: Sequence[int], *, rows: int) -> dict[str, float]:
    """Print the curve and give `growth_2e6`: processor time for a record at the largest size against the smallest."""
    people, stored = People(), 0
    work: dict[int, float] = {}
    print("  stored records   processor µs/record   wall µs/record")
    with ours(stack, DATABASE) as side:
        _push(side, people, rows)  # The first pushes fill caches.
        for size in sorted(sizes):
            stored = _fill(stack, stored, size)
            assert stack.postgres.process
            servers = (*side.pids, stack.postgres.process.pid)
            _push(side, people, rows // 4)
            before = cpu_seconds(servers)
            seconds = _push(side, people, rows)
            work[size] = (cpu_seconds(servers) - before) / rows
            print(f"  {size:>14,}   {work[size] * 1e6:>19.0f}   {seconds / rows * 1e6:>14.0f}", flush=True)
    return {"growth_2e6": work[max(work)] / work[min(work)]}


def _push(side: Ours, people: People, rows: int) -> float:
    share = rows // len(side.handhelds)
    made = zip(side.handhelds, side.grids, strict=True)
    work = [pushes(handheld, people.take(share, grid_id), size=BATCH) for handheld, grid_id in made]
    return send(side.ports, work, took)


def _fill(stack: OwnStack, stored: int, size: int) -> int:
    """Bring the store to `size` synthetic records. Checks of foreign keys and triggers would only cost time."""
    began = time.perf_counter()
    chunks = [(first, min(first + CHUNK, size) - 1) for first in range(stored, size, CHUNK)]
    with ThreadPoolExecutor(WRITERS) as writers:
        for part in [writers.submit(_write, stack, chunks[place::WRITERS]) for place in range(WRITERS)]:
            part.result()
    with stack.superuser(DATABASE) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    if size - stored > CHUNK:
        print(f"  ({size - stored:,} records made in {time.perf_counter() - began:.0f} s)", flush=True)
    return size


def _write(stack: OwnStack, chunks: Sequence[tuple[int, int]]) -> None:
    with stack.superuser(DATABASE) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        connection.execute(_PREPARE)
        for first, last in chunks:
            connection.execute("TRUNCATE made")
            connection.execute(_MAKE, {"first": first, "last": last})
            for statement in _FILL:
                connection.execute(statement)


_PREPARE = """
    CREATE TEMP TABLE made AS
    SELECT uuidv7() AS id, gen_random_uuid() AS op, CAST('' AS text) AS grid_id, CAST(0 AS bigint) AS seq,
           CAST('' AS bytea) AS sealed WITH NO DATA
"""
_MAKE = """
    WITH places AS (SELECT array_agg(id ORDER BY id) AS ids FROM grid)
    INSERT INTO made (id, op, grid_id, seq, sealed)
    SELECT uuidv7(), gen_random_uuid(), ids[1 + mod(number, cardinality(ids))], 1000000000 + number,
           uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
    FROM places, generate_series(%(first)s::bigint, %(last)s::bigint) AS number
"""
_FILL = (
    """
    INSERT INTO document (id, kind, grid_id, version, op, deleted, body, sealed, id_index, phone_index, block_index,
                          name_year_index, name_address_index, account_id, device_id, created_at, updated_at)
    SELECT made.id, 'person', grid_id, 1, op, false, json_build_object('grid_id', grid_id), sealed,
           uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid()),
           uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid()), account_id, author.id, now(), now()
    FROM made, (SELECT account_id, id FROM device LIMIT 1) AS author
    """,
    """
    INSERT INTO document_version (document_id, version, op, grid_id, deleted, body, sealed, account_id, device_id,
                                  created_at)
    SELECT made.id, 1, op, grid_id, false, json_build_object('grid_id', grid_id), sealed, account_id, author.id, now()
    FROM made, (SELECT account_id, id FROM device LIMIT 1) AS author
    """,
    """
    INSERT INTO mutation (document_id, op, kind, device_id, account_id, fingerprint, outcome, version, pushed,
                          pushed_body, created_at)
    SELECT made.id, op, 'person', author.id, account_id, uuid_send(op) || uuid_send(op), 'applied', 1, sealed,
           json_build_object('grid_id', grid_id), now()
    FROM made, (SELECT account_id, id FROM device LIMIT 1) AS author
    """,
    """
    INSERT INTO feed (grid_id, document_id, kind, seq, first_seq, written_in)
    SELECT grid_id, id, 'person', seq, seq, txid_current() FROM made
    """,
    """
    INSERT INTO subject_key (subject_id, wrapped, created_at)
    SELECT uuid_send(gen_random_uuid()), sealed, now() FROM made
    """,
    """
    INSERT INTO audit_entry (id, at, actor, action, object_type, object_id, detail)
    SELECT uuidv7(), now(), CAST(account_id AS text), 'document_written', 'person', CAST(made.id AS text),
           '{"version":1}'
    FROM made, (SELECT account_id, id FROM device LIMIT 1) AS author
    """,
)
