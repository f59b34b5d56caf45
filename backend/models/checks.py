"""Verdicts of the cross-check, and the versions of the rules that gave them."""

from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field

from backend.core.enums import Kind, SourceType, VerdictKind
from backend.core.ids import new_id
from backend.models.base import Json, SQLModel, datetime, enum_field, json_field, sealed_field, time_field


class RuleSet(SQLModel, table=True):
    """Weights and thresholds of the cross-check as data. One version is active."""

    __tablename__ = "rule_set"

    version: int = Field(primary_key=True)
    active: bool = False
    rules: Json = json_field()
    created_at: datetime = time_field()


class Verdict(SQLModel, table=True):
    """One result per (source, its version, rule version). `findings` are codes; the evidence values are sealed.

    `snapshots` names, per dataset, the snapshot the check read.
    """

    __tablename__ = "verdict"
    __table_args__ = (
        Index(
            "uq_verdict_source",
            "source_type",
            "source_id",
            "source_version",
            "rule_version",
            unique=True,
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    source_type: SourceType = enum_field(SourceType)
    source_id: UUID
    source_version: int
    kind: Kind = enum_field(Kind)
    grid_id: str | None = Field(default=None, max_length=15, index=True)
    rule_version: int = Field(foreign_key="rule_set.version")
    verdict: VerdictKind = enum_field(VerdictKind)
    findings: list[str] = json_field()
    score: float | None = None
    snapshots: Json = json_field()
    evidence: bytes | None = sealed_field(default=None)
    created_at: datetime = time_field()
