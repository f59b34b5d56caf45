"""Older forms of the documents: what each version changed, as data, and both directions (rule 11).

A client says which form it speaks (`X-Schema-Version`). What it gets is projected down to that form, so that its schema
never rejects a document: RxDB would lose it for ever. What it pushes is lifted up. A field its form does not have is
missing from its push because it never saw it; it keeps the value of the version that the edit was made from, so the
three-way merge sees no change there. The same holds for a value that loses precision on the way down.

Forms beyond the current one belong to clients newer than this server: they get the current form, and the fields that
it does not know are kept and given back as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from backend.core.enums import Kind
from backend.kinds import KINDS, Document

CURRENT = 3
OLDEST = 1


class Step(Protocol):
    """One change of a kind's form, from the version before to the one that it stands under."""

    @property
    def old(self) -> str | None:
        """The field's name before; None where there was none."""

    @property
    def new(self) -> str:
        """The field's name since."""

    def up(self, value: Any) -> Any:
        """An older value in the newer form. One of a wrong type stays as it is, for the form to refuse."""

    def down(self, value: Any) -> Any:
        """A newer value in the older form."""


@dataclass(frozen=True, slots=True)
class Added:
    """A field that the version before did not have. Added fields are never required."""

    new: str
    old: None = None

    def up(self, value: Any) -> Any:
        return value

    def down(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class Renamed:
    """A field that had another name."""

    old: str
    new: str

    def up(self, value: Any) -> Any:
        return value

    def down(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class Refined:
    """A whole number that had another name and a unit `parts` times as large; older clients see whole old units."""

    old: str
    new: str
    parts: int

    def up(self, value: Any) -> Any:
        return value * self.parts if _is_whole(value) else value

    def down(self, value: Any) -> Any:
        return value // self.parts if _is_whole(value) else value


CHANGES: Mapping[int, Mapping[Kind, tuple[Step, ...]]] = {
    # Floating population, hazards of dwellings and the urgency of events came with the second round of forms.
    2: {
        Kind.PERSON: (Added("inflow_reason"), Added("inflow_date")),
        Kind.HOUSE: (Added("hazards"), Added("rental_use")),
        Kind.ORGANISATION: (Added("status_seen"),),
        Kind.EVENT: (Added("severity"),),
    },
    # Areas were whole square metres and are 0.01 of it since; the employer was called the work unit.
    3: {
        Kind.HOUSE: (Refined("area_m2", "area_dm2", 100),),
        Kind.PERSON: (Renamed("work_unit", "employer"),),
    },
}


def down(kind: Kind, fields: Document, version: int) -> Document:
    """A document's fields in the form of a version: an older one gets exactly the fields that it knows."""
    if version >= CURRENT:
        return fields
    names = _names(kind, version)
    found = {}
    for name, value in fields.items():
        place = names.get(name)
        if place is not None:
            old, steps = place
            for step in steps:
                value = step.down(value)  # noqa: PLW2901  one value on its way down
            found[old] = value
    return found


def up(kind: Kind, fields: Document, version: int) -> Document:
    """Pushed fields of an older form under their current names and in current units."""
    if version >= CURRENT:
        return fields
    ways = {old: (name, steps) for name, (old, steps) in _names(kind, version).items()}
    found = {}
    for name, value in fields.items():
        new, steps = ways.get(name, (name, ()))
        for step in reversed(steps):
            value = step.up(value)  # noqa: PLW2901  one value on its way up
        found[new] = value
    return found


def lift(kind: Kind, fields: Document, version: int, *, origin: Document) -> Document:
    """Fields that were lifted by `up`, completed from the version that the edit was made from.

    What the client's form does not have comes from `origin`, and so does a value that the client left as it saw it.
    """
    if version >= CURRENT:
        return fields
    known = _names(kind, version)
    seen = down(kind, origin, version)
    shown = down(kind, fields, version)
    kept = {
        name: value
        for name, value in origin.items()
        if (name not in known and name not in fields)
        or (name in fields and name in known and _unchanged(known[name][0], seen, shown))
    }
    return {**fields, **kept}


def _unchanged(old: str, seen: Document, shown: Document) -> bool:
    return old in seen and old in shown and type(seen[old]) is type(shown[old]) and bool(seen[old] == shown[old])


@lru_cache(maxsize=len(Kind) * CURRENT)
def _names(kind: Kind, version: int) -> Mapping[str, tuple[str, tuple[Step, ...]]]:
    """For each current field that the version knows: its name there, and the steps down to it, newest first."""
    places: dict[str, tuple[str, tuple[Step, ...]]] = {name: (name, ()) for name in KINDS[kind].model.model_fields}
    for number in range(CURRENT, version, -1):
        for step in CHANGES[number].get(kind, ()):
            current = next(name for name, (old, _) in places.items() if old == step.new)
            if step.old is None:
                del places[current]
            else:
                places[current] = (step.old, (*places[current][1], step))
    return places


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
