"""Citizens on WeChat, the messages they send, and the reports assembled from them."""

from uuid import UUID

from sqlalchemy import LargeBinary
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
    """A raw message as it came, sealed, once per `message_key` (MsgId; for events sender and time)."""

    __tablename__ = "wechat_message"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    message_key: bytes = Field(sa_type=LargeBinary, unique=True)
    raw: bytes = sealed_field()
    received_at: datetime = time_field()
    report_id: UUID | None = Field(default=None, foreign_key="report.id")


class Report(SQLModel, table=True):
    """A citizen's report. `sealed` holds text and exact place; `body` what routing needs (class, datum of the claim)."""

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
