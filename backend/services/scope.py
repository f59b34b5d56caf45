"""Which entries and cases the offices see: those of their territory; what lies in no grid is the city's business.

Grid workers (by the grids they hold) and departments (by what was dispatched to them) are the rooms' own matter.
"""

from typing import Any

from sqlalchemy import ColumnElement, and_, literal, or_
from sqlmodel import col

from backend.core.enums import Role
from backend.services.sessions import Caller

OFFICE_ROLES = (Role.OPERATOR, Role.DISPATCHER, Role.SUPERVISOR, Role.STEWARD)
"""Roles that see every entry of their territory."""

CITY_CODE_LENGTH = 4
"""Digits of a city's division code; a caller with no code at all sees everything."""


def sees_whole_city(caller: Caller) -> bool:
    """Whether the caller's territory is the city or wider."""
    return len(caller.territory_code) <= CITY_CODE_LENGTH


def below(code: Any, caller: Caller) -> ColumnElement[bool]:
    """A condition on a column of division or grid codes: that it lies in the caller's territory."""
    return col(code).startswith(caller.territory_code, autoescape=True)


def is_below(code: str | None, caller: Caller) -> bool:
    """The same of one code. What has none lies nowhere, which is below the whole country only."""
    return (code or "").startswith(caller.territory_code)


def in_territory(grid_id: Any, caller: Caller) -> ColumnElement[bool]:
    """A condition on a column of grid ids, absent ones included. It does not look at the caller's role."""
    nowhere = and_(col(grid_id).is_(None), literal(sees_whole_city(caller)))
    return or_(below(grid_id, caller), nowhere)


IN_TERRITORY = "(starts_with({grid_id}, :territory) OR {grid_id} IS NULL AND CAST(:whole_city AS boolean))"
"""The same as SQL text, for `{grid_id}`, with the parameters of `territory_parameters`."""


def territory_parameters(caller: Caller) -> dict[str, Any]:
    """What `IN_TERRITORY` binds."""
    return {"territory": caller.territory_code, "whole_city": sees_whole_city(caller)}
