"""What verdicts led to (认定), and the looks on site that handhelds are asked for (上门核实)."""

from uuid import UUID

from sqlalchemy import Index, text
from sqlmodel import Field

from backend.core.enums import Course, Kind, SourceType, TaskResult, TaskState
from backend.core.ids import new_id
from backend.models.base import SQLModel, datetime, enum_field, sealed_field, time_field


class Settlement(SQLModel, table=True):
    """What one verdict led to. An entry has one in force; those it had before have `superseded_at` and stay.

    `reason` is a code of `workflows.cases.settling_rules`, `routing_rule_id` the rule that asked for a case or a look,
    absent where none did. `decided_by` is the person who put this in the place of another one, absent where the system
    did; `note` is what he wrote.
    """

    __tablename__ = "settlement"
    __table_args__ = (
        Index(
            "uq_settlement_source",
            "source_type",
            "source_id",
            unique=True,
            postgresql_where=text("superseded_at IS NULL"),
        ),
        Index("uq_settlement_verdict_id", "verdict_id", unique=True, postgresql_where=text("decided_by IS NULL")),
        Index("ix_settlement_source_id", "source_id"),
        Index("ix_settlement_visit_id", "visit_id", postgresql_where=text("visit_id IS NOT NULL")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    verdict_id: UUID = Field(foreign_key="verdict.id")
    source_type: SourceType = enum_field(SourceType)
    source_id: UUID
    source_version: int
    kind: Kind = enum_field(Kind)
    grid_id: str | None = Field(default=None, max_length=15)
    rule_version: int
    course: Course = enum_field(Course)
    reason: str = Field(max_length=32)
    routing_rule_id: int | None = None
    case_id: UUID | None = Field(default=None, foreign_key="case_file.id")
    visit_id: UUID | None = Field(default=None, foreign_key="visit.id")
    decided_by: UUID | None = Field(default=None, foreign_key="account.id")
    note: bytes | None = sealed_field(default=None)
    created_at: datetime = time_field()
    superseded_at: datetime | None = time_field(default=None)


class Visit(SQLModel, table=True):
    """That whoever holds the grid is asked to look at a record on site before it becomes a case (核实).

    A record has at most one that is open. `finding` is the verdict that asks; `result` is `confirmed` by a worker,
    `corrected` by a later version that is in order, or `withdrawn` where the question is gone.
    """

    __tablename__ = "visit"
    __table_args__ = (
        Index("uq_visit_open", "document_id", unique=True, postgresql_where=text("state = 'open'")),
        Index("ix_visit_document_id", "document_id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    verdict_id: UUID = Field(foreign_key="verdict.id")
    document_id: UUID = Field(foreign_key="document.id")
    kind: Kind = enum_field(Kind)
    version: int
    finding: str = Field(max_length=32)
    state: TaskState = enum_field(TaskState, default=TaskState.OPEN)
    result: TaskResult | None = enum_field(TaskResult, default=None)
    answered_by: UUID | None = Field(default=None, foreign_key="account.id")
    note: bytes | None = sealed_field(default=None)
    due_at: datetime = time_field()
    created_at: datetime = time_field()
    done_at: datetime | None = time_field(default=None)
