"""Exports as the API takes and shows them."""

import re
from datetime import date
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from backend.core.enums import CaseState, ExportFormat, ExportPurpose, ExportWhat, FileState, Kind, VerdictKind


def _as_written(value: Any) -> Any:
    """Pydantic also takes a number, as seconds since 1970, and midnight of a day; nobody means those."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError("not a day as ISO 8601 writes it")
    if isinstance(value, int | float):
        raise ValueError("not a day as ISO 8601 writes it")
    return value


Day = Annotated[date, BeforeValidator(_as_written)]
FieldName = Annotated[str, StringConstraints(min_length=1, max_length=64)]


OF_RECONCILIATIONS = frozenset({ExportWhat.RECONCILIATION_LINKS, ExportWhat.RECONCILIATION_GRIDS})


class ExportFilters(BaseModel):
    """Which rows: those that all filters given let through. Days are of the city's calendar, both ends included."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind | None = None
    grid_prefix: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,15}$")] | None = None
    case_state: CaseState | None = None
    verdict: VerdictKind | None = None
    reconciliation_id: UUID | None = None
    dataset: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{1,31}$")] | None = None
    since: Day | None = None
    until: Day | None = None


class ExportRequest(BaseModel):
    """What is to leave the system, and why. `fields` empty means all."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "what": "cases",
                    "filters": {"since": "2026-11-01"},
                    "purpose_code": "statistics",
                    "purpose": "十一月办结率统计",
                    "fields": ["number", "state", "opened_at", "closed_at"],
                }
            ]
        },
    )

    what: ExportWhat
    filters: ExportFilters = ExportFilters()
    purpose_code: ExportPurpose
    purpose: Annotated[str, StringConstraints(strip_whitespace=True, min_length=4, max_length=500)]
    fields: Annotated[list[FieldName], Field(max_length=60)] = []
    format: ExportFormat = ExportFormat.CSV

    @model_validator(mode="after")
    def _records_have_a_kind(self) -> Self:
        if (self.what is ExportWhat.RECORDS) != (self.filters.kind is not None):
            raise ValueError("filters.kind is for records, and records need it")
        return self

    @model_validator(mode="after")
    def _reconciliations_have_a_run(self) -> Self:
        if (self.what in OF_RECONCILIATIONS) != (self.filters.reconciliation_id is not None):
            raise ValueError("filters.reconciliation_id is for reconciliations, and those need it")
        return self

    @model_validator(mode="after")
    def _datasets_have_a_code(self) -> Self:
        if (self.what is ExportWhat.DATASET) != (self.filters.dataset is not None):
            raise ValueError("filters.dataset is for datasets, and those need it")
        return self


class ExportView(BaseModel):
    """An export. `truncated`: there were more rows than may leave at once."""

    id: UUID
    what: ExportWhat
    kind: Kind | None
    filters: dict[str, Any]
    fields: list[str]
    format: ExportFormat
    purpose_code: ExportPurpose
    state: FileState
    requested_by: UUID
    requested_at: AwareDatetime
    finished_at: AwareDatetime | None
    expires_at: AwareDatetime | None
    rows: int
    truncated: bool


class ExportPage(BaseModel):
    """Exports, newest first; pass `next` as `before` for the page after."""

    exports: list[ExportView]
    next: UUID | None
