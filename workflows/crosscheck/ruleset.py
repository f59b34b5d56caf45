"""The rule set: weights, thresholds and limits of the cross-check as data with a version, changed without a deploy."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backend.core.enums import VerdictKind

Share = Annotated[float, Field(ge=0, le=1)]
Method = Literal["exact", "name", "text", "address", "id_number", "phone"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Compared(_Part):
    """How one field is compared with the record's, and what follows below the threshold: nothing, or a finding.

    `weight` is the field's share in finding a record among candidates and in the score of the verdict.
    """

    method: Method
    threshold: Share = 1.0
    weight: Share = 0.0
    finding: VerdictKind | None = None


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
    """When a candidate found by phone or by birth date and surname is the person.

    From `accept` on it is, if no other comes within `margin` and the compared fields weigh `weight` together; from
    `possible` on a human must look.
    """

    accept: Share
    possible: Share
    margin: Share
    weight: Share


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


class Rules(_Part):
    """A whole rule set. `priority` orders all verdicts: the first one found is the main one."""

    priority: tuple[VerdictKind, ...]
    likeness: Likeness
    person: PersonRules
    house: HouseRules
    organisation: OrganisationRules
    component: ComponentRules
    event: EventRules

    @model_validator(mode="after")
    def _each_verdict_once(self) -> Self:
        if sorted(self.priority) != sorted(VerdictKind):
            raise ValueError("priority names every verdict exactly once")
        return self
