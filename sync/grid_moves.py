"""Moving what lies in grids that end to those that follow them: a batch a transaction, until nothing is left.

Each step finds for itself what still lies in the old grids, so it may run twice, and go on after a crash. A document
that moves is a version of the server's: replicas of the old grid get a tombstone, those of the new one the document,
and an edit that a handheld has not sent yet merges over it, as long as the old grid has not ended (docs/sync-protocol).
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from shapely import Point
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry
from sqlalchemy import text
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import COLLECTED_KINDS, Kind
from backend.kinds import Document as Fields
from backend.kinds.geodesy import SCALE
from backend.models import Document, Grid, GridChange
from backend.services import erased, grid_changes
from sync import feed, service

BATCH = 200
SETTLED_AFTER = timedelta(minutes=5)
"""After the end of a grid a push that began before it may still be on its way to its commit."""
FOLLOWED = {Kind.PERSON: "house_id", Kind.CASE: "source_id", Kind.TASK: "source_id"}
"""Records without a place of their own go where the record goes that they name; so they are moved after those."""
ORDER = [kind.value for kind in (*(kind for kind in COLLECTED_KINDS if kind not in FOLLOWED), *FOLLOWED)]


def run_step(session: Session, *, change_id: UUID, step: int) -> None:
    """Move one batch, and ask for the next step; finish where nothing is left and the old grids have ended.

    `jobs.Discard` for a change that is not there.
    """
    change = session.get(GridChange, change_id, with_for_update=True)
    if change is None:
        raise jobs.Discard("grid_change_unknown")
    if change.finished_at is not None:
        return
    moment, settled = now(), change.ends_at + SETTLED_AFTER
    kind, ids = _next(session, change)
    if kind is None and settled <= moment:
        change.finished_at = moment
        grid_changes.note(session, change, "grid_change_finished")
        return
    _ask_for(session, change, step + 1, delay=timedelta(0) if kind else settled - moment)
    if kind is None:
        return
    erased.hold_off(session)
    chosen: dict[UUID, str] = {}

    def choose(contents: Mapping[UUID, Fields]) -> Mapping[UUID, str]:
        chosen.update(_targets(session, change, kind, contents))
        return chosen

    touches = service.move(session, kind=kind, document_ids=ids, sources=change.sources, choose=choose)
    if kind is Kind.CASE and chosen:
        session.connection().execute(_MOVE_CASES, {"ids": list(chosen), "grids": list(chosen.values())})
    change.moved += len(chosen)
    session.flush()
    feed.touch(session, touches)


def _next(session: Session, change: GridChange) -> tuple[Kind | None, list[UUID]]:
    """Living documents of one kind that still lie in the old grids."""
    given = {"grids": change.sources, "kinds": ORDER, "limit": BATCH}
    rows = session.connection().execute(_LEFT, given).all()
    if not rows:
        return None, []
    return Kind(rows[0].kind), [row.id for row in rows if row.kind == rows[0].kind]


def _ask_for(session: Session, change: GridChange, step: int, *, delay: timedelta) -> None:
    payload = {"change_id": str(change.id), "step": step}
    jobs.enqueue_many(session, [jobs.NewJob(grid_changes.MOVE_JOB, f"{change.id}:{step}", payload, delay=delay)])


def _targets(session: Session, change: GridChange, kind: Kind, contents: Mapping[UUID, Fields]) -> dict[UUID, str]:
    """Where each document goes: by its place, else with the record it names, else to the default grid."""
    grids = session.exec(select(Grid).where(col(Grid.id).in_(change.targets)).order_by(Grid.id)).all()
    polygons = [(grid.id, shape(grid.polygon)) for grid in grids]
    followed = _followed(session, change, kind, contents)
    return {
        document_id: _at(fields, polygons) or followed.get(document_id) or change.default_grid_id
        for document_id, fields in contents.items()
    }


def _at(fields: Fields, polygons: Sequence[tuple[str, BaseGeometry]]) -> str | None:
    """The grid that holds the place; on a common border the first."""
    location = fields.get("location")
    if not isinstance(location, dict):
        return None
    point = Point(location["lon"] / SCALE, location["lat"] / SCALE)
    return next((grid_id for grid_id, polygon in polygons if polygon.intersects(point)), None)


def _followed(session: Session, change: GridChange, kind: Kind, contents: Mapping[UUID, Fields]) -> dict[UUID, str]:
    name = FOLLOWED.get(kind)
    named = {key: _uuid(fields.get(name)) for key, fields in contents.items()} if name else {}
    wanted = {found for found in named.values() if found is not None}
    if not wanted:
        return {}
    query = select(Document.id, Document.grid_id).where(col(Document.id).in_(wanted))
    lies = {document_id: grid_id for document_id, grid_id in session.exec(query) if grid_id in change.targets}
    return {key: lies[found] for key, found in named.items() if found in lies}


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


_LEFT = text(
    """
    SELECT id, kind FROM document WHERE grid_id = ANY(:grids) AND NOT deleted
    ORDER BY array_position(CAST(:kinds AS text[]), CAST(kind AS text)), id LIMIT :limit
    """
)
_MOVE_CASES = text(
    """
    UPDATE case_file SET grid_id = moved.grid_id
    FROM unnest(CAST(:ids AS uuid[]), CAST(:grids AS text[])) AS moved (id, grid_id) WHERE case_file.id = moved.id
    """
)
