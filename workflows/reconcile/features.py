"""Values as they are compared: without what only tells two ways of writing apart. Decrypted, so in memory only."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import polars as pl

from backend.services.blocking import plain_name, sound_of
from backend.services.records import surname
from workflows.reconcile.rules import KEY, KindModel

_SAME_BUILDING = str.maketrans({"幢": "栋", "座": "栋", "號": "号"})
_NUMBERS = re.compile(r"\d+")

Value = str | int | None


def frame(model: KindModel, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> pl.DataFrame:
    """One row for each record, with its key and the features of the model; what is missing or empty is null."""
    columns: dict[str, list[Value]] = {KEY: [key for key, _ in rows]}
    schema: dict[str, Any] = {KEY: pl.String}
    for name, feature in model.features.items():
        schema[name] = pl.Int64 if feature.method == "integer" else pl.String
        columns[name] = [written(feature.method, value_at(fields, feature.of)) for _, fields in rows]
    return pl.DataFrame(columns, schema=schema)


def fields_of(methods: Mapping[str, str], fields: Mapping[str, Any]) -> dict[str, Value]:
    """The fields whose disagreement is reported, as they are compared."""
    return {name: written(method, value_at(fields, name)) for name, method in methods.items()}


def value_at(fields: Mapping[str, Any], path: str) -> Any:
    """The value of a field, inside a compound one by a dotted path; None where there is none."""
    value: Any = fields
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def written(method: str, value: Any) -> Value:
    """A value as it is compared, None where nothing is left of it."""
    if method == "integer":
        return value if isinstance(value, int) and not isinstance(value, bool) else None
    if value is None or isinstance(value, Mapping | list):
        return None
    return _WAYS[method](str(value)) or None


@lru_cache(maxsize=65_536)
def _sound(text: str) -> str:
    return sound_of(plain_name(text))


def _digits(text: str) -> str:
    digits = "".join(character for character in unicodedata.normalize("NFKC", text) if character.isdigit())
    return digits.removeprefix("86") if len(digits) == 13 else digits


def _capitals(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip().upper()


def _address(text: str) -> str:
    return plain_name(text).translate(_SAME_BUILDING)


def _numbers(text: str) -> str:
    """The numbers of an address in their order: street number, building, room."""
    found: Iterable[str] = _NUMBERS.findall(unicodedata.normalize("NFKC", text))
    return " ".join(number.lstrip("0") or "0" for number in found)


def _surname(text: str) -> str:
    return surname(plain_name(text))


_WAYS: Mapping[str, Callable[[str], str]] = {
    "plain": plain_name,
    "sound": _sound,
    "surname": _surname,
    "digits": _digits,
    "capitals": _capitals,
    "address": _address,
    "numbers": _numbers,
}
