"""Citizens on WeChat, the messages they send, and the reports assembled from them."""

from uuid import UUID

from sqlalchemy import Index, LargeBinary, text
from sqlmodel import Field

from backend.core.enums import ReportState
from backend.core.ids import new_id
from backend.models.base import Json, SQLModel, datetime, enum_field, json_field, sealed_field, time_field


class Citizen(SQLModel, table=True):
    """A follower of the official account. The OpenID is sealed; its blind index finds the row again."""

    __tablename__ = "citizen"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    openid_index: bytes = Field(sa_type=LargeBinary, unique=True)
    openid: bytes = sealed_field()
    created_at: datetime = time_field()


class WechatMessage(SQLModel, table=True):
    """A raw message as it came, sealed, once per `message_key` (MsgId; for events sender, time and event name).

    `sender_index` is the blind index of the sender's OpenID, so that one person's waiting messages can be taken in
    the order in which they were sent; it is also the subject that `raw` is sealed under. `report_id` is the report the
    message became part of, if it did.
    """

    __tablename__ = "wechat_message"
    __table_args__ = (
        Index("ix_wechat_message_sender_index_sent_at", "sender_index", "sent_at"),
        Index("ix_wechat_message_system", "id", postgresql_where=text("get_byte(raw, 0) < 128")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    message_key: bytes = Field(sa_type=LargeBinary, unique=True)
    sender_index: bytes = Field(sa_type=LargeBinary)
    raw: bytes = sealed_field()
    sent_at: datetime = time_field()
    received_at: datetime = time_field()
    processed_at: datetime | None = time_field(default=None)
    report_id: UUID | None = Field(default=None, foreign_key="report.id")


class Report(SQLModel, table=True):
    """A citizen's report. `sealed` holds text, exact place and photo ids; `body` what routing needs and what is
    still being waited for. Times of messages are the sender's platform's, `submitted_at` is ours.
    """

    __tablename__ = "report"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    citizen_id: UUID = Field(foreign_key="citizen.id", index=True)
    state: ReportState = enum_field(ReportState)
    version: int = 1
    body: Json = json_field()
    sealed: bytes | None = sealed_field(default=None)
    grid_id: str | None = Field(default=None, foreign_key="grid.id", max_length=15)
    h3_cell: str | None = Field(default=None, max_length=16)
    opened_at: datetime = time_field()
    last_message_at: datetime = time_field()
    submitted_at: datetime | None = time_field(default=None)
