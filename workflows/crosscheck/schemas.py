"""Verdicts on the wire."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from backend.core.enums import Kind, SourceType, TaskResult, TaskState, VerdictKind
from backend.services.settlement_schemas import SettlementOut


class SnapshotOut(BaseModel):
    """The state of a dataset that a check read."""

    snapshot_id: UUID
    taken_at: datetime


class VerdictOut(BaseModel):
    """One result of the cross-check. `findings` are all that was found, `verdict` is the first by the rule set.

    `recheck_id` names the run that checked again; `superseded_at` is when a later check took the place of this one.
    """

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "0197a3c2-7c1e-7d2a-9f00-3b1c5a7e9d10",
                    "source_type": "document",
                    "source_id": "0197a3c2-6a00-7b31-8c00-2f4d6e8a0b12",
                    "source_version": 2,
                    "kind": "person",
                    "grid_id": "440310001001001",
                    "rule_version": 1,
                    "verdict": "name_differs",
                    "findings": ["name_differs", "moved"],
                    "score": 0.86,
                    "snapshots": {
                        "population": {
                            "snapshot_id": "0197a3c1-0000-7000-8000-000000000001",
                            "taken_at": "2026-03-01T00:00:00+08:00",
                        }
                    },
                    "recheck_id": None,
                    "created_at": "2026-03-02T08:15:00+08:00",
                    "superseded_at": None,
                }
            ]
        },
    )

    id: UUID
    source_type: SourceType
    source_id: UUID
    source_version: int
    kind: Kind
    grid_id: str | None
    rule_version: int
    verdict: VerdictKind
    findings: list[VerdictKind]
    score: float | None
    snapshots: dict[str, SnapshotOut]
    recheck_id: UUID | None
    created_at: datetime
    superseded_at: datetime | None


class EvidenceOut(BaseModel):
    """One comparison, personal values masked: both values, their likeness, and the dataset the other one is from."""

    field: str
    mine: Any = None
    theirs: Any = None
    score: float | None = None
    dataset: str | None = None
    taken_at: datetime | None = None
    finding: VerdictKind | None = None


class VerdictDetail(VerdictOut):
    """A verdict with the evidence for it."""

    evidence: list[EvidenceOut] = Field(
        examples=[
            [
                {
                    "field": "name",
                    "mine": "张**",
                    "theirs": "章**",
                    "score": 0.67,
                    "dataset": "population",
                    "taken_at": "2026-03-01T00:00:00+08:00",
                    "finding": "name_differs",
                }
            ]
        ]
    )


class StandingValue(BaseModel):
    """Whose value of a compared field stands (一数一源). `dataset` is where a department keeps the field, absent where
    none owns it. The department's value stands from `version` of the record on, in which it wrote or confirmed it;
    until then the grid's does."""

    field: str
    stands: Literal["grid", "department"]
    dataset: str | None = None
    version: int | None = None
    since: datetime | None = None


class Explained(SettlementOut):
    """Why: the routing rule by name, the verdict with rule version, snapshot and evidence, and whose values stand.

    `visit_state` and `visit_result` say what came of a look on site; `note` is what the person wrote who decided.
    """

    routing_rule: str | None
    note: str | None
    visit_state: TaskState | None
    visit_result: TaskResult | None
    verdict: VerdictDetail
    standing: list[StandingValue] = Field(
        examples=[
            [{"field": "name", "stands": "grid"}, {"field": "tenure", "stands": "department", "dataset": "houses"}]
        ]
    )


class Summary(BaseModel):
    """Counts of verdicts on the entries in the caller's scope."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "total": 3,
                    "by_verdict": {"name_differs": 1, "match": 2},
                    "by_source": {"document": 3},
                }
            ]
        }
    )

    total: int
    by_verdict: dict[VerdictKind, int]
    by_source: dict[SourceType, int]
