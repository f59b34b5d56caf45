"""People who log in, their devices, and their sessions."""

from uuid import UUID

from sqlalchemy import BigInteger, LargeBinary
from sqlmodel import Field

from backend.core.enums import Role
from backend.core.ids import new_id
from backend.models.base import Json, SQLModel, datetime, enum_field, json_field, time_field


class Account(SQLModel, table=True):
    """A person with one role, within a territory (`territory_code`, a division prefix) and perhaps a department."""

    __tablename__ = "account"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    login: str = Field(unique=True, max_length=64)
    display_name: str = Field(max_length=64)
    role: Role = enum_field(Role)
    password_hash: str | None = Field(default=None, max_length=255)
    territory_code: str = Field(default="", max_length=12)
    department_code: str | None = Field(default=None, foreign_key="department.code", max_length=32)
    active: bool = True
    created_at: datetime = time_field()


class EnrolmentCode(SQLModel, table=True):
    """A one-time code that binds a device to an account; only its digest is kept."""

    __tablename__ = "enrolment_code"

    digest: bytes = Field(primary_key=True, sa_type=LargeBinary)
    account_id: UUID = Field(foreign_key="account.id")
    created_by: UUID = Field(foreign_key="account.id")
    expires_at: datetime = time_field()
    used_at: datetime | None = time_field(default=None)


class Device(SQLModel, table=True):
    """A handheld. `public_key` is its ES256 key as JWK; the private half never leaves it.

    `waiting` is the backlog the device last claimed, `skew_ms` its clock against ours (positive: ahead).
    """

    __tablename__ = "device"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    account_id: UUID = Field(foreign_key="account.id", index=True)
    name: str = Field(max_length=64)
    public_key: Json = json_field()
    enrolled_at: datetime = time_field()
    last_seen_at: datetime | None = time_field(default=None)
    revoked_at: datetime | None = time_field(default=None)
    schema_version: int = 1
    waiting: int = 0
    skew_ms: int = Field(default=0, sa_type=BigInteger)
    push_target: str | None = Field(default=None, max_length=512)
    push_target_kind: str | None = Field(default=None, max_length=16)


class SessionFamily(SQLModel, table=True):
    """One login and all refresh tokens that follow from it.

    A refresh token names its family and generation and is authenticated by HMAC, so only the newest generation is
    stored, and when it was first given. `backend.services.sessions` tells an honest repeat from a replay by them.
    """

    __tablename__ = "session_family"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    account_id: UUID = Field(foreign_key="account.id", index=True)
    device_id: UUID | None = Field(default=None, foreign_key="device.id", index=True)
    generation: int = 1
    rotated_at: datetime | None = time_field(default=None)
    created_at: datetime = time_field()
    expires_at: datetime = time_field()
    revoked_at: datetime | None = time_field(default=None)
    revoked_reason: str | None = Field(default=None, max_length=32)
