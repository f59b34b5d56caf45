"""What people say to settlements and looks on site, on the wire."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from backend.core.enums import Course, TaskResult, TaskState

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


class Undo(BaseModel):
    """What to put in the place of a settlement, and why; `none` only takes it back."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"instead": "accepted", "reason": "department_outdated", "note": "住户出示新房产证，部门数据尚未更新"}
            ]
        },
    )

    instead: Course
    reason: Literal[
        "wrong_comparison",
        "department_outdated",
        "seen_on_site",
        "needs_a_look",
        "needs_handling",
        "decided_wrongly",
    ]
    note: Words


class VisitAnswer(BaseModel):
    """The record is right as it was collected. One that is wrong is corrected by a push, and needs no answer."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"result": "confirmed", "note": "已上门，本人在家"}]}
    )

    result: Literal["confirmed"]
    note: Words | None = None


class VisitAnswered(BaseModel):
    """Where the look stands now."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0197a3c2-9000-7d2a-9f00-3b1c5a7e9d11",
                    "state": "done",
                    "result": "confirmed",
                    "done_at": "2026-03-03T09:00:00+08:00",
                }
            ]
        }
    )

    id: UUID
    state: TaskState
    result: TaskResult
    done_at: datetime = Field(description="when it was answered")
