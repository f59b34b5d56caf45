"""What verdicts led to, on the wire: for the case room that decides it, and the cross-check that explains it."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from backend.core.enums import Course, Kind, SourceType


class SettlementOut(BaseModel):
    """What a verdict led to. `decided_by` is the person who put it in the place of another one, absent where the system
    did; `superseded_at` is when another one took its place."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "0197a3c2-9000-7d2a-9f00-3b1c5a7e9d10",
                    "verdict_id": "0197a3c2-7c1e-7d2a-9f00-3b1c5a7e9d10",
                    "source_type": "document",
                    "source_id": "0197a3c2-6a00-7b31-8c00-2f4d6e8a0b12",
                    "source_version": 2,
                    "kind": "person",
                    "grid_id": "440310001001001",
                    "rule_version": 1,
                    "course": "visit",
                    "reason": "rule",
                    "routing_rule_id": 195,
                    "case_id": None,
                    "visit_id": "0197a3c2-9000-7d2a-9f00-3b1c5a7e9d11",
                    "decided_by": None,
                    "created_at": "2026-03-02T08:15:00+08:00",
                    "superseded_at": None,
                }
            ]
        },
    )

    id: UUID
    verdict_id: UUID
    source_type: SourceType
    source_id: UUID
    source_version: int
    kind: Kind
    grid_id: str | None
    rule_version: int
    course: Course
    reason: str
    routing_rule_id: int | None
    case_id: UUID | None
    visit_id: UUID | None
    decided_by: UUID | None
    created_at: datetime
    superseded_at: datetime | None
