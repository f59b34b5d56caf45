"""The per-grid feed: the one place that writes it.

Each grid has a counter that is bumped under its row lock as the last thing before the commit, grids in sorted order.
So commit order is sequence order and no reader ever passes a number that is still to come; a plain sequence lost
1,098 of 3,616 rows in a race (sync-protocol.md, rule 7). The feed keeps the latest touch per grid and document.

A document that changes without a touch in the same transaction, in its old grid and its new one, cannot be committed
(migration 0020): replicas would never hear of it.

The streams of other processes are told after the commit (`CHANNEL`) and not by it: PostgreSQL lets transactions that
notify commit one at a time, each waiting for the disk of the one before, which took two thirds of the commits.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import psycopg
from psycopg.pq import TransactionStatus
from sqlmodel import Session

from backend.core.db import after_commit
from backend.core.enums import Kind
from backend.core.logging import get_logger
from backend.core.statements import execute, raw_connection

log = get_logger(__name__)

CHANNEL = "zw_resync"
"""NOTIFY goes out on it with the id of each grid that was touched."""


Touch = tuple[str, UUID, Kind]
"""That a document changed in, came to, or left a grid."""


def touch(session: Session, touches: Iterable[Touch]) -> None:
    """Number the touches. Nothing else may be written after this in the same transaction."""
    latest = {(grid_id, document_id): kind.value for grid_id, document_id, kind in touches}
    if not latest:
        return
    grids, documents = zip(*latest, strict=True)
    given = {"grids": list(grids), "documents": list(documents), "kinds": list(latest.values())}
    execute(session, _TOUCH, given)
    connection, touched = raw_connection(session), sorted(set(grids))
    after_commit(session, lambda: _tell(connection, touched))


def _tell(connection: psycopg.Connection[Any], grids: Sequence[str]) -> None:
    """Over the connection that has just committed. A word that cannot be said comes with the streams' next look.

    Where the session worked inside somebody else's transaction nothing is committed yet, and nothing is said.
    """
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        return
    try:
        connection.autocommit = True
        connection.execute(_TELL, {"channel": CHANNEL, "grids": grids})
        connection.autocommit = False
    except psycopg.Error as error:
        log.warning("streams are not told", error=type(error).__name__)
        connection.close()


_TOUCH = """
    WITH touched AS (
        SELECT grid, document_id, kind, row_number() OVER (PARTITION BY grid ORDER BY place) AS number
        FROM unnest(%(grids)b::text[], %(documents)b::uuid[], %(kinds)b::text[])
             WITH ORDINALITY AS t (grid, document_id, kind, place)
    ), bumped AS (
        INSERT INTO feed_counter (grid_id, seq)
        SELECT grid, count(*) FROM touched GROUP BY grid ORDER BY grid
        ON CONFLICT (grid_id) DO UPDATE SET seq = feed_counter.seq + excluded.seq
        RETURNING grid_id, seq
    ), numbered AS (
        SELECT grid_id, document_id, kind, seq - count(*) OVER (PARTITION BY grid_id) + number AS seq
        FROM bumped JOIN touched ON grid = grid_id
    ), written AS (
        INSERT INTO feed (grid_id, document_id, kind, seq, first_seq, written_in)
        SELECT grid_id, document_id, kind, seq, seq, txid_current() FROM numbered
        ON CONFLICT (grid_id, document_id) DO UPDATE
        SET seq = excluded.seq, kind = excluded.kind, written_in = excluded.written_in
    )
    SELECT count(*) FROM bumped
"""
_TELL = "SELECT count(*) FROM (SELECT pg_notify(%(channel)s, grid) FROM unnest(%(grids)s::text[]) AS grid) AS told"
