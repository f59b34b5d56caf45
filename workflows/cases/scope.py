"""Whose cases a caller sees: desks by territory, departments by what was dispatched to them."""

from sqlalchemy import ColumnElement, false, true
from sqlmodel import col

from backend.core.enums import Role
from backend.models import Case
from backend.services.sessions import Caller


def visible_to(caller: Caller) -> ColumnElement[bool]:
    """A condition on `Case`. A desk with an empty territory sees the whole city, also cases without a grid."""
    if caller.role is Role.HANDLER:
        return col(Case.department_code) == caller.department_code if caller.department_code else false()
    if not caller.territory_code:
        return true()
    return col(Case.grid_id).startswith(caller.territory_code, autoescape=True)
