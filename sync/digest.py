"""What a replica of each held grid should hold: how many documents, and one hash over all of them (I4).

One statement reads everything in one moment, in the order of grid and id, through a cursor in the database; here stand
a few hundred rows at a time and one hash for each grid.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.enums import Kind, Role
from backend.core.errors import Forbidden
from backend.kinds import Document
from backend.services import territory
from backend.services.records import StoredRow, open_rows
from backend.services.sealing import Vault
from backend.services.sessions import Caller
from sync.canonical import canonical
from sync.schemas import CURRENT_SCHEMA, in_form, to_wire

ROWS_AT_ONCE = 250


@dataclass(slots=True)
class _Grid:
    """One grid's sum so far: SHA-256 over the canonical documents in the order of their ids, each with a newline."""

    seq: int
    count: int = 0
    hash: Any = field(default_factory=hashlib.sha256)

    def add(self, document: Document) -> None:
        self.count += 1
        self.hash.update(canonical(document) + b"\n")


def digest(
    session: Session, *, caller: Caller, kind: Kind, grid_id: str | None = None, version: int = CURRENT_SCHEMA
) -> Document:
    """Count and hash of a collection, by grid that the caller holds now; of one grid where it is named.

    Documents count in the form of `version`; tombstones do not count. `seq` is the number of the kind's last touch in
    that grid's feed: a client whose checkpoint stands there has everything that was counted. `Forbidden` for callers
    that are no handheld.
    """
    if caller.device_id is None or caller.role is not Role.GRID_WORKER:
        raise Forbidden
    held = sorted(territory.held_grids(session, caller.account_id, at=now()))
    wanted = [grid for grid in held if grid_id in (None, grid)]
    sums: dict[str, _Grid] = {}
    for rows in _pages(session, kind, wanted):
        for row in rows:
            sums.setdefault(row.grid, _Grid(row.seq))
        stored = [row for row in rows if row.id is not None]
        opened = open_rows(session, [StoredRow(row.id, row.body, row.sealed) for row in stored], vault=Vault(session))
        for row, fields in zip(stored, opened, strict=True):
            document = to_wire(row.id, fields=fields, version=row.version, op=row.op)
            sums[row.grid].add(in_form(kind, document, version))
    return {
        "grids": {
            grid: {"seq": found.seq, "count": found.count, "hash": found.hash.hexdigest()}
            for grid, found in sums.items()
        }
    }


def _pages(session: Session, kind: Kind, grids: Sequence[str]) -> Iterator[Sequence[Row[Any]]]:
    options = {"stream_results": True, "max_row_buffer": ROWS_AT_ONCE}
    given = {"grids": list(grids), "kind": kind.value}
    with session.connection().execute(_CONTENTS, given, execution_options=options) as found:
        yield from found.partitions(ROWS_AT_ONCE)


_CONTENTS = text(
    """
    SELECT held.grid, coalesce(last.seq, 0) AS seq, d.id, d.version, d.op, d.body, d.sealed
    FROM unnest(CAST(:grids AS text[])) AS held (grid)
    LEFT JOIN LATERAL (SELECT max(f.seq) AS seq FROM feed f WHERE f.grid_id = held.grid AND f.kind = :kind) AS last
         ON true
    LEFT JOIN document d ON d.grid_id = held.grid AND d.kind = :kind AND NOT d.deleted
    ORDER BY held.grid, d.id
    """
)
