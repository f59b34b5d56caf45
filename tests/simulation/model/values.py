"""Documents taken apart into the values that are merged one by one, members of lists included."""

from collections.abc import Mapping
from typing import Any

from backend.kinds import Document, KindSpec
from sync.rules import ABSENT, same

Values = dict[str, Any]
"""Each value of a document by its place: a field's name, or `field[member]`."""


def apart(spec: KindSpec, fields: Document) -> Values:
    """The values of a document's fields."""
    values: Values = {}
    for name, value in fields.items():
        key = spec.members.get(name)
        if key is None or not isinstance(value, list):
            values[name] = value
            continue
        values |= {f"{name}[{member[key]}]": member for member in value}
    return values


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The places that differ, in order."""
    return [
        place for place in sorted({*before, *after}) if not same(before.get(place, ABSENT), after.get(place, ABSENT))
    ]


def holds(values: list[Any], value: Any) -> bool:
    """Whether a value is among others, as JSON sees it."""
    return any(same(value, one) for one in values)
