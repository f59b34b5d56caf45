"""Whether given fields fit the form of a kind, and how they are stored. Pure."""

from typing import Any

from pydantic import ValidationError

from backend.core.enums import Datum
from backend.kinds.base import Document, KindSpec
from backend.kinds.geodesy import SCALE, to_wgs84

MAX_PLACES = 20


def faults(spec: KindSpec, fields: Document) -> list[str]:
    """Where the fields break the kind's model, as `place: kind of fault`; values are never quoted."""
    try:
        spec.model.__pydantic_validator__.validate_python(fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return [f"{'.'.join(map(str, fault['loc']))}: {fault['type']}" for fault in found][:MAX_PLACES]
    return []


def normalised(spec: KindSpec, fields: Document) -> Document:
    """Valid fields as they are stored: a location in WGS-84 whatever datum it came in."""
    location = fields.get("location") if "location" in spec.model.model_fields else None
    if not isinstance(location, dict) or location.get("datum", Datum.WGS84) == Datum.WGS84:
        return fields
    lat, lon = to_wgs84(location["lat"] / SCALE, location["lon"] / SCALE, Datum(location["datum"]))
    point = {**location, "lat": round(lat * SCALE), "lon": round(lon * SCALE), "datum": Datum.WGS84.value}
    return {**fields, "location": point}


def has_nul(value: Any) -> bool:
    """Whether any text inside holds NUL, which PostgreSQL cannot store."""
    if isinstance(value, dict):
        return any(has_nul(key) or has_nul(item) for key, item in value.items())
    if isinstance(value, list):
        return any(map(has_nul, value))
    return isinstance(value, str) and "\0" in value


def is_shallow(value: Any, depth: int) -> bool:
    """Whether nothing in the value is nested deeper than `depth` levels."""
    if not isinstance(value, dict | list):
        return True
    if depth == 0:
        return False
    for item in value.values() if isinstance(value, dict) else value:
        # Most values are plain; a call for each of them would be most of the work.
        if isinstance(item, dict | list) and not is_shallow(item, depth - 1):
            return False
    return True
