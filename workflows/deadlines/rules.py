"""Four clocks in the city's time, and when a limit on one of them runs out. Pure: the calendar is an argument.

Each clock is the set of moments at which it runs, so all four are counted by one arithmetic, in minutes and seconds
rather than in marks on a calendar page:

- `urgent_hours`: always; the unit is 1 hour;
- `work_hours`: 08:00-12:00 and 14:00-18:00 of working days; the unit is 1 hour;
- `work_days`: the same moments as work hours; the unit is 8 of them, one whole working day;
- `natural_days`: always; the unit is 24 hours.

It follows that limits add up (a + b from a start is b from the end of a), that a pause is a plain addition, and that
"2 work days" from Tuesday 15:00 end on Thursday 15:00.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from backend.core.enums import ClockKind

Calendar = Mapping[date, bool]
"""Whether a date is a working day. Dates that are missing follow the week: Monday to Friday."""

CITY_TIME = ZoneInfo("Asia/Shanghai")
WORK_PERIODS = ((time(8), time(12)), (time(14), time(18)))
SATURDAY = 5

_UNITS = {
    ClockKind.URGENT_HOURS: timedelta(hours=1),
    ClockKind.WORK_HOURS: timedelta(hours=1),
    ClockKind.WORK_DAYS: timedelta(hours=8),
    ClockKind.NATURAL_DAYS: timedelta(days=1),
}
_ALWAYS = frozenset({ClockKind.URGENT_HOURS, ClockKind.NATURAL_DAYS})


def is_working(day: date, calendar: Calendar) -> bool:
    """What the calendar says of the day; Monday to Friday where it says nothing."""
    return calendar.get(day, day.weekday() < SATURDAY)


def running_time(amount: int, clock: ClockKind) -> timedelta:
    """How long a clock has to run for `amount` of its units. `ValueError` for a negative amount."""
    if amount < 0:
        raise ValueError("a time limit cannot be negative")
    return amount * _UNITS[clock]


def due(start: datetime, amount: int, clock: ClockKind, calendar: Calendar) -> datetime:
    """When `amount` units of the clock have run since `start` (aware), in city time.

    A working clock that is given its start outside working time begins with the next period; a limit used up with
    the end of a period is due at that end, not when the next one begins.
    """
    left = running_time(amount, clock)
    begin = start.astimezone(CITY_TIME)
    if clock in _ALWAYS or not left:
        return begin + left
    for opens, closes in _periods(begin, calendar):
        if left <= closes - opens:
            return opens + left
        left -= closes - opens
    raise AssertionError("working periods never end")


def elapsed(start: datetime, end: datetime, clock: ClockKind, calendar: Calendar) -> timedelta:
    """How long the clock ran from `start` to `end` (both aware); nothing where `end` is not later.

    From a deadline to the present it is how long a case is overdue, nights and holidays not counted where the clock
    rests.
    """
    begin, stop = start.astimezone(CITY_TIME), end.astimezone(CITY_TIME)
    if clock in _ALWAYS:
        return max(stop - begin, timedelta(0))
    total = timedelta(0)
    for opens, closes in _periods(begin, calendar):
        if opens >= stop:
            break
        total += min(closes, stop) - opens
    return total


def _periods(start: datetime, calendar: Calendar) -> Iterator[tuple[datetime, datetime]]:
    """Working periods from `start` on, the first one cut to begin there; without end."""
    day = start.date()
    while True:
        for opens, closes in WORK_PERIODS if is_working(day, calendar) else ():
            begin = max(datetime.combine(day, opens, CITY_TIME), start)
            end = datetime.combine(day, closes, CITY_TIME)
            if begin < end:
                yield begin, end
        day += timedelta(days=1)
