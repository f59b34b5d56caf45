"""Counts of a list at the desk, by facet: what each other choice of a filter would give."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, FromClause, case, func, select
from sqlmodel import Session

from backend.core.clock import now
from sync.review_schemas import Counts

DAY, WEEK = timedelta(days=1), timedelta(days=7)

Facets = Mapping[str, tuple[str, Any]]
"""By the facet's name: the filter that it stands for, and what is counted by."""


def count_by(
    session: Session,
    source: FromClause,
    facets: Facets,
    *,
    conditions: Callable[[str], Sequence[ColumnElement[bool]]],
) -> Counts:
    """How many rows there are, in all and by facet; each facet under the filters of the others, so that it shows what
    another choice would give. `conditions` gives the filters without the one it is told, which may be none."""
    total = session.connection().execute(select(func.count()).select_from(source).where(*conditions(""))).scalar_one()
    counted = {}
    for facet, (name, column) in facets.items():
        query = select(column, func.count()).select_from(source).where(*conditions(name))
        rows = session.connection().execute(query.group_by(column).order_by(column))
        counted[facet] = {str(getattr(value, "value", value)): count for value, count in rows}
    return Counts(total=total, by=counted)


def age_of(column: Any) -> Any:
    """The facet of how long something has waited."""
    moment = now()
    return case((column >= moment - DAY, "day"), (column >= moment - WEEK, "week"), else_="older")
