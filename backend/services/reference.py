"""Reference data as handhelds and screens read it: territory, grids, code tables, calendar, and the kinds' forms."""

from functools import lru_cache
from typing import Any

from sqlmodel import Session, col, or_, select

from backend.core.clock import now
from backend.core.enums import COLLECTED_KINDS, Role
from backend.kinds import KINDS
from backend.models import (
    CalendarDay,
    CaseQueue,
    Department,
    EventClass,
    Grid,
    RegistrationStandard,
    TerritoryUnit,
)
from backend.services.scope import below
from backend.services.sessions import Caller
from backend.services.territory import held_grids

Rows = list[dict[str, Any]]


def territory_units(session: Session) -> Rows:
    """City, districts, streets and communities by code."""
    units = session.exec(select(TerritoryUnit).order_by(TerritoryUnit.code)).all()
    return [{"code": u.code, "level": u.level, "name": u.name, "parent_code": u.parent_code} for u in units]


def grids(session: Session, caller: Caller) -> Rows:
    """The grids in force that concern the caller: a worker's own with their polygons, else those of his territory."""
    moment = now()
    query = select(Grid).where(
        col(Grid.starts_at) <= moment, or_(col(Grid.ends_at).is_(None), col(Grid.ends_at) > moment)
    )
    if caller.role is Role.GRID_WORKER:
        held = held_grids(session, caller.account_id, at=moment)
        own = session.exec(query.where(col(Grid.id).in_(held)).order_by(Grid.id))
        return [{**_grid(grid), "epoch": held[grid.id], "polygon": grid.polygon} for grid in own]
    in_territory = query.where(below(Grid.id, caller))
    return [_grid(grid) for grid in session.exec(in_territory.order_by(Grid.id))]


def event_classes(session: Session) -> Rows:
    """Classes and subclasses of events and components by scheme and code."""
    classes = session.exec(select(EventClass).order_by(EventClass.scheme, EventClass.code)).all()
    return [{"scheme": c.scheme, "code": c.code, "parent_code": c.parent_code, "name": c.name} for c in classes]


def standards(session: Session) -> Rows:
    """Registration standards by scheme and code; `limit_amount` counts in `limit_clock`."""
    found = session.exec(
        select(RegistrationStandard).order_by(RegistrationStandard.scheme, RegistrationStandard.code)
    ).all()
    return [standard.model_dump() for standard in found]


def queues(session: Session) -> Rows:
    """12345 queues by code."""
    return [queue.model_dump() for queue in session.exec(select(CaseQueue).order_by(CaseQueue.code)).all()]


def departments(session: Session) -> Rows:
    """Units that own data or handle cases, by code: where a case may be dispatched to."""
    return [unit.model_dump() for unit in session.exec(select(Department).order_by(Department.code)).all()]


def calendar(session: Session) -> Rows:
    """Days whose status is confirmed; any other day works from Monday to Friday."""
    days = session.exec(select(CalendarDay).order_by(col(CalendarDay.day))).all()
    return [{"day": day.day.isoformat(), "is_working": day.is_working, "name": day.name} for day in days]


@lru_cache(maxsize=1)
def kinds() -> dict[str, dict[str, Any]]:
    """The form of each kind as JSON Schema, its title, the fields departments own, and whether it may be written."""
    return {
        str(kind): {
            "title": spec.title,
            "schema": spec.model.model_json_schema(),
            "stewarded": dict(spec.stewarded),
            "collected": kind in COLLECTED_KINDS,
        }
        for kind, spec in KINDS.items()
    }


def _grid(grid: Grid) -> dict[str, Any]:
    return {
        "id": grid.id,
        "name": grid.name,
        "community_code": grid.community_code,
        "responsible_unit": grid.responsible_unit,
        "synthetic": grid.synthetic,
    }
