"""Deadlines by the calendar as it stands in the table."""

from datetime import datetime

import pytest
from sqlmodel import Session

from backend.core.enums import ClockKind
from workflows.deadlines.rules import CITY_TIME
from workflows.deadlines.service import deadline


def at(month: int, day: int, hour: int) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=CITY_TIME)


@pytest.mark.parametrize(
    ("start", "due"),
    [
        # Thursday 1 to Wednesday 7 October 2026 are free; Sunday 20 September and Saturday 10 October are worked.
        (at(9, 30, 10), at(10, 8, 10)),
        (at(9, 18, 10), at(9, 20, 10)),
        (at(10, 9, 10), at(10, 10, 10)),
    ],
)
def test_a_work_day_is_one_of_the_citys_calendar(session: Session, start: datetime, due: datetime) -> None:
    assert deadline(session, start=start, amount=1, clock=ClockKind.WORK_DAYS) == due
