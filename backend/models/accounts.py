"""People who log in: what they may do and until when, their passwords and second factors, devices and sessions."""

from uuid import UUID

from sqlalchemy import BigInteger, Index, LargeBinary, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlmodel import Field

from backend.core.enums import Role
from backend.core.ids import new_id
from backend.models.base import Json, SQLModel, datetime, enum_field, json_field, sealed_field, time_field


class Account(SQLModel, table=True):
    """A person who logs in. What the person may do is in the posting in force, never here.

    `password_temporary` marks a password that somebody else gave: it must be changed before anything else.
    """

    __tablename__ = "account"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    login: str = Field(unique=True, max_length=64)
    display_name: str = Field(max_length=64)
    password_hash: str | None = Field(default=None, max_length=255)
    password_temporary: bool = False
    password_set_at: datetime | None = time_field(default=None)
    active: bool = True
    created_at: datetime = time_field()


class Posting(SQLModel, table=True):
    """That an account holds one role, in a territory (a division prefix) and perhaps a department, from when to when.

    One at a time, and the three roles that watch each other are never held by one account, not even one after the
    other: the database holds both. A posting that ends when it starts never was in force.
    """

    __tablename__ = "posting"
    __table_args__ = (
        ExcludeConstraint(
            (text("account_id"), "="),
            (text("tstzrange(starts_at, ends_at)"), "&&"),
            using="gist",
            name="ex_posting_one_at_a_time",
        ),
        ExcludeConstraint(
            (text("account_id"), "="),
            (text("role"), "<>"),
            using="gist",
            where=text(
                "role IN ('auditor', 'security_admin', 'system_admin') AND (ends_at IS NULL OR ends_at > starts_at)"
            ),
            name="ex_posting_separate_people",
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    account_id: UUID = Field(foreign_key="account.id", index=True)
    role: Role = enum_field(Role)
    territory_code: str = Field(default="", max_length=12)
    department_code: str | None = Field(default=None, foreign_key="department.code", max_length=32)
    starts_at: datetime = time_field()
    ends_at: datetime | None = time_field(default=None)
    granted_by: str = Field(max_length=64)


class PastPassword(SQLModel, table=True):
    """The hash of a password an account had, so that it is not taken again."""

    __tablename__ = "past_password"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    account_id: UUID = Field(foreign_key="account.id", index=True)
    password_hash: str = Field(max_length=255)
    at: datetime = time_field()


class SecondFactor(SQLModel, table=True):
    """An authenticator app (TOTP, RFC 6238) of an account. It counts from `confirmed_at` on.

    `pending` is a secret that was shown and not confirmed yet; `last_step` is the newest time step that was used.
    """

    __tablename__ = "second_factor"

    account_id: UUID = Field(foreign_key="account.id", primary_key=True)
    secret: bytes | None = sealed_field(default=None)
    pending: bytes | None = sealed_field(default=None)
    confirmed_at: datetime | None = time_field(default=None)
    last_step: int = Field(default=0, sa_type=BigInteger)


class RecoveryCode(SQLModel, table=True):
    """A one-time code for who lost the authenticator app; only its digest is kept."""

    __tablename__ = "recovery_code"

    digest: bytes = Field(primary_key=True, sa_type=LargeBinary)
    account_id: UUID = Field(foreign_key="account.id", index=True)
    used_at: datetime | None = time_field(default=None)


class LoginFailure(SQLModel, table=True):
    """One failed login in one of the counted ways (a keyed hash); unlogged, a crash of the database forgets it."""

    __tablename__ = "login_failure"
    __table_args__ = (Index("ix_login_failure_bucket_at", "bucket", "at"), {"prefixes": ["UNLOGGED"]})

    id: UUID = Field(default_factory=new_id, primary_key=True)
    bucket: bytes = Field(sa_type=LargeBinary)
    at: datetime = time_field(index=True)


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
    A device that is to erase its local store is revoked too; `wipe_confirmed_at` is when it said that it has.
    """

    __tablename__ = "device"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    account_id: UUID = Field(foreign_key="account.id", index=True)
    name: str = Field(max_length=64)
    public_key: Json = json_field()
    enrolled_at: datetime = time_field()
    last_seen_at: datetime | None = time_field(default=None)
    revoked_at: datetime | None = time_field(default=None)
    wipe_requested_at: datetime | None = time_field(default=None)
    wipe_confirmed_at: datetime | None = time_field(default=None)
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
