"""Verdicts of the cross-check, and the versions of the rules that gave them."""

from uuid import UUID

from sqlalchemy import Index, text
from sqlmodel import Field

from backend.core.enums import Course, Kind, RecheckCause, RunState, SourceType, VerdictKind
from backend.core.ids import new_id
from backend.models.base import Json, SQLModel, datetime, enum_field, json_field, sealed_field, time_field


class RuleSet(SQLModel, table=True):
    """Weights and thresholds of the cross-check as data. One version is active at most; its content never changes.

    A version that was never active is a draft. `created_by` and `activated_by` are accounts, absent for what came with
    the product.
    """

    __tablename__ = "rule_set"
    __table_args__ = (Index("uq_rule_set_active", "active", unique=True, postgresql_where=text("active")),)

    version: int = Field(primary_key=True)
    active: bool = False
    rules: Json = json_field()
    title: str = Field(default="", max_length=128)
    created_by: UUID | None = Field(default=None, foreign_key="account.id")
    created_at: datetime = time_field()
    activated_by: UUID | None = Field(default=None, foreign_key="account.id")
    activated_at: datetime | None = time_field(default=None)


class Verdict(SQLModel, table=True):
    """One result per (source, its version, rule version) that is in force. `findings` are codes; the evidence values
    are sealed. `snapshots` names, per dataset, the snapshot the check read.

    A check that is made again (`recheck_id`) puts a new row in the place of the one before, which stays as history:
    nothing of it is edited but `superseded_at`, which is absent as long as a verdict is in force.
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
            postgresql_where=text("superseded_at IS NULL"),
        ),
        Index("ix_verdict_source_id", "source_id"),
        Index("ix_verdict_recheck_id", "recheck_id", postgresql_where=text("recheck_id IS NOT NULL")),
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
    recheck_id: UUID | None = Field(default=None, foreign_key="recheck.id")
    created_at: datetime = time_field()
    superseded_at: datetime | None = time_field(default=None)


class Recheck(SQLModel, table=True):
    """One run that checks entries again: those a new snapshot touches, or, after other rules came into force, those of
    `scope` (see `backend.services.rechecks`).

    `previous_id` is the snapshot that the new one is compared with; absent where there was none, so that every entry of
    the dataset's kind is checked. `step` and `after` are how far the search for entries has come. `entries` counts
    those found so far, `checked` those done. `asked_by` is an account, absent for what an import asked.
    """

    __tablename__ = "recheck"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    cause: RecheckCause = enum_field(RecheckCause)
    dataset: str | None = Field(default=None, max_length=32)
    snapshot_id: UUID | None = Field(default=None, foreign_key="snapshot.id")
    previous_id: UUID | None = Field(default=None, foreign_key="snapshot.id")
    rule_version: int | None = Field(default=None, foreign_key="rule_set.version")
    scope: Json = json_field(default_factory=dict)
    state: RunState = enum_field(RunState, default=RunState.SPREADING)
    step: int = 0
    after: str = Field(default="", max_length=64)
    entries: int = 0
    checked: int = 0
    asked_by: UUID | None = Field(default=None, foreign_key="account.id")
    created_at: datetime = time_field()
    done_at: datetime | None = time_field(default=None)


class WhatIf(SQLModel, table=True):
    """One replay of a rule set over entries of `scope`, to see what would change. It writes its own counts only.

    `entries` counts those looked at, `skipped` those of them that have no verdict in force, or that were deleted or
    erased meanwhile. `step` and `after` are how far it has come.
    """

    __tablename__ = "what_if"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    rule_version: int = Field(foreign_key="rule_set.version")
    scope: Json = json_field(default_factory=dict)
    state: RunState = enum_field(RunState, default=RunState.SPREADING)
    step: int = 0
    after: str = Field(default="", max_length=64)
    entries: int = 0
    skipped: int = 0
    asked_by: UUID = Field(foreign_key="account.id")
    created_at: datetime = time_field()
    done_at: datetime | None = time_field(default=None)


class WhatIfCount(SQLModel, table=True):
    """How many entries of a kind and grid would go from one verdict to another, and from one course to another.

    `grid_id` is empty for what lies in no grid. `samples` are ids of the first few.
    """

    __tablename__ = "what_if_count"

    what_if_id: UUID = Field(primary_key=True, foreign_key="what_if.id")
    kind: Kind = enum_field(Kind, primary_key=True)
    grid_id: str = Field(primary_key=True, max_length=15)
    before: VerdictKind = enum_field(VerdictKind, primary_key=True)
    after: VerdictKind = enum_field(VerdictKind, primary_key=True)
    course_before: Course = enum_field(Course, primary_key=True)
    course_after: Course = enum_field(Course, primary_key=True)
    number: int
    samples: list[str] = json_field()
