"""The four clocks: worked examples on the calendar of autumn 2026, and what must hold for every start and amount."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.enums import ClockKind
from workflows.deadlines.rules import CITY_TIME, WORK_PERIODS, due, elapsed, is_working, running_time

# National Day 2026 from Thursday 1 to Wednesday 7 October, with Saturday 10 October worked in exchange.
CALENDAR = {date(2026, 10, day): False for day in range(1, 8)} | {date(2026, 10, 10): True}

WORKING_CLOCKS = [ClockKind.WORK_HOURS, ClockKind.WORK_DAYS]
moments = st.datetimes(
    min_value=datetime(2024, 1, 1),  # noqa: DTZ001  hypothesis wants naive limits
    max_value=datetime(2030, 12, 31),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, CITY_TIME]),
)
clocks = st.sampled_from(list(ClockKind))
amounts = st.integers(min_value=0, max_value=60)
calendars = st.dictionaries(
    st.dates(min_value=date(2024, 1, 1), max_value=date(2030, 12, 31)), st.booleans(), max_size=40
)


def at(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=CITY_TIME)


@pytest.mark.parametrize(
    ("start", "amount", "clock", "expected"),
    [
        # A missing manhole cover: two urgent hours, through the night and a holiday.
        (at(10, 1, 23, 30), 2, ClockKind.URGENT_HOURS, at(10, 2, 1, 30)),
        # A broken one: four work hours, over lunch, over the evening, and from outside working time.
        (at(9, 21, 9), 4, ClockKind.WORK_HOURS, at(9, 21, 15)),
        (at(9, 21, 16), 4, ClockKind.WORK_HOURS, at(9, 22, 10)),
        (at(9, 21, 13), 4, ClockKind.WORK_HOURS, at(9, 21, 18)),
        (at(9, 21, 6, 30), 4, ClockKind.WORK_HOURS, at(9, 21, 12)),
        (at(9, 25, 17), 4, ClockKind.WORK_HOURS, at(9, 28, 11)),
        # A rattling one: two work days, within the week, over the holiday, and over the worked Saturday.
        (at(9, 22, 15), 2, ClockKind.WORK_DAYS, at(9, 24, 15)),
        (at(9, 30, 10), 2, ClockKind.WORK_DAYS, at(10, 9, 10)),
        (at(10, 9, 10), 2, ClockKind.WORK_DAYS, at(10, 12, 10)),
        (at(10, 3, 10), 1, ClockKind.WORK_DAYS, at(10, 8, 18)),
        # Natural days go on through everything.
        (at(9, 30, 10), 5, ClockKind.NATURAL_DAYS, at(10, 5, 10)),
    ],
)
def test_worked_examples(start: datetime, amount: int, clock: ClockKind, expected: datetime) -> None:
    assert due(start, amount, clock, CALENDAR) == expected


def test_the_calendar_overrides_the_week_and_the_week_fills_its_gaps() -> None:
    assert not is_working(date(2026, 10, 1), CALENDAR)
    assert is_working(date(2026, 10, 10), CALENDAR)
    assert not is_working(date(2026, 10, 11), CALENDAR)
    assert is_working(date(2026, 10, 12), CALENDAR)


def test_without_the_holiday_table_the_same_limit_ends_a_week_early() -> None:
    assert due(at(9, 30, 10), 2, ClockKind.WORK_DAYS, {}) == at(10, 2, 10)


def test_how_long_a_case_is_overdue_counts_only_time_the_clock_ran() -> None:
    deadline, now = at(9, 30, 17), at(10, 8, 9)
    assert elapsed(deadline, now, ClockKind.WORK_HOURS, CALENDAR) == timedelta(hours=2)
    assert elapsed(deadline, now, ClockKind.URGENT_HOURS, CALENDAR) == now - deadline
    assert elapsed(now, deadline, ClockKind.WORK_HOURS, CALENDAR) == timedelta(0)
    assert elapsed(now, deadline, ClockKind.NATURAL_DAYS, CALENDAR) == timedelta(0)


def test_a_start_in_another_zone_means_the_same_moment() -> None:
    utc = datetime(2026, 9, 21, 1, 0, tzinfo=UTC)
    assert due(utc, 4, ClockKind.WORK_HOURS, CALENDAR) == at(9, 21, 15)


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        due(at(9, 21, 9), -1, ClockKind.WORK_DAYS, CALENDAR)


@given(start=moments, first=amounts, second=amounts, clock=clocks, calendar=calendars)
def test_limits_add_up(start: datetime, first: int, second: int, clock: ClockKind, calendar: dict[date, bool]) -> None:
    stepwise = due(due(start, first, clock, calendar), second, clock, calendar)
    assert stepwise == due(start, first + second, clock, calendar)


@given(start=moments, amount=amounts, clock=clocks, calendar=calendars)
def test_until_it_is_due_a_clock_runs_exactly_the_limit(
    start: datetime, amount: int, clock: ClockKind, calendar: dict[date, bool]
) -> None:
    assert elapsed(start, due(start, amount, clock, calendar), clock, calendar) == running_time(amount, clock)


@given(start=moments, later=st.timedeltas(timedelta(0), timedelta(days=30)), amount=amounts, clock=clocks)
def test_a_later_start_is_never_due_earlier(start: datetime, later: timedelta, amount: int, clock: ClockKind) -> None:
    assert due(start, amount, clock, CALENDAR) <= due(start + later, amount, clock, CALENDAR)


@given(
    start=moments,
    amount=st.integers(min_value=1, max_value=60),
    clock=st.sampled_from(WORKING_CLOCKS),
    calendar=calendars,
)
def test_working_clocks_end_inside_working_time(
    start: datetime, amount: int, clock: ClockKind, calendar: dict[date, bool]
) -> None:
    end = due(start, amount, clock, calendar)
    assert is_working(end.date(), calendar)
    assert any(opens < end.time() <= closes for opens, closes in WORK_PERIODS)


@given(start=moments, amount=amounts, calendar=calendars)
def test_a_work_day_is_eight_work_hours(start: datetime, amount: int, calendar: dict[date, bool]) -> None:
    days = due(start, amount, ClockKind.WORK_DAYS, calendar)
    assert days == due(start, 8 * amount, ClockKind.WORK_HOURS, calendar)


@given(start=moments, amount=amounts, holiday=st.dates(min_value=date(2024, 1, 1), max_value=date(2031, 1, 31)))
def test_another_holiday_never_brings_a_deadline_forward(start: datetime, amount: int, holiday: date) -> None:
    plain = due(start, amount, ClockKind.WORK_DAYS, CALENDAR)
    assert plain <= due(start, amount, ClockKind.WORK_DAYS, {**CALENDAR, holiday: False})
