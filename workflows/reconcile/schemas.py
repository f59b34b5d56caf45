"""Bulk reconciliations on the wire: a run, its report, its charts."""

from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from backend.core.enums import JobState, ReconcileEngine, ReconciliationPhase, ReconciliationState

DatasetCode = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
GridId = Annotated[str, StringConstraints(pattern=r"^[0-9]{15}$")]
Rate = Annotated[float | None, Field(description="From 0 to 1; absent where there is nothing to divide by")]


class Chart(StrEnum):
    """What is drawn."""

    OUTCOMES = "outcomes"
    COVERAGE = "coverage"
    FIELDS = "fields"


class RunRequest(BaseModel):
    """What is to be reconciled: a dataset with its snapshot in force, in some grids, or a territory by its code, or all
    of the caller's."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"dataset": "population", "grids": ["440310001001001"]}, {"dataset": "houses"}]
        },
    )

    dataset: DatasetCode
    grids: Annotated[list[GridId], Field(max_length=1000)] = []
    territory: Annotated[str, StringConstraints(pattern=r"^[0-9]{2,15}$")] | None = None

    @model_validator(mode="after")
    def _one_scope(self) -> Self:
        if self.grids and self.territory is not None:
            raise ValueError("either grids or a territory")
        return self


class Waiting(BaseModel):
    """The job of the step that comes next. A dead one waits for an operator; `reason` says why."""

    state: JobState
    attempts: int
    reason: str | None


class RunOut(BaseModel):
    """A run. `parts` partitions of the probabilistic step, known once it is planned. `failure` is an error code."""

    id: UUID
    dataset: str
    snapshot_id: UUID
    taken_at: AwareDatetime
    model_version: int
    engine: ReconcileEngine
    territory_code: str
    grids: list[str] | None
    state: ReconciliationState
    phase: ReconciliationPhase
    step: int
    parts: int | None
    failure: str | None
    waiting: Waiting | None
    requested_by: UUID
    requested_at: AwareDatetime
    finished_at: AwareDatetime | None


class RunPage(BaseModel):
    """Runs, newest first; pass `next` as `before` for the page after."""

    runs: list[RunOut]
    next: UUID | None


class Counts(BaseModel):
    """Collected records of a place against the snapshot's records of it.

    `by_key`, `by_phone` and `probable` are linked; `absent` is linked by nothing. `conflicting`: linked, and a field
    differs. `duplicates`: collected records whose key an older one has; `record_duplicates`: records of the snapshot
    with the phone, birth date and surname of another.
    """

    documents: int
    by_key: int
    by_phone: int
    probable: int
    absent: int
    match_rate: Rate
    conflicting: int
    duplicates: int
    records: int
    records_linked: int
    record_duplicates: int
    coverage: Rate


class GridCounts(Counts):
    grid_id: str


class FieldCounts(BaseModel):
    """Linked pairs in which both sides fill a field, and in how many of them they disagree."""

    field: str
    compared: int
    differs: int
    rate: Rate


class Report(BaseModel):
    """What a run came to. Counts and codes only; which record it was is in the export `reconciliation_links`."""

    run: RunOut
    totals: Counts
    grids: list[GridCounts]
    fields: list[FieldCounts]
    pairs: int
