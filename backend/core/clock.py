"""Time at the edges: the only module that reads the system clock for business rules.

Pure rules take the time as an argument; services call `now()`.
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

CITY_TIME = ZoneInfo("Asia/Shanghai")


def now() -> datetime:
    """The present moment, timezone-aware, in UTC."""
    return datetime.now(UTC)
