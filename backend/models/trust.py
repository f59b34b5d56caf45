"""Keys of subjects, who looked at their data in the clear, and the server's own state."""

from uuid import UUID

from sqlalchemy import Index, LargeBinary, text
from sqlmodel import Field

from backend.core.ids import new_id
from backend.models.base import SQLModel, datetime, json_field, sealed_field, time_field


class SubjectKey(SQLModel, table=True):
    """The wrapped data key of one human or document. Deleting the row makes every copy of the data unreadable.

    The first byte of `wrapped` names the master key over it; the index finds those that a rotation has left.
    """

    __tablename__ = "subject_key"
    __table_args__ = (Index("ix_subject_key_head", text("get_byte(wrapped, 0)")),)

    subject_id: bytes = Field(primary_key=True, sa_type=LargeBinary)
    wrapped: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = time_field()


class ErasedSubject(SQLModel, table=True):
    """A subject whose key was destroyed: the tombstone that keeps a later push from making a key for it again."""

    __tablename__ = "erased_subject"

    subject_id: bytes = Field(primary_key=True, sa_type=LargeBinary)
    erased_at: datetime = time_field()


class Unmasking(SQLModel, table=True):
    """That somebody looked at personal values in the clear: which fields, and why. Appended, never edited.

    `fields` are names that the kind declares, `reason` is a code; the words of the reason are sealed in `note` with the
    data of the person they are about.
    """

    __tablename__ = "unmasking"
    __table_args__ = (Index("ix_unmasking_document_id", "document_id"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    document_id: UUID
    account_id: UUID = Field(foreign_key="account.id")
    fields: list[str] = json_field()
    reason: str = Field(max_length=32)
    note: bytes = sealed_field()
    at: datetime = time_field()


class ServerState(SQLModel, table=True):
    """Small facts about this server, such as its sync epoch."""

    __tablename__ = "server_state"

    name: str = Field(primary_key=True, max_length=64)
    value: str = Field(max_length=255)
