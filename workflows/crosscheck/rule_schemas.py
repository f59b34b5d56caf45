"""Rule sets, runs that check again, and what-ifs on the wire."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from backend.core.enums import Course, Kind, RecheckCause, RunState, VerdictKind
from workflows.crosscheck.ruleset import Rules
from workflows.crosscheck.touched import Scope

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=128, pattern=r"^[^\x00]*$")]
Version = Annotated[int, Field(ge=1, le=2_147_483_647)]


class RuleSetLine(BaseModel):
    """One version. One that was never active (`activated_at`) is a draft."""

    model_config = ConfigDict(from_attributes=True)

    version: int
    title: str
    active: bool
    created_by: UUID | None
    created_at: datetime
    activated_by: UUID | None
    activated_at: datetime | None


class RuleSetOut(RuleSetLine):
    """With what it says."""

    rules: Rules


class Draft(BaseModel):
    """A new version of the rules: all of them, as `GET …/rule-sets/{version}` gives them, with what is to differ."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    rules: Rules


class Activation(BaseModel):
    """Why a version comes into force. With `recheck` the entries of that scope are checked again by it; `{}` means
    all."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"reason": "tried_out", "recheck": {"kinds": ["person"]}}, {"reason": "returned"}]
        },
    )

    reason: Literal["tried_out", "corrected", "ordered", "returned"]
    recheck: Scope | None = None


class RuleSetActivated(BaseModel):
    """What is in force now, what was before, and the run that checks again, if one was asked for."""

    version: int
    before: int | None
    recheck_id: UUID | None


class RecheckOut(BaseModel):
    """A run that checks again. `entries` were found so far, of which `checked` are done."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    cause: RecheckCause
    dataset: str | None
    snapshot_id: UUID | None
    previous_id: UUID | None
    rule_version: int | None
    scope: Scope
    state: RunState
    entries: int
    checked: int
    asked_by: UUID | None
    created_at: datetime
    done_at: datetime | None


class WhatIfAsked(BaseModel):
    """Which version to try out, on which entries; all of them where nothing is said."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"rule_version": 2, "scope": {"kinds": ["person"], "territory": "440310"}}],
        },
    )

    rule_version: Version
    scope: Scope = Scope()


class WhatIfOut(BaseModel):
    """How far a what-if is. `skipped` of the `entries` had no verdict in force, or were gone."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    rule_version: int
    scope: Scope
    state: RunState
    entries: int
    skipped: int
    asked_by: UUID
    created_at: datetime
    done_at: datetime | None


class Transition(BaseModel):
    """Entries of a kind that would go from one verdict to another: how many, and ids of a few of them."""

    kind: Kind
    before: VerdictKind
    after: VerdictKind
    course_before: Course
    course_after: Course
    number: int
    samples: list[UUID]


class GridChange(BaseModel):
    """What would change in one grid; `grid_id` is absent for what lies in none. `opens`: verdicts that would lead to a
    case and do not now; `drops`: the other way round."""

    grid_id: str | None
    number: int
    changed: int
    opens: int
    drops: int


class WhatIfReport(WhatIfOut):
    """What would change. `transitions` are all there are, also those of verdicts that stay; `grids` the 500 grids in
    which most would change."""

    number: int
    changed: int
    opens: int
    drops: int
    transitions: list[Transition]
    grids: list[GridChange]
