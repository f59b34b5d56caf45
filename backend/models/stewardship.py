"""Field authority (一数一源): which fields departments have written, and what handhelds ask them to verify."""

from uuid import UUID

from sqlalchemy import BigInteger, Index, text
from sqlmodel import Field

from backend.core.enums import Kind, Role, VerificationState
from backend.core.ids import new_id
from backend.models.base import SQLModel, datetime, enum_field, json_field, sealed_field, time_field


class FieldAuthority(SQLModel, table=True):
    """That a department has written a field of a document: from then on the field is its own (`sync.authority`).

    Without a row the value is what the grid observed. `dataset` is where the department keeps it, `account_id` and
    `role` who wrote it last, with which version of the document; nobody where an import confirmed what stood there.
    """

    __tablename__ = "field_authority"

    document_id: UUID = Field(primary_key=True, foreign_key="document.id")
    field: str = Field(primary_key=True, max_length=64)
    dataset: str = Field(max_length=32)
    account_id: UUID | None = Field(default=None, foreign_key="account.id")
    role: Role | None = enum_field(Role, default=None)
    version: int
    at: datetime = time_field()


class VerificationRequest(SQLModel, table=True):
    """That a handheld proposes another value for a department's field. The proposed value and the one kept are sealed
    together in `sides`; `photos` are the ids of the photos that were in the row, as evidence.

    `version` is the document's after the row. `review_seq` as of a conflict.
    """

    __tablename__ = "verification_request"
    __table_args__ = (
        Index("uq_verification_request_document_id_op_field", "document_id", "op", "field", unique=True),
        Index("ix_verification_request_waiting", "id", postgresql_where=text("state = 'open'")),
        Index(
            "ix_verification_request_reviewed",
            "account_id",
            "review_seq",
            postgresql_where=text("review_seq IS NOT NULL"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    document_id: UUID = Field(foreign_key="document.id")
    kind: Kind = enum_field(Kind)
    grid_id: str = Field(max_length=15)
    op: UUID
    field: str = Field(max_length=64)
    dataset: str = Field(max_length=32)
    version: int
    sides: bytes | None = sealed_field(default=None)
    photos: list[str] = json_field()
    device_id: UUID = Field(foreign_key="device.id")
    account_id: UUID = Field(foreign_key="account.id")
    state: VerificationState = enum_field(VerificationState, default=VerificationState.OPEN)
    review_seq: int | None = Field(default=None, sa_type=BigInteger)
    created_at: datetime = time_field()
