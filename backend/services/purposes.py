"""Why each personal field is kept, on which ground, and until when: `purposes.csv`, one row a field.

`legal_basis` is a word of PIPL, article 13; `retention` names a rule of `retention_rule`, or says that the field lives
as long as its record (`while_recorded`) or until the person is erased (`until_erased`). A test fails for a field
without a row.
"""

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from backend.core.enums import COLLECTED_KINDS
from backend.kinds import KINDS
from backend.models import Citizen, Declaration, Photo, Report, WechatMessage

FILE = Path(__file__).with_name("purposes.csv")
LEGAL_BASES = frozenset({"consent", "contract", "statutory_duty", "emergency", "public_interest", "made_public"})
WITHOUT_RULE = frozenset({"while_recorded", "until_erased"})
TABLES: dict[str, Any] = {
    "declaration": Declaration,
    "report": Report,
    "citizen": Citizen,
    "wechat_message": WechatMessage,
    "photo": Photo,
}
TRACKS = (
    "device.last_seen_at",
    "device.skew_ms",
    "device.waiting",
    "mutation.client_time",
    "mutation.created_at",
    "document.captured_at",
    "photo.taken_at",
    "photo.claims",
)
"""What comes near a track of a worker. There is none: no place of a worker or a handheld is ever asked for or kept."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """One row of the file; `field` is dotted where a human or another compound value has fields of its own."""

    thing: str
    field: str
    purpose: str
    legal_basis: str
    retention: str


@lru_cache(maxsize=1)
def purposes() -> tuple[Purpose, ...]:
    """All rows, in the order of the file."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(Purpose(**row) for row in csv.DictReader(file))


def as_rows() -> list[dict[str, str]]:
    """The rows as the API shows them."""
    return [asdict(row) for row in purposes()]


def declared() -> Iterator[tuple[str, str]]:
    """Every field that must have a row, as (thing, field): those of the kinds, nested ones too, and of the tables."""
    for kind in COLLECTED_KINDS:
        yield from ((kind.value, name) for name in _fields(KINDS[kind].model))
    for thing, table in TABLES.items():
        yield from ((thing, name) for name in table.model_fields)
    yield from (("track", name) for name in TRACKS)


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        inner = _model_in(field.annotation)
        if inner is not None:
            yield from _fields(inner, f"{prefix}{name}.")


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `list[Member]` or `Human | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
