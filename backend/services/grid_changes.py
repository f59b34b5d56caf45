"""Splitting and merging grids: what is decided at once, before the job moves what lies in them (`sync.grid_moves`).

New grids begin, and whoever works an old one works them; the old grids and the terms in them end later, so that work
which handhelds have not sent yet still comes in. Nothing of what was is rewritten: who held what stays true.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shapely import unary_union
from shapely.errors import ShapelyError
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry
from sqlalchemy import select, text
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, or_

from backend import jobs
from backend.core.clock import now
from backend.core.enums import Role
from backend.core.errors import ZhiwangError
from backend.core.ids import new_id
from backend.models import Account, Grid, GridChange, Membership, Posting, TerritoryUnit
from backend.services import audit, postings

MOVE_JOB = "sync.move_grid"
COMMUNITY_DIGITS = 12


class GridChangeRefused(ZhiwangError):
    """`because`: `no_grids`, `source_unknown`, `changing_already`, `target_exists`, `community_unknown`, `polygon_bad`,
    `default_no_target`, `worker_unknown`; `what` names the grid or login."""

    code = "grid_change_refused"
    status = 409
    title_zh = "网格拆分或合并方案有误，请检查所列网格"
    title_en = "The grids cannot be split or merged like this"


@dataclass(frozen=True, slots=True)
class NewGrid:
    """A grid to be made. Without a polygon it gets that of all sources together; `workers` are logins, and None stands
    for everybody who holds a source."""

    id: str
    name: str
    polygon: dict[str, Any] | None = None
    workers: Sequence[str] | None = None


def start(
    session: Session, *, actor: str, sources: Sequence[str], targets: Sequence[NewGrid], default: str, ends_at: datetime
) -> GridChange:
    """Make the new grids with their terms, date the old ones, and ask for the move. `GridChangeRefused`.

    Documents with a place go to the target that holds it; a person goes with the house, a case with its record;
    everything else goes to `default`. `ends_at`, not before now, is when the sources and the terms in them end.
    """
    moment = now()
    ends_at = max(ends_at, moment)
    old = _sources(session, sources, moment)
    if not targets:
        raise GridChangeRefused(because="no_grids", what="")
    if default not in {target.id for target in targets}:
        raise GridChangeRefused(because="default_no_target", what=default)
    whole = unary_union([shape(grid.polygon) for grid in old])
    for target in targets:
        session.add(_new_grid(session, target, old[0], whole, moment))
    session.flush()
    holders = _holders(session, sources, moment)
    for target in targets:
        _open_terms(session, target, _workers(session, target, holders), moment, actor)
    for grid in old:
        grid.ends_at = ends_at
    session.connection().execute(_END_TERMS, {"grids": list(sources), "end": ends_at})
    change = GridChange(
        id=new_id(),
        sources=sorted(sources),
        targets=[target.id for target in targets],
        default_grid_id=default,
        actor=actor,
        started_at=moment,
        ends_at=ends_at,
    )
    session.add(change)
    session.flush()
    jobs.enqueue(session, MOVE_JOB, key=f"{change.id}:1", change_id=str(change.id), step=1)
    note(session, change, "grid_change_started")
    return change


def note(session: Session, change: GridChange, action: str) -> None:
    """One entry of the audit trail about a change."""
    audit.record(
        session,
        actor=change.actor,
        action=action,
        object_type="grid_change",
        object_id=str(change.id),
        moved=change.moved,
        **{f"source_{number}": grid for number, grid in enumerate(change.sources, start=1)},
        **{f"target_{number}": grid for number, grid in enumerate(change.targets, start=1)},
    )


def _sources(session: Session, sources: Sequence[str], moment: datetime) -> list[Grid]:
    """The grids in force that are to end, locked; none of them is changing already."""
    query = select(Grid).where(col(Grid.id).in_(sources)).order_by(col(Grid.id)).with_for_update()
    found = list(session.execute(query).scalars())
    known = {grid.id for grid in found if grid.starts_at <= moment}
    if not sources or len(set(sources)) != len(sources):
        raise GridChangeRefused(because="no_grids", what="")
    if unknown := sorted(set(sources) - known):
        raise GridChangeRefused(because="source_unknown", what=unknown[0])
    if ending := [grid.id for grid in found if grid.ends_at is not None]:
        raise GridChangeRefused(because="changing_already", what=ending[0])
    return found


def _new_grid(session: Session, target: NewGrid, old: Grid, whole: BaseGeometry, moment: datetime) -> Grid:
    if session.get(Grid, target.id) is not None:
        raise GridChangeRefused(because="target_exists", what=target.id)
    community = target.id[:COMMUNITY_DIGITS]
    if session.get(TerritoryUnit, community) is None or not (target.id.isdecimal() and len(target.id) == len(old.id)):
        raise GridChangeRefused(because="community_unknown", what=target.id)
    return Grid(
        id=target.id,
        name=target.name,
        community_code=community,
        responsible_unit=old.responsible_unit,
        polygon=_polygon(target, whole),
        synthetic=old.synthetic,
        starts_at=moment,
    )


def _polygon(target: NewGrid, whole: BaseGeometry) -> dict[str, Any]:
    if target.polygon is None:
        return dict(mapping(whole))
    try:
        drawn = shape(target.polygon)
    except (ShapelyError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise GridChangeRefused(because="polygon_bad", what=target.id) from error
    if drawn.geom_type not in ("Polygon", "MultiPolygon") or drawn.is_empty or not drawn.is_valid:
        raise GridChangeRefused(because="polygon_bad", what=target.id)
    return target.polygon


def _holders(session: Session, sources: Sequence[str], moment: datetime) -> set[UUID]:
    query = select(col(Membership.account_id)).where(
        col(Membership.grid_id).in_(sources),
        col(Membership.starts_at) <= moment,
        or_(col(Membership.ends_at).is_(None), col(Membership.ends_at) > moment),
    )
    return set(session.execute(query).scalars())


def _workers(session: Session, target: NewGrid, holders: set[UUID]) -> Mapping[UUID, datetime | None]:
    """Who gets a term in a new grid, until when: grid workers whose posting covers it."""
    posting: Any = aliased(Posting, postings.standing())
    query = (
        select(col(Account.id), col(Account.login), posting.ends_at, posting.territory_code)
        .join(posting, posting.account_id == col(Account.id))
        .where(posting.role == Role.GRID_WORKER, col(Account.active))
    )
    named = target.workers
    query = query.where(col(Account.id).in_(holders) if named is None else col(Account.login).in_(named))
    rows = [
        row
        for row in session.execute(query)
        if target.id.startswith(row.territory_code) and (row.ends_at is None or row.ends_at > now())
    ]
    if missing := sorted(set(named or ()) - {row.login for row in rows}):
        raise GridChangeRefused(because="worker_unknown", what=missing[0])
    return {row.id: row.ends_at for row in rows}


def _open_terms(
    session: Session, target: NewGrid, workers: Mapping[UUID, datetime | None], moment: datetime, actor: str
) -> None:
    for epoch, (account_id, until) in enumerate(sorted(workers.items()), start=1):
        term = Membership(
            id=new_id(), account_id=account_id, grid_id=target.id, epoch=epoch, starts_at=moment, ends_at=until
        )
        session.add(term)
        session.flush()
        audit.record(
            session,
            actor=actor,
            action="membership_opened",
            object_type="membership",
            object_id=str(term.id),
            account=str(account_id),
            grid=target.id,
            epoch=epoch,
        )


_END_TERMS = text(
    """
    UPDATE membership SET ends_at = greatest(starts_at, CAST(:end AS timestamptz))
    WHERE grid_id = ANY(:grids) AND (ends_at IS NULL OR ends_at > :end)
    """
)
"""A term that was to begin later never comes into force."""
