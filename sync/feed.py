"""The per-grid feed: the one place that writes it.

Each grid has a counter that is bumped under its row lock as the last thing before the commit, grids in sorted order.
So commit order is sequence order and no reader ever passes a number that is still to come; a plain sequence lost
1,098 of 3,616 rows in a race (sync-protocol.md, rule 7). The feed keeps the latest touch per grid and document.
"""

from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend.core.enums import Kind
from sync.known import Touch


def touch(session: Session, touches: Iterable[Touch]) -> None:
    """Number the touches. Nothing else may be written after this in the same transaction."""
    by_grid: dict[str, dict[UUID, Kind]] = defaultdict(dict)
    for entry in touches:
        by_grid[entry.grid_id][entry.document_id] = entry.kind
    for grid_id in sorted(by_grid):
        documents = by_grid[grid_id]
        last = session.connection().execute(_BUMP, {"grid": grid_id, "count": len(documents)}).scalar_one()
        session.connection().execute(
            _WRITE,
            {
                "grid": grid_id,
                "documents": list(documents),
                "kinds": [kind.value for kind in documents.values()],
                "before": last - len(documents),
            },
        )


_BUMP = text(
    """
    INSERT INTO feed_counter (grid_id, seq) VALUES (:grid, :count)
    ON CONFLICT (grid_id) DO UPDATE SET seq = feed_counter.seq + :count
    RETURNING seq
    """
)
_WRITE = text(
    """
    INSERT INTO feed (grid_id, document_id, kind, seq, first_seq)
    SELECT :grid, document_id, kind, :before + place, :before + place
    FROM unnest(CAST(:documents AS uuid[]), CAST(:kinds AS text[])) WITH ORDINALITY AS t (document_id, kind, place)
    ON CONFLICT (grid_id, document_id) DO UPDATE SET seq = excluded.seq, kind = excluded.kind
    """
)
