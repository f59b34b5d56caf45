"""What every record kind is made of, and what the rest of the system asks of a kind.

A kind is a Pydantic model (the single source of validation, of the JSON Schema that forms are drawn from, and of the
documentation) and a `KindSpec` (how it merges, what of it is personal, who is the steward of its fields). Pure:
standard library, Pydantic and enums only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from backend.core.enums import Datum, Kind

Document = dict[str, Any]
"""A record's fields as JSON values, without the envelope (`id`, `rev`, `op`, `_deleted`)."""

_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})$"
EARLIEST_YEAR, LATEST_YEAR = 1900, 2199
WIDEST_OFFSET = timedelta(hours=14)


def moment(text: str) -> datetime:
    """The time that a `Moment` names, timezone-aware."""
    return datetime.fromisoformat(text)


def _checked_moment(text: str) -> str:
    """Refuse what looks like a time and is none, or what no database could hold."""
    named = moment(text)
    offset = named.utcoffset()
    if not EARLIEST_YEAR <= named.year <= LATEST_YEAR or offset is None or abs(offset) > WIDEST_OFFSET:
        raise ValueError("outside the calendar")
    return text


Text = Annotated[str, StringConstraints(max_length=200)]
LongText = Annotated[str, StringConstraints(max_length=2000)]
Code = Annotated[str, StringConstraints(max_length=64)]
DateText = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
GridCode = Annotated[str, StringConstraints(pattern=r"^[0-9]{15}$")]
Moment = Annotated[str, StringConstraints(pattern=_MOMENT), AfterValidator(_checked_moment)]
"""A moment as RFC 3339 text. It stays text, so that a replica gets back the bytes it sent."""

MAX_PHOTOS = 20
MAX_MEMBERS = 60


class Strict(BaseModel):
    """Base of all parts of a record. Numbers stay numbers and strings strings; unknown fields are kept as they are."""

    model_config = ConfigDict(strict=True, extra="allow")


class Location(Strict):
    """A point in integers of 1e-7 degree, because Python and JavaScript write floats differently.

    `accuracy_m` is the device's own estimate. Whatever datum it came in, it is stored as WGS-84.
    """

    lat: Annotated[int, Field(ge=-900_000_000, le=900_000_000)]
    lon: Annotated[int, Field(ge=-1_800_000_000, le=1_800_000_000)]
    datum: Annotated[Datum, Field(strict=False)] = Datum.WGS84
    accuracy_m: Annotated[int, Field(ge=0, le=100_000)] | None = None


class PhotoEntry(Strict):
    """One line of a record's photo manifest: the photo is part of the record's state, its bytes follow by tus."""

    photo_id: Annotated[UUID, Field(strict=False)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(gt=0, lt=2**53)]
    mime: Annotated[str, StringConstraints(max_length=64)]


class Human(Strict):
    """A person named inside another record: an owner, a tenant, a party. Encrypted under that person's own key."""

    name: Text
    id_type: Code | None = None
    id_number: Code | None = None
    phone: Code | None = None


class Member(Human):
    """A human in a list, with an id of the list's own so that two devices can add members without a conflict."""

    id: Annotated[UUID, Field(strict=False)]
    relation: Code | None = None


class Record(Strict):
    """Fields of every kind. A record carries its own grid, never one derived from a house."""

    grid_id: GridCode
    captured_at: Moment | None = None
    photos: Annotated[list[PhotoEntry], Field(max_length=MAX_PHOTOS)] = []
    remark: LongText | None = None


class Merge(StrEnum):
    """How two edits of one field meet: as one value, or as a set of members by their id."""

    ATOMIC = "atomic"
    BY_ID = "by_id"


@dataclass(frozen=True, slots=True)
class Identity:
    """A human by identity document, in canonical writing."""

    id_type: str
    id_number: str


@dataclass(frozen=True, slots=True)
class KindSpec:
    """What the system asks of a kind.

    `public`: fields that are not personal and may be stored readable; all others are encrypted.
    `nested`: fields that hold one `Human`, or a list of them, each encrypted under its own key.
    `members`: fields that merge as a set, with the key that names a member.
    `stewarded`: fields that a department owns, with the dataset it keeps them in (一数一源).
    `natural_key`: the field whose value finds the business record, where that value is not personal.
    """

    kind: Kind
    model: type[Record]
    title: str
    public: frozenset[str]
    nested: frozenset[str] = frozenset()
    members: Mapping[str, str] = field(default_factory=dict)
    stewarded: Mapping[str, str] = field(default_factory=dict)
    natural_key: str | None = None
    subject_is_human: bool = False

    def merge_of(self, name: str) -> Merge:
        """How the field merges."""
        return Merge.BY_ID if name in self.members else Merge.ATOMIC


COMMON_PUBLIC = frozenset({"grid_id", "captured_at", "photos"})
COMMON_MEMBERS = {"photos": "photo_id"}
PUBLIC_KEYS: Mapping[str, frozenset[str]] = {
    "location": frozenset(Location.model_fields),
    "photos": frozenset(PhotoEntry.model_fields),
}
"""What may be stored readable inside a public compound value. Whatever else a client put there is encrypted."""


def identity_of(human: Mapping[str, Any]) -> Identity | None:
    """The identity document inside a person-like value, or None where type or number is missing or no text."""
    id_type, number = human.get("id_type"), human.get("id_number")
    if not (isinstance(id_type, str) and isinstance(number, str) and id_type.strip() and number.strip()):
        return None
    return Identity(id_type.strip(), number.strip().upper())
