"""Citizens' reports as operators see them: enough to follow them, nothing about who sent them."""

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from backend.core.enums import ReportState
from backend.services.thumbnails import Thumbnail


class ReportView(BaseModel):
    """One report. `text` is masked; `missing` names what the citizen must still send."""

    id: UUID
    state: ReportState
    class_code: Annotated[str | None, Field(examples=["0602"])]
    grid_id: Annotated[str | None, Field(examples=["440310001002001"])]
    text: Annotated[str, Field(examples=["路**（共12字）"])]
    photos: Annotated[int, Field(examples=[1])]
    missing: Annotated[list[str], Field(examples=[["location"]])]
    opened_at: AwareDatetime
    submitted_at: AwareDatetime | None
    thumbnail: Thumbnail | None


class ReportPage(BaseModel):
    """A page of reports, newest first; pass `next` as `before` for the page after."""

    reports: list[ReportView]
    next: UUID | None


class ReportSummary(BaseModel):
    """How many reports there are in the caller's territory, by state."""

    by_state: Annotated[dict[ReportState, int], Field(examples=[{"assembling": 1, "submitted": 39}])]
