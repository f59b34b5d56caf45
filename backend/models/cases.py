"""Cases in 12345 queues, with the code tables they follow: classes, standards, queues, routing rules, calendar."""

from datetime import date
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, text
from sqlmodel import Field

from backend.core.enums import CaseState, ClockKind, SourceType
from backend.core.ids import new_id
from backend.models.base import Json, SQLModel, datetime, enum_field, json_field, sealed_field, time_field


class EventClass(SQLModel, table=True):
    """A class or subclass of events or components in one scheme; editions and cities differ in order and wording."""

    __tablename__ = "event_class"

    scheme: str = Field(primary_key=True, max_length=32)
    code: str = Field(primary_key=True, max_length=16)
    parent_code: str | None = Field(default=None, max_length=16)
    name: str = Field(max_length=64)


class CaseQueue(SQLModel, table=True):
    """A 12345 queue that supervisors and operators triage; `territory_code` limits who sees it."""

    __tablename__ = "case_queue"

    code: str = Field(primary_key=True, max_length=32)
    name: str = Field(max_length=64)
    territory_code: str = Field(default="", max_length=12)
    department_code: str | None = Field(default=None, foreign_key="department.code", max_length=32)


class RegistrationStandard(SQLModel, table=True):
    """When a case of a subclass is registered, within which limit it must be handled, and what closes it."""

    __tablename__ = "registration_standard"

    scheme: str = Field(primary_key=True, max_length=32)
    code: str = Field(primary_key=True, max_length=32)
    class_code: str = Field(max_length=16, index=True)
    name: str = Field(max_length=128)
    limit_amount: int
    limit_clock: ClockKind = enum_field(ClockKind)
    closing_condition: str = Field(max_length=255)
    urgent: bool = False


class RoutingRule(SQLModel, table=True):
    """One line of the routing table: the first by position whose `conditions` hold decides queue and standard.

    `queue_code` is a queue, the word `district` for the queue of the entry's district, or the word `worker` for a look
    on site instead of a case; what conditions may say is in `workflows.routing.rules`.
    """

    __tablename__ = "routing_rule"

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    position: int = Field(index=True)
    name: str = Field(max_length=128)
    conditions: Json = json_field()
    queue_code: str = Field(max_length=32)
    standard_scheme: str = Field(max_length=32)
    standard_code: str = Field(max_length=32)
    active: bool = True


class CalendarDay(SQLModel, table=True):
    """Whether a date is a working day, where it differs from Monday to Friday or is confirmed."""

    __tablename__ = "calendar_day"

    day: date = Field(primary_key=True)
    is_working: bool
    name: str = Field(default="", max_length=64)


class Case(SQLModel, table=True):
    """A matter that needs action. `version` is its ETag; `seq` gives the running number people read.

    A version of an entry has at most one case open per rule version, and an entry (all versions of one record, or one
    report) has at most one case open for the same `reason`, the verdict it was opened for. `outcome` says how an
    ended case ended.
    """

    __tablename__ = "case_file"
    __table_args__ = (
        Index(
            "uq_case_file_source",
            "source_type",
            "source_id",
            "source_version",
            "rule_version",
            unique=True,
            postgresql_where=text("closed_at IS NULL"),
        ),
        Index(
            "uq_case_file_open",
            "source_type",
            "source_id",
            "reason",
            unique=True,
            postgresql_where=text("closed_at IS NULL"),
        ),
        Index("ix_case_file_source_id", "source_id"),
        Index("ix_case_file_queue_code_state_deadline_at", "queue_code", "state", "deadline_at"),
        Index("ix_case_file_h3_cell_opened_at", "h3_cell", "opened_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    seq: int | None = Field(default=None, sa_type=BigInteger, sa_column_args=[Identity(always=True)], nullable=False)
    version: int = 1
    source_type: SourceType = enum_field(SourceType)
    source_id: UUID
    source_version: int
    rule_version: int
    verdict_id: UUID = Field(foreign_key="verdict.id")
    reason: str = Field(max_length=32)
    grid_id: str | None = Field(default=None, foreign_key="grid.id", max_length=15, index=True)
    h3_cell: str | None = Field(default=None, max_length=16)
    queue_code: str = Field(foreign_key="case_queue.code", max_length=32)
    standard_scheme: str = Field(max_length=32)
    standard_code: str = Field(max_length=32)
    state: CaseState = enum_field(CaseState)
    similar_to: UUID | None = Field(default=None, foreign_key="case_file.id")
    department_code: str | None = Field(default=None, foreign_key="department.code", max_length=32)
    claimed_by: UUID | None = Field(default=None, foreign_key="account.id")
    collected_by: UUID | None = Field(default=None, foreign_key="account.id")
    deadline_at: datetime = time_field()
    opened_at: datetime = time_field()
    closed_at: datetime | None = time_field(default=None)
    outcome: str | None = Field(default=None, max_length=32)


class CaseStep(SQLModel, table=True):
    """One change of a case, appended and never edited. `note` is sealed: people write names into notes.

    `verdict_id` is the verdict that opened the case, came again to it, or found its difference gone: each verdict has
    at most one step in a case.
    `department_code` is the unit that has the case after the step.
    """

    __tablename__ = "case_step"
    __table_args__ = (Index("uq_case_step_verdict_id", "verdict_id", "case_id", unique=True),)

    case_id: UUID = Field(foreign_key="case_file.id", primary_key=True)
    version: int = Field(primary_key=True)
    action: str = Field(max_length=32)
    from_state: CaseState | None = enum_field(CaseState, default=None)
    to_state: CaseState = enum_field(CaseState)
    actor: str = Field(max_length=64)
    reason: str | None = Field(default=None, max_length=64)
    verdict_id: UUID | None = Field(default=None, foreign_key="verdict.id")
    department_code: str | None = Field(default=None, foreign_key="department.code", max_length=32)
    note: bytes | None = sealed_field(default=None)
    at: datetime = time_field()
