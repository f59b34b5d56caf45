"""Who may do what: `permissions.csv`, one row an operation and one column a role, is the whole of it.

A cell says how far the role reaches with the operation (`Reach`, joined by `+`); an empty one means that the role may
not do it at all. The column `public` stands for callers who are not logged in: citizens, WeChat, probes. Routes name
their operation (`backend.api.deps.allowed`), and the database's row policies are told the reach, so the same table
stands behind both walls.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from sqlmodel import Session

from backend.core.db import act_as
from backend.core.enums import Reach, Role
from backend.core.errors import Forbidden
from backend.services.scope import sees_whole_city
from backend.services.sessions import Caller, hold_back

TABLE = Path(__file__).with_name("permissions.csv")
PUBLIC = "public"
NOWHERE: frozenset[Reach] = frozenset()


@dataclass(frozen=True, slots=True)
class Permission:
    """One row: an operation, the route that offers it, and the reach of each role that has it."""

    operation: str
    method: str
    path: str
    public: bool
    reach: Mapping[Role, frozenset[Reach]]


@lru_cache(maxsize=1)
def permissions() -> Mapping[str, Permission]:
    """The table by operation, read once. `ValueError` for an unknown word in a cell, or an operation named twice."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [_permission(row) for row in csv.DictReader(file)]
    table = {row.operation: row for row in rows}
    if len(table) != len(rows):
        raise ValueError("permissions.csv names an operation twice")
    return table


def admit(session: Session, caller: Caller, operation: str) -> Caller:
    """The caller with the reach of the operation, which the database is told too. `Forbidden` where there is none.

    A login of which something else is due first is held back (`sessions.hold_back`).
    """
    reach = permissions()[operation].reach.get(caller.role, NOWHERE)
    if not reach:
        raise Forbidden
    hold_back(caller, operation)
    admitted = replace(caller, reach=reach)
    act_as(session, settings_of(admitted))
    return admitted


def settings_of(caller: Caller) -> dict[str, str]:
    """What the row policies look at (migration 0007). An empty value lets nothing through."""
    return {
        "account": str(caller.account_id),
        "device": str(caller.device_id or ""),
        "reach": "+".join(sorted(caller.reach)),
        "territory": caller.territory_code,
        "whole_city": "yes" if sees_whole_city(caller) else "",
        "department": caller.department_code or "",
    }


def _permission(row: dict[str, str]) -> Permission:
    cells = {role: frozenset(map(Reach, filter(None, row[role].split("+")))) for role in Role}
    return Permission(
        operation=row["operation"],
        method=row["method"],
        path=row["path"],
        public=bool(row[PUBLIC]),
        reach={role: reach for role, reach in cells.items() if reach},
    )
