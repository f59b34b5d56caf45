"""The rule set: weights, thresholds and limits of the cross-check as data with a version, changed without a deploy."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backend.core.enums import Kind, VerdictKind

Share = Annotated[float, Field(ge=0, le=1)]
Method = Literal["exact", "name", "text", "address", "id_number", "phone", "date"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Level(_Part):
    """From a likeness of `at` on, a field speaks with so many points for candidate and entry being one person, or,
    below zero, against it. A point doubles the odds."""

    at: Share
    points: Annotated[float, Field(ge=-40, le=40)]


class Agreement(_Part):
    """How one field is compared, and what follows below the threshold: nothing, or a finding."""

    method: Method
    threshold: Share = 1.0
    finding: VerdictKind | None = None


class Compared(Agreement):
    """How one field is compared with the record's.

    `weight` is the field's share in the score of the verdict, and in finding a record where no field has `levels`.
    These, from the highest on, say what the field's likeness is worth in finding a record; below the lowest it counts
    as at the lowest.
    """

    weight: Share = 0.0
    levels: tuple[Level, ...] = ()

    def points(self, score: float) -> float:
        """What a likeness is worth in finding a record."""
        reached = (level.points for level in self.levels if score >= level.at)
        return next(reached, self.levels[-1].points if self.levels else 0.0)

    @model_validator(mode="after")
    def _levels_fall(self) -> Self:
        if any(above.at <= below.at for above, below in pairwise(self.levels)):
            raise ValueError("levels are given from the highest likeness on, each once")
        return self


class Likeness(_Part):
    """`homophone`: the likeness of two names that only sound the same. `id_edits`: this many typing errors and more
    make two numbers strangers. `address`: shares of division, wording and numbers; `less_precise`: the numbers of one
    address are part of the other's."""

    homophone: Share
    id_edits: Annotated[int, Field(ge=1)]
    division: Share
    wording: Share
    numbers: Share
    less_precise: Share


class Search(_Part):
    """When a candidate that was not found by its id number is the person.

    From `accept` on it is, if no other comes within `margin` and the compared fields weigh `weight` together; from
    `possible` on a human must look. These limits are of how probable it is, from 0 to 1, where fields have `levels`:
    their points are added to `prior`, those of a candidate of whom nothing is compared. Else they are of the weighted
    mean of the likenesses.
    """

    accept: Share
    possible: Share
    margin: Share
    weight: Share
    prior: Annotated[float, Field(ge=-40, le=40)] = 0.0


class PersonRules(_Part):
    """`citizen_types`: id types that follow GB 11643. `same_address`: from this likeness on two addresses are one."""

    citizen_types: frozenset[str]
    search: Search
    same_address: Share
    compared: dict[str, Compared]


class HouseRules(_Part):
    """`rented`: codes of rental use that ask for tenants, of which there may be `tenants_limit`."""

    rented: frozenset[str]
    tenants_limit: Annotated[int, Field(ge=1)]
    compared: dict[str, Compared]


class OrganisationRules(_Part):
    """Codes of an ended registration, and of what a worker saw that contradicts it."""

    ended: frozenset[str]
    operating: frozenset[str]
    compared: dict[str, Compared]


class ComponentRules(_Part):
    """Farther than `moved_m` metres from its record a component was moved."""

    moved_m: Annotated[float, Field(gt=0)]
    compared: dict[str, Compared]


class EventRules(_Part):
    """Within `similar_m` metres and `similar_hours` hours, of one class in the first `class_digits`: a duplicate."""

    scheme: str
    similar_m: Annotated[float, Field(gt=0, le=150)]
    similar_hours: Annotated[float, Field(gt=0, le=8_784)]
    class_digits: Annotated[int, Field(ge=1)]


Sourced = Literal[Kind.PERSON, Kind.HOUSE, Kind.ORGANISATION, Kind.COMPONENT]
"""Kinds that a base dataset answers for, and other sources may speak about."""


class Rules(_Part):
    """A whole rule set. `priority` orders all verdicts: the first one found is the main one.

    `others` names, by kind, the fields that are compared with other sources than the base dataset. What they say about
    other kinds is not looked for. `sources_differ` may be left out of the priority of rules that compare nothing there.
    """

    priority: tuple[VerdictKind, ...]
    likeness: Likeness
    person: PersonRules
    house: HouseRules
    organisation: OrganisationRules
    component: ComponentRules
    event: EventRules
    others: dict[Sourced, dict[str, Agreement]] = {}

    def elsewhere(self, kind: Kind) -> Mapping[str, Agreement]:
        """How the fields of a kind are compared with other sources; empty where these are not looked for."""
        return next((compared for sourced, compared in self.others.items() if sourced is kind), {})

    @model_validator(mode="after")
    def _each_verdict_once(self) -> Self:
        named = {*self.priority} | (set() if self.others else {VerdictKind.SOURCES_DIFFER})
        if len({*self.priority}) < len(self.priority) or named != {*VerdictKind}:
            raise ValueError("priority names every verdict exactly once")
        return self
