"""What the rules of the cross-check speak of: the entry, what is known about it, and what follows. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from backend.core.enums import Kind, SourceType, VerdictKind
from backend.kinds.geodesy import SCALE

POPULATION, HOUSES, ORGANISATIONS, COMPONENTS = "population", "houses", "organisations", "components"
GRIDS, ENTRIES, CLASSES, DECLARATIONS = "grids", "entries", "event_classes", "declarations"
"""Where evidence comes from: datasets of departments, and our own tables."""

DATASET_OF = {
    Kind.PERSON: POPULATION,
    Kind.HOUSE: HOUSES,
    Kind.ORGANISATION: ORGANISATIONS,
    Kind.COMPONENT: COMPONENTS,
}

DERIVED = frozenset(
    {"candidates", "grid_of_location", "similar", "tenants.count", "location.distance_m", "entry", "elsewhere"}
)
"""Names of evidence that are no field of a record: codes, counts and ids, which tell nothing about a human."""


@dataclass(frozen=True, slots=True)
class Source:
    """One version of one entry."""

    type: SourceType
    id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What is checked. `known_since` is when the server first had the entry, `happened_at` the time of an event."""

    source: Source
    kind: Kind
    grid_id: str | None
    fields: Mapping[str, Any]
    known_since: datetime
    happened_at: datetime | None = None


class Said(NamedTuple):
    """What the source `dataset` says about the human or thing of an entry, and the moment its word is of."""

    entry: Entry
    dataset: str
    at: datetime
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A business record that may be the entry's. `exact`: found by the entry's own number.

    `scores` are similarities from 0 to 1 of the fields that both sides fill. `near_home` is that of the record's
    registered address and the address the person lives at.
    """

    fields: Mapping[str, Any]
    scores: Mapping[str, float]
    exact: bool
    near_home: float | None = None


@dataclass(frozen=True, slots=True)
class Other:
    """What another source than the base dataset says about the very human or thing of the entry.

    `dataset` names the source, `taken_at` is the moment (ISO 8601) its word is of. `scores` are the likenesses of the
    fields that are compared with other sources and that both sides fill.
    """

    dataset: str
    taken_at: str
    fields: Mapping[str, Any]
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Home:
    """The house a person's entry names. `near_registered`: similarity of its address and the entry's registered one."""

    house_code: str | None
    address: str | None
    near_registered: float | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another event or report that may be about the same matter; places are (lat, lon) in degrees."""

    source_type: SourceType
    source_id: UUID
    class_code: str | None
    happened_at: datetime
    known_since: datetime
    place: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Known:
    """All that was looked up for one entry.

    `datasets` are those with records in force: nothing is missing from a dataset that was never loaded.
    `point_grids` is None where the entry has no place, else the grids its place lies in: none, or one.
    `twins` are entries known before this one under the same identity or natural key, `others` what other sources say
    under it.
    """

    datasets: frozenset[str] = frozenset()
    candidates: tuple[Candidate, ...] = ()
    home: Home | None = None
    point_grids: tuple[str, ...] | None = None
    class_known: bool = True
    neighbours: tuple[Neighbour, ...] = ()
    twins: tuple[UUID, ...] = ()
    others: tuple[Other, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """One comparison: both values, where the other comes from, how alike they are, and what follows, if anything.

    `other` is the source that said it, where that is neither the business record nor a table of ours.
    """

    field: str
    mine: Any
    theirs: Any
    score: float | None = None
    dataset: str | None = None
    finding: VerdictKind | None = None
    other: Other | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The main verdict, all findings in the order of the rule set, the evidence, and how alike entry and record are."""

    verdict: VerdictKind
    findings: tuple[VerdictKind, ...]
    evidence: tuple[Evidence, ...] = ()
    score: float | None = None
    record: Candidate | None = None


def value_at(fields: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path such as `owner.name`, None where there is none or it is empty."""
    value: Any = fields.get(path)
    if value is None and "." in path:
        value = fields
        for step in path.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
    return value if value or value not in ("", [], {}) else None


def told(entry: Entry, home: Home | None) -> Mapping[str, Any]:
    """What an entry says, with the code and the address of the house it names: departments write where people live as
    that, not as a reference."""
    where = {"house_code": home.house_code, "address": home.address} if home else {}
    return {**where, **entry.fields}


def place_of(fields: Mapping[str, Any]) -> tuple[float, float] | None:
    """The location as (lat, lon) in degrees, WGS-84."""
    location = fields.get("location")
    if not isinstance(location, Mapping) or not {"lat", "lon"} <= location.keys():
        return None
    return location["lat"] / SCALE, location["lon"] / SCALE
