"""What the supervisor's API takes and gives."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from backend.core.enums import CaseState, ClockKind, Kind, SourceType, VerdictKind
from backend.services.thumbnails import Thumbnail
from workflows.cases.rules import Action, CaseOutcome, Need

MAX_NOTE = 2000

Code = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_.:-]{1,32}$")]
States = dict[CaseState, int]


class ActionRequest(BaseModel):
    """What goes with an action; which of it an action needs is in `actions` of the case."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {},
                {"department_code": "urban-management"},
                {"outcome": "resolved", "note": "井盖已补齐，现场复核通过"},
                {"reason": "not_ours"},
            ]
        },
    )

    department_code: Code | None = None
    outcome: CaseOutcome | None = None
    reason: Code | None = None
    note: Annotated[str | None, StringConstraints(strip_whitespace=True, max_length=MAX_NOTE)] = None

    def given(self) -> set[Need]:
        """The needs this request meets."""
        values = {Need.DEPARTMENT: self.department_code, Need.OUTCOME: self.outcome, Need.NOTE: self.note}
        return {need for need, value in values.items() if value}


class SourceReference(BaseModel):
    """The entry a case is about, as it stood when the case was opened.

    `merged_into` in one case's details: the record was found to be a duplicate, and the case is about that one now.
    """

    type: SourceType
    id: UUID
    version: int
    kind: Kind
    merged_into: UUID | None = None


class CaseLine(BaseModel):
    """A case as the queue shows it. `reason` is the verdict it was opened for; `version` is its ETag.

    `overdue`: its deadline has passed, or had passed when it ended.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "019ab0c4-8a10-7cc3-9d5e-2f6f6d1c7a10",
                    "number": "20261123-000123",
                    "version": 2,
                    "state": "registered",
                    "queue_code": "12345-440310",
                    "reason": "accepted",
                    "source": {
                        "type": "document",
                        "id": "019ab0c4-7f00-7d21-8a40-0b1f3c55d2e1",
                        "version": 1,
                        "kind": "event",
                    },
                    "grid_id": "440310001001001",
                    "standard_name": "井盖缺失",
                    "urgent": True,
                    "department_code": None,
                    "claimed_by": "019ab0c0-1111-7abc-8def-000000000001",
                    "similar_to": None,
                    "deadline_at": "2026-11-23T12:30:00Z",
                    "overdue": False,
                    "opened_at": "2026-11-23T10:30:00Z",
                    "closed_at": None,
                    "outcome": None,
                    "thumbnail": None,
                }
            ]
        }
    )

    id: UUID
    number: str
    version: int
    state: CaseState
    queue_code: str
    reason: VerdictKind
    source: SourceReference
    grid_id: str | None
    standard_name: str
    urgent: bool
    department_code: str | None
    claimed_by: UUID | None
    similar_to: UUID | None
    deadline_at: datetime
    overdue: bool
    opened_at: datetime
    closed_at: datetime | None
    outcome: str | None
    thumbnail: Thumbnail | None


class CasePage(BaseModel):
    """Cases by deadline, the most pressing first. `next` is the cursor of the page after this one."""

    cases: list[CaseLine]
    next: str | None


class Step(BaseModel):
    """One change of a case. `actor` is an account, or the name of the job for what a verdict did."""

    version: int
    action: str
    from_state: CaseState | None
    to_state: CaseState
    actor: str
    reason: str | None
    reason_zh: str | None
    department_code: str | None
    verdict_id: UUID | None
    note: str | None
    at: datetime


class VerdictSummary(BaseModel):
    """The verdict that opened the case: codes only, its evidence stays sealed."""

    id: UUID
    verdict: VerdictKind
    findings: list[str]
    score: float | None


class StandardSummary(BaseModel):
    """The registration standard (立案标准) the case is measured by."""

    scheme: str
    code: str
    limit_amount: int
    limit_clock: ClockKind
    closing_condition: str


class AllowedAction(BaseModel):
    """An action the caller may take now, what it needs, and the reasons to choose from where there are several."""

    action: Action
    to_state: CaseState
    needs: list[Need]
    reasons: dict[str, str] = Field(description="code → 中文")


class CaseDetail(CaseLine):
    """A case with its history. `overdue_minutes` counts only time in which the standard's clock ran."""

    overdue_minutes: int
    standard: StandardSummary
    verdict: VerdictSummary
    photos: list[UUID]
    steps: list[Step]
    actions: list[AllowedAction]


class QueueCounts(BaseModel):
    """A queue and the caller's cases in it. `overdue` counts open cases only."""

    code: str
    name: str
    territory_code: str
    total: int
    open: int
    overdue: int
    states: States


class CaseSummary(BaseModel):
    """The caller's cases counted; the queues add up to the totals."""

    total: int
    open: int
    overdue: int
    states: States
    queues: list[QueueCounts]
