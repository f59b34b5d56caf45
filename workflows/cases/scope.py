"""Whose cases a caller sees: desks by territory, departments by what was dispatched to them."""

from sqlalchemy import ColumnElement, and_, false, or_
from sqlmodel import col, select

from backend.core.enums import Role
from backend.models import Case, CaseQueue
from backend.services.scope import below, in_territory
from backend.services.sessions import Caller


def visible_to(caller: Caller) -> ColumnElement[bool]:
    """A condition on `Case`. What lies in no grid is seen by the city, and by the desks of the queue it was put in."""
    if caller.role is Role.HANDLER:
        return col(Case.department_code) == caller.department_code if caller.department_code else false()
    queues = select(CaseQueue.code).where(below(CaseQueue.territory_code, caller))
    return or_(
        in_territory(Case.grid_id, caller),
        and_(col(Case.grid_id).is_(None), col(Case.queue_code).in_(queues)),
    )
