"""Where things are and who works there: the grid of a point, and the grids of a worker."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shapely import STRtree
from shapely.geometry import Point, shape
from sqlmodel import Session, col, or_, select

from backend.core import statements
from backend.core.clock import now
from backend.models import Grid

KEPT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Map:
    """The grids in force, as one process remembers them for a while; the newest come first."""

    database: str
    read_at: float
    ids: Sequence[str]
    tree: STRtree


@dataclass(frozen=True, slots=True)
class EndedTerm:
    """The last membership of a worker in a grid, when it is over."""

    epoch: int
    ended_at: datetime


_lock = threading.Lock()
_map: _Map | None = None


def grid_at(session: Session, lat: float, lon: float) -> str | None:
    """The grid in force that holds a WGS-84 point in degrees, None outside all of them.

    Grids change by administrative act, so a process may answer from what it read up to a minute ago. While a grid that
    was split or merged still runs, its successor counts.
    """
    current = _current_map(session)
    hits = current.tree.query(Point(lon, lat), predicate="intersects")
    return current.ids[min(hits)] if len(hits) else None


def held_grids(session: Session, account_id: UUID, *, at: datetime) -> dict[str, int]:
    """The grids a worker holds at a moment, with the epoch of the membership."""
    return ask_held_grids(session, account_id, at=at)()


def ask_held_grids(session: Session, account_id: UUID, *, at: datetime) -> Callable[[], dict[str, int]]:
    """`held_grids` in two steps, for `statements.together`: the question, and the reading of the answer."""
    answer = statements.execute(session, _HELD, {"account": account_id, "at": at})

    def read() -> dict[str, int]:
        found: dict[str, int] = {}
        for grid_id, epoch in answer.rows():
            found[grid_id] = max(epoch, found.get(grid_id, epoch))
        return found

    return read


def lost_grids(session: Session, account_id: UUID, *, at: datetime) -> dict[str, EndedTerm]:
    """The grids a worker held once and no longer holds, with the last membership.

    Work captured then goes to review, and the handheld is told to forget what it has of them.
    """
    rows = statements.rows(session, _ENDED, {"account": account_id, "at": at})
    if not rows:
        return {}
    held = held_grids(session, account_id, at=at)
    found: dict[str, EndedTerm] = {}
    for grid_id, epoch, ended_at in rows:
        known = found.get(grid_id)
        if grid_id not in held and (known is None or known.epoch < epoch):
            found[grid_id] = EndedTerm(epoch, ended_at)
    return found


def _current_map(session: Session) -> _Map:
    """Read again after a while, and at once when the process turns to another database."""
    global _map  # noqa: PLW0603  one map a process
    database = str(session.connection().engine.url)
    with _lock:
        if _map is None or _map.database != database or time.monotonic() - _map.read_at > KEPT_SECONDS:
            rows = session.exec(
                select(Grid.id, Grid.polygon)
                .where(col(Grid.starts_at) <= now(), or_(col(Grid.ends_at).is_(None), col(Grid.ends_at) > now()))
                .order_by(col(Grid.starts_at).desc(), col(Grid.id))
            ).all()
            tree = STRtree([shape(polygon) for _, polygon in rows])
            _map = _Map(database, time.monotonic(), [grid_id for grid_id, _ in rows], tree)
        return _map


_HELD = """
    SELECT CAST(grid_id AS text), epoch FROM membership
    WHERE account_id = %(account)s AND starts_at <= %(at)s AND (ends_at IS NULL OR ends_at > %(at)s)
"""
_ENDED = """
    SELECT CAST(grid_id AS text), epoch, ends_at FROM membership WHERE account_id = %(account)s AND ends_at <= %(at)s
"""
