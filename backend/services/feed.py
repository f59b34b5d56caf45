"""The per-grid feed: the one place that writes it.

Each grid has a counter that is bumped under its row lock as the last thing before the commit, grids in sorted order.
So commit order is sequence order and no reader ever passes a number that is still to come; a plain sequence lost
1,098 of 3,616 rows in a race (sync-protocol.md, rule 7). The feed keeps the latest touch per grid and document.

A document that changes without a touch in the same transaction, in its old grid and its new one, cannot be committed
(migration 0020): replicas would never hear of it. The touch also tells the streams of other processes, after the
commit (`CHANNEL`).
"""

from collections.abc import Iterable
from uuid import UUID

from sqlmodel import Session

from backend.core.enums import Kind
from backend.core.statements import execute

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
    given = {"grids": list(grids), "documents": list(documents), "kinds": list(latest.values()), "channel": CHANNEL}
    execute(session, _TOUCH, given)


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
    SELECT count(*) FROM (SELECT pg_notify(%(channel)s::text, grid_id) FROM bumped) AS told
"""
