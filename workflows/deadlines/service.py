"""Deadlines by the city's own calendar, as it stands in the table."""

from datetime import date, datetime, timedelta

from sqlmodel import Session, col, select

from backend.core.enums import ClockKind
from backend.models import CalendarDay
from workflows.deadlines import rules

REACH = timedelta(days=400)


def load_calendar(session: Session, *, first: date, last: date) -> dict[date, bool]:
    """The days that are on the calendar, from `first` to `last` inclusive."""
    days = session.exec(select(CalendarDay).where(col(CalendarDay.day).between(first, last)))
    return {day.day: day.is_working for day in days}


def deadline(session: Session, *, start: datetime, amount: int, clock: ClockKind) -> datetime:
    """When the limit runs out. Beyond `REACH` the plain week counts: no calendar is known so far ahead."""
    first = start.astimezone(rules.CITY_TIME).date()
    return rules.due(start, amount, clock, load_calendar(session, first=first, last=first + REACH))
