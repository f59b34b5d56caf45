"""The inbox: what a person is told. The row is the notice; push and WeChat messages only wake the reader."""

from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field

from backend.core.ids import new_id
from backend.models.base import Json, SQLModel, datetime, json_field, time_field


class Notice(SQLModel, table=True):
    """One notice to one account or citizen, once per `key`. `payload` carries codes and ids, never personal data."""

    __tablename__ = "notice"
    __table_args__ = (
        Index("uq_notice_recipient_id_key", "recipient_id", "key", unique=True),
        Index("ix_notice_recipient_id_id", "recipient_id", "id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    recipient_type: str = Field(max_length=16)
    recipient_id: UUID
    key: str = Field(max_length=128)
    template: str = Field(max_length=64)
    payload: Json = json_field()
    created_at: datetime = time_field()
    read_at: datetime | None = time_field(default=None)
    sent_at: datetime | None = time_field(default=None)
    send_result: str | None = Field(default=None, max_length=64)
