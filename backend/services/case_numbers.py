"""The number by which people name a case, the same on screens, in notices and on handhelds."""

from datetime import datetime

from backend.core.clock import CITY_TIME


def case_number(opened_at: datetime, seq: int) -> str:
    """The day the case was opened, in the city's time, and its running number: e.g. 20261123-000123."""
    return f"{opened_at.astimezone(CITY_TIME):%Y%m%d}-{seq:06d}"
