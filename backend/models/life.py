"""The life of data: requests of and about people, how long rows are kept, and what was removed."""

from datetime import date
from uuid import UUID

from sqlalchemy import CheckConstraint, LargeBinary, UniqueConstraint
from sqlmodel import Field

from backend.core.enums import ErasureReason, ErasureState, SubjectType
from backend.core.ids import new_id
from backend.models.base import Json, SQLModel, datetime, enum_field, json_field, time_field


class Erasure(SQLModel, table=True):
    """A request to erase one subject. Nothing happens before somebody else than who asked has approved it.

    `document_id` or `citizen_id` name the subject where it was asked for so; a human asked for by identity document
    is named by `subject` (the subject id) and `id_index`, which is removed when the human is. `requested_by` is absent
    where a citizen asked for himself. `report` holds counts, never values.
    """

    __tablename__ = "erasure"
    __table_args__ = (CheckConstraint("decided_by IS NULL OR decided_by IS DISTINCT FROM requested_by", name="two"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    subject_type: SubjectType = enum_field(SubjectType)
    document_id: UUID | None = None
    citizen_id: UUID | None = None
    subject: bytes | None = Field(default=None, sa_type=LargeBinary)
    id_index: bytes | None = Field(default=None, sa_type=LargeBinary)
    reason: ErasureReason = enum_field(ErasureReason)
    state: ErasureState = enum_field(ErasureState)
    requested_by: UUID | None = Field(default=None, foreign_key="account.id")
    requested_at: datetime = time_field()
    decided_by: UUID | None = Field(default=None, foreign_key="account.id")
    decided_at: datetime | None = time_field(default=None)
    finished_at: datetime | None = time_field(default=None)
    report: Json = json_field(default_factory=dict)


class RetentionRule(SQLModel, table=True):
    """How long rows are kept that a rule of `backend.services.retention` names. Without a row the rule does not run."""

    __tablename__ = "retention_rule"

    code: str = Field(primary_key=True, max_length=32)
    days: int
    reason: str = Field(max_length=255)


class RetentionRun(SQLModel, table=True):
    """What one run of a rule removed: rows older than `before`; `oldest_kept` is the oldest that is left."""

    __tablename__ = "retention_run"
    __table_args__ = (UniqueConstraint("rule", "day"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    rule: str = Field(max_length=32)
    day: date
    place: str = Field(max_length=32)
    at: datetime = time_field()
    before: datetime = time_field()
    removed: int
    oldest_kept: datetime | None = time_field(default=None)
