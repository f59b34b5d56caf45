"""The raw limit of `bench.sync`: the same rows written and read by set-based statements through psycopg, and no more.

A push writes document, version, ledger, job, audit entry and feed, in one pipeline and one durable commit, over the
same tables with all their indexes, foreign keys and triggers. Left out are all that decides and protects: HTTP, login,
validation, reads, locks, row policies (it logs in as the worker), making and sealing keys (ciphertext of the same
length was made beforehand), and the sealing of the audit chain, which is a job of its own on either side. A pull reads
the same rows by the feed and encodes them as JSON, the ciphertext as it is.
"""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg

from backend.core.ids import new_id
from backend.kinds.base import COMMON_PUBLIC
from bench.stack import OwnStack
from bench.sync_load import together
from bench.sync_ours import Ours, Row

TAG_BYTES = 16

Values = dict[str, Any]


def address(stack: OwnStack, side: Ours) -> str:
    """Where the limit logs in: as the worker, whom no row policy holds back."""
    return stack.postgres.url(user="zw_worker", database=side.database)


def authors(stack: OwnStack, side: Ours) -> list[tuple[UUID, UUID]]:
    """Account and device of each client of ours: the rows name the same ones."""
    with stack.superuser(side.database) as connection:
        query = "SELECT d.account_id, d.id FROM device d JOIN account a ON a.id = d.account_id WHERE a.login = %s"
        found = [connection.execute(query, [handheld.login]).fetchone() for handheld in side.handhelds]
    return [(UUID(str(row[0])), UUID(str(row[1]))) for row in found if row]


def pushes(rows: Sequence[Row], *, size: int, grid_id: str, author: tuple[UUID, UUID]) -> list[Values]:
    """The parameters of each batch, made beforehand."""
    return [_batch(rows[start : start + size], grid_id, author) for start in range(0, len(rows), size)]


def _batch(rows: Sequence[Row], grid_id: str, author: tuple[UUID, UUID]) -> Values:
    ids = [UUID(row["id"]) for row in rows]
    public = [{name: value for name, value in row.items() if name in COMMON_PUBLIC} for row in rows]
    personal = [{name: value for name, value in row.items() if name not in COMMON_PUBLIC} for row in rows]
    return {
        "account": author[0],
        "device": author[1],
        "grid": grid_id,
        "count": len(rows),
        "now": datetime.now(UTC),
        "ids": ids,
        "ops": [UUID(row["op"]) for row in rows],
        "bodies": [msgspec.json.encode(body).decode() for body in public],
        "sealed": [_sealed(part) for part in personal],
        "id_indexes": [os.urandom(16) for _ in rows],
        "phone_indexes": [os.urandom(16) for _ in rows],
        "block_indexes": [os.urandom(16) for _ in rows],
        "name_indexes": [os.urandom(16) for _ in rows],
        "fingerprints": [os.urandom(32) for _ in rows],
        "jobs": [new_id() for _ in rows],
        "keys": [f"document:{document_id}:1" for document_id in ids],
        "payloads": [
            msgspec.json.encode({"source_type": "document", "source_id": str(name), "source_version": 1}).decode()
            for name in ids
        ],
        "entries": [new_id() for _ in rows],
        "objects": [str(document_id) for document_id in ids],
        "request": uuid4().hex,
    }


def _sealed(personal: Row) -> bytes:
    """A blob as long as a real one, of a subject that has no key."""
    plain = msgspec.json.encode([[[name], value] for name, value in personal.items()])
    return msgspec.msgpack.encode([(os.urandom(16), os.urandom(TAG_BYTES + len(plain)))])


def push(address: str, work: Sequence[Sequence[Values]]) -> float:
    """Write each client's batches, all clients at the same time; seconds to the last commit."""
    connections = [psycopg.connect(address, autocommit=True) for _ in work]

    def client(connection: psycopg.Connection[Any], mine: Sequence[Values]) -> Callable[[], None]:
        def run() -> None:
            for values in mine:
                with connection.transaction(), connection.pipeline(), connection.cursor() as cursor:
                    for statement in _WRITES:
                        cursor.execute(statement, values, prepare=True)

        return run

    try:
        return together([client(connection, mine) for connection, mine in zip(connections, work, strict=True)])
    finally:
        for connection in connections:
            connection.close()


