"""Time and place as a photo's own metadata claim them. Claims, not facts: cameras err and people edit.

Everything here came from a stranger's file. A value that cannot be read is left out; nothing raises.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from backend.core.enums import Datum

SCALE = 10_000_000
CITY_OFFSET = timezone(timedelta(hours=8))

_ORIGINAL_TIME, _DIGITISED_TIME, _TIME = 0x9003, 0x9004, 0x0132
_ORIGINAL_OFFSET, _OFFSET = 0x9011, 0x9010
_LAT_REF, _LAT, _LON_REF, _LON, _DATUM = 1, 2, 3, 4, 0x12

_TIME_TEXT = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET_TEXT = re.compile(r"([+-])(\d\d):(\d\d)")
_DATUMS = {"GCJ02": Datum.GCJ02, "BD09": Datum.BD09, "CGCS2000": Datum.CGCS2000}

Tags = Mapping[int, Any]


@dataclass(frozen=True, slots=True)
class Claims:
    """`taken_at` is ISO 8601 with an offset; `lat` and `lon` are integers of 1e-7 degree in the datum the file names.

    `offset_known` is false where the file names no time zone and the city's was assumed.
    """

    taken_at: str | None = None
    offset_known: bool = False
    lat: int | None = None
    lon: int | None = None
    datum: str | None = None


def read_claims(base: Tags, detail: Tags, gps: Tags) -> Claims:
    """Claims of a file from its tags: of the image itself, of its EXIF part and of its GPS part."""
    taken_at, offset_known = _time(base, detail)
    lat = _degrees(gps.get(_LAT), gps.get(_LAT_REF), "N", "S", 90)
    lon = _degrees(gps.get(_LON), gps.get(_LON_REF), "E", "W", 180)
    if lat is None or lon is None:
        return Claims(taken_at, offset_known)
    return Claims(taken_at, offset_known, lat, lon, _datum(gps.get(_DATUM)).value)


def _time(base: Tags, detail: Tags) -> tuple[str | None, bool]:
    text = detail.get(_ORIGINAL_TIME) or detail.get(_DIGITISED_TIME) or base.get(_TIME)
    found = _TIME_TEXT.match(text) if isinstance(text, str) else None
    if found is None:
        return None, False
    offset = _offset(detail.get(_ORIGINAL_OFFSET) or detail.get(_OFFSET))
    try:
        # The moment must also exist in UTC, which the first and the last hours of the calendar do not.
        moment = datetime(*map(int, found.groups()), tzinfo=offset or CITY_OFFSET)  # type: ignore[misc,arg-type]
        moment.timestamp()
        moment.astimezone(CITY_OFFSET)
        moment.astimezone(timezone.utc)  # noqa: UP017  one name for all zones here
    except (ValueError, OverflowError):
        return None, False
    return moment.isoformat(), offset is not None


def _offset(text: Any) -> timezone | None:
    found = _OFFSET_TEXT.match(text) if isinstance(text, str) else None
    if found is None:
        return None
    sign, hours, minutes = found.groups()
    shift = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(shift if sign == "+" else -shift) if shift <= timedelta(hours=14) else None


def _degrees(value: Any, reference: Any, positive: str, negative: str, limit: int) -> int | None:
    """Degrees, minutes and seconds with a hemisphere letter as an integer of 1e-7 degree."""
    try:
        degrees, minutes, seconds = (float(part) for part in value)
        angle = degrees + minutes / 60 + seconds / 3600
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    letter = reference.strip("\0 ").upper() if isinstance(reference, str) else ""
    if letter not in (positive, negative) or not math.isfinite(angle) or not 0 <= angle <= limit:
        return None
    return round(angle * SCALE) * (1 if letter == positive else -1)


def _datum(text: Any) -> Datum:
    name = re.sub(r"[^A-Z0-9]", "", text.upper()) if isinstance(text, str) else ""
    return _DATUMS.get(name, Datum.WGS84)
