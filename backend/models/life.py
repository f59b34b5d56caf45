"""The life of data: requests to erase somebody, and what became of them."""

from uuid import UUID

from sqlalchemy import CheckConstraint, LargeBinary
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
