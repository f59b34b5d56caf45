"""Whose cases a caller sees: desks by territory, departments by what was dispatched to them."""

from sqlalchemy import ColumnElement, and_, false, or_, true
from sqlmodel import col, select

from backend.core.enums import Role
from backend.models import Case, CaseQueue
from backend.services.sessions import Caller


def visible_to(caller: Caller) -> ColumnElement[bool]:
    """A condition on `Case`. What lies in no grid belongs to the territory of its queue."""
    if caller.role is Role.HANDLER:
        return col(Case.department_code) == caller.department_code if caller.department_code else false()
    if not caller.territory_code:
        return true()
    queues = select(CaseQueue.code).where(
        col(CaseQueue.territory_code).startswith(caller.territory_code, autoescape=True)
    )
    return or_(
        col(Case.grid_id).startswith(caller.territory_code, autoescape=True),
        and_(col(Case.grid_id).is_(None), col(Case.queue_code).in_(queues)),
    )
