"""The life of data: requests of and about people, how long rows are kept, and what was removed."""

from datetime import date
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field

from backend.core.enums import (
    AccessReason,
    ConsentAct,
    ErasureReason,
    ErasureState,
    ExportFormat,
    ExportPurpose,
    ExportWhat,
    FileState,
    Kind,
    SubjectType,
)
from backend.core.ids import new_id
from backend.models.base import Json, SQLModel, datetime, enum_field, json_field, sealed_field, time_field


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


class AccessRequest(SQLModel, table=True):
    """A request to see all that is held about one subject. Subjects are named as in `Erasure`.

    The file is fetched once, by who asked (a steward of the whole city where a citizen asked), and removed after
    that or after `expires_at`.
    """

    __tablename__ = "access_request"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    subject_type: SubjectType = enum_field(SubjectType)
    document_id: UUID | None = None
    citizen_id: UUID | None = None
    subject: bytes | None = Field(default=None, sa_type=LargeBinary)
    id_index: bytes | None = Field(default=None, sa_type=LargeBinary)
    reason: AccessReason = enum_field(AccessReason)
    state: FileState = enum_field(FileState)
    requested_by: UUID | None = Field(default=None, foreign_key="account.id")
    requested_at: datetime = time_field()
    finished_at: datetime | None = time_field(default=None)
    expires_at: datetime | None = time_field(default=None)
    fetched_at: datetime | None = time_field(default=None)
    object_key: str | None = Field(default=None, max_length=255)
    counts: Json = json_field(default_factory=dict)


class Export(SQLModel, table=True):
    """A table made for an account to fetch, masked and watermarked. `purpose` is what the account wrote, sealed.

    `rows` is how many lines the file has; `truncated` says that there were more than may leave at once.
    """

    __tablename__ = "export"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    what: ExportWhat = enum_field(ExportWhat)
    kind: Kind | None = enum_field(Kind, default=None)
    filters: Json = json_field()
    fields: list[str] = json_field()
    format: ExportFormat = enum_field(ExportFormat, default=ExportFormat.CSV)
    purpose_code: ExportPurpose = enum_field(ExportPurpose)
    purpose: bytes = sealed_field()
    state: FileState = enum_field(FileState)
    requested_by: UUID = Field(foreign_key="account.id", index=True)
    requested_at: datetime = time_field()
    finished_at: datetime | None = time_field(default=None)
    expires_at: datetime | None = time_field(default=None)
    rows: int = 0
    truncated: bool = False
    object_key: str | None = Field(default=None, max_length=255)


class PrivacyNotice(SQLModel, table=True):
    """One version of what citizens are told about their data. A new wording is a new row."""

    __tablename__ = "privacy_notice"

    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    text_zh: str = Field(max_length=600)
    text_en: str = Field(max_length=2000)
    published_at: datetime = time_field()


class Consent(SQLModel, table=True):
    """That a citizen was told a version, agreed to it, or withdrew; appended, never edited. The last word counts."""

    __tablename__ = "consent"
    __table_args__ = (
        Index("uq_consent_told", "citizen_id", "version", unique=True, postgresql_where=text("act = 'told'")),
        Index("ix_consent_citizen_id_id", "citizen_id", "id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    citizen_id: UUID = Field(foreign_key="citizen.id")
    version: int = Field(foreign_key="privacy_notice.version")
    act: ConsentAct = enum_field(ConsentAct)
    at: datetime = time_field()
