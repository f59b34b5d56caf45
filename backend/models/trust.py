"""Keys of subjects, and the server's own state."""

from sqlalchemy import Index, LargeBinary, text
from sqlmodel import Field

from backend.models.base import SQLModel, datetime, time_field


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


class ServerState(SQLModel, table=True):
    """Small facts about this server, such as its sync epoch."""

    __tablename__ = "server_state"

    name: str = Field(primary_key=True, max_length=64)
    value: str = Field(max_length=255)