def pull(address: str, grids: Sequence[str], *, limit: int, pages: int) -> float:
    """Read the first pages of each grid, all at the same time; seconds to the last one encoded."""
    connections = [psycopg.connect(address, autocommit=True) for _ in grids]

    def client(connection: psycopg.Connection[Any], grid_id: str) -> Callable[[], None]:
        def run() -> None:
            at = 0
            for _ in range(pages):
                with connection.cursor(binary=True) as cursor:
                    values = {"grid": grid_id, "after": at, "limit": limit}
                    rows = cursor.execute(_READ, values, prepare=True).fetchall()
                if len(rows) != limit:
                    raise RuntimeError(f"limit: {len(rows)} rows")
                at = rows[-1][0]
                documents = [
                    {
                        "id": name,
                        "rev": version,
                        "op": op,
                        "_deleted": deleted,
                        "body": msgspec.Raw(body),
                        "sealed": blob,
                    }
                    for _, name, version, op, deleted, body, blob in rows
                ]
                msgspec.json.encode({"documents": documents, "checkpoint": at})

        return run

    try:
        return together([client(connection, grid_id) for connection, grid_id in zip(connections, grids, strict=True)])
    finally:
        for connection in connections:
            connection.close()


_WRITES = (
    """
    INSERT INTO document (id, kind, grid_id, version, op, deleted, body, sealed, id_index, phone_index, block_index,
                          name_year_index, name_address_index, account_id, device_id, created_at, updated_at)
    SELECT id, 'person', %(grid)s, 1, op, false, CAST(body AS json), sealed, id_index, phone_index, block_index,
           name_index, name_index, %(account)s, %(device)s, %(now)s, %(now)s
    FROM unnest(%(ids)b::uuid[], %(ops)b::uuid[], %(bodies)b::text[], %(sealed)b::bytea[], %(id_indexes)b::bytea[],
                %(phone_indexes)b::bytea[], %(block_indexes)b::bytea[], %(name_indexes)b::bytea[])
         AS row (id, op, body, sealed, id_index, phone_index, block_index, name_index)
    """,
    """
    INSERT INTO document_version (document_id, version, op, grid_id, deleted, body, sealed, account_id, device_id,
                                  created_at)
    SELECT id, 1, op, %(grid)s, false, CAST(body AS json), sealed, %(account)s, %(device)s, %(now)s
    FROM unnest(%(ids)b::uuid[], %(ops)b::uuid[], %(bodies)b::text[], %(sealed)b::bytea[]) AS row (id, op, body, sealed)
    """,
    """
    INSERT INTO mutation (document_id, op, kind, device_id, account_id, fingerprint, outcome, version, pushed,
                          pushed_body, created_at)
    SELECT id, op, 'person', %(device)s, %(account)s, fingerprint, 'applied', 1, sealed, CAST(body AS json), %(now)s
    FROM unnest(%(ids)b::uuid[], %(ops)b::uuid[], %(fingerprints)b::bytea[], %(sealed)b::bytea[], %(bodies)b::text[])
         AS row (id, op, fingerprint, sealed, body)
    """,
    """
    INSERT INTO job (id, name, key, payload, state, priority, not_before, attempts, max_attempts, fence, request_id,
                     created_at)
    SELECT id, 'workflows.crosscheck', key, CAST(payload AS json), 'ready', 100, %(now)s, 0, 5, 0, %(request)s, %(now)s
    FROM unnest(%(jobs)b::uuid[], %(keys)b::text[], %(payloads)b::text[]) AS row (id, key, payload)
    """,
    """
    INSERT INTO audit_entry (id, at, actor, action, object_type, object_id, request_id, detail)
    SELECT id, %(now)s, CAST(%(account)s AS text), 'document_written', 'person', object, %(request)s, '{"version":1}'
    FROM unnest(%(entries)b::uuid[], %(objects)b::text[]) AS row (id, object)
    """,
    """
    WITH bumped AS (
        INSERT INTO feed_counter (grid_id, seq) VALUES (%(grid)s, %(count)s)
        ON CONFLICT (grid_id) DO UPDATE SET seq = feed_counter.seq + excluded.seq
        RETURNING seq - %(count)s AS before
    )
    INSERT INTO feed (grid_id, document_id, kind, seq, first_seq, written_in)
    SELECT %(grid)s, id, 'person', before + place, before + place, txid_current()
    FROM bumped, unnest(%(ids)b::uuid[]) WITH ORDINALITY AS row (id, place)
    """,
)
_READ = """
    SELECT f.seq, CAST(d.id AS text), d.version, CAST(d.op AS text), d.deleted,
           convert_to(CAST(d.body AS text), 'UTF8'), d.sealed
    FROM feed f JOIN document d ON d.id = f.document_id
    WHERE f.grid_id = %(grid)s AND f.kind = 'person' AND f.seq > %(after)s ORDER BY f.seq LIMIT %(limit)s
"""
