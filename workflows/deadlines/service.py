"""Deadlines by the city's own calendar, as it stands in the table."""

from datetime import date, datetime, timedelta

from sqlmodel import Session

from backend.core import statements
from backend.core.enums import ClockKind
from workflows.deadlines import rules

REACH = timedelta(days=400)


def load_calendar(session: Session, *, first: date, last: date) -> dict[date, bool]:
    """The days from `first` to `last` inclusive that are other than their place in the week says: a tenth of those
    that are on the calendar, and all that the rules need to know."""
    return dict(statements.rows(session, _UNUSUAL, {"first": first, "last": last}))


def deadline(session: Session, *, start: datetime, amount: int, clock: ClockKind) -> datetime:
    """When the limit runs out. Beyond `REACH` the plain week counts: no calendar is known so far ahead."""
    first = start.astimezone(rules.CITY_TIME).date()
    return rules.due(start, amount, clock, load_calendar(session, first=first, last=first + REACH))


_UNUSUAL = """
    SELECT day, is_working FROM calendar_day
    WHERE day BETWEEN %(first)s AND %(last)s AND is_working <> (extract(isodow FROM day) < 6)
"""
