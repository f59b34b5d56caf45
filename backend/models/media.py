"""Photos: the upload while it grows, the photo once it is whole, its links and its derivatives."""

from uuid import UUID

from sqlalchemy import BigInteger, Index, Integer, SmallInteger
from sqlalchemy.dialects.postgresql import ARRAY, BIT
from sqlmodel import Field

from backend.core.enums import PhotoState, SourceType
from backend.core.ids import new_id
from backend.models.base import Json, SQLModel, datetime, enum_field, json_field, sealed_field, time_field


class Photo(SQLModel, table=True):
    """A photo, told by the id its taker gave it and its bytes: `taken_as` and `sha256` together.

    `id` is `taken_as` too, but for one whose id another account had used for other bytes: it has an id of the server's.
    `sha256`, `size` and `mime` are the manifest's until it is received whole.
    `taken_at` and `claims` (place, sealed) come from the file and are claims, not facts. `owner_id` is the account
    that may upload it, absent for a citizen's; `device_id` the handheld that named it first, or else brought it.
    """

    __tablename__ = "photo"
    __table_args__ = (Index("uq_photo_taken_as_sha256", "taken_as", "sha256", unique=True),)

    id: UUID = Field(primary_key=True)
    taken_as: UUID
    owner_id: UUID | None = Field(default=None, foreign_key="account.id")
    device_id: UUID | None = Field(default=None, foreign_key="device.id", index=True)
    sha256: str = Field(max_length=64, index=True)
    size: int = Field(sa_type=BigInteger)
    mime: str = Field(max_length=64)
    state: PhotoState = enum_field(PhotoState)
    failure: str | None = Field(default=None, max_length=32)
    original_key: str | None = Field(default=None, max_length=255)
    width: int | None = None
    height: int | None = None
    taken_at: datetime | None = time_field(default=None)
    claims: bytes | None = sealed_field(default=None)
    placeholder: str | None = Field(default=None, max_length=64)
    created_at: datetime = time_field()
    processed_at: datetime | None = time_field(default=None)


class PhotoLink(SQLModel, table=True):
    """That a record or a report names a photo in its manifest. The photo may arrive before or after."""

    __tablename__ = "photo_link"
    __table_args__ = (Index("ix_photo_link_photo_id", "photo_id"),)

    source_type: SourceType = enum_field(SourceType, primary_key=True)
    source_id: UUID = Field(primary_key=True)
    photo_id: UUID = Field(primary_key=True)


class Derivative(SQLModel, table=True):
    """A cleaned copy of a photo in one size, free of all metadata of the original."""

    __tablename__ = "derivative"

    photo_id: UUID = Field(foreign_key="photo.id", primary_key=True)
    variant: str = Field(primary_key=True, max_length=16)
    storage_key: str = Field(max_length=255)
    mime: str = Field(max_length=64)
    width: int
    height: int
    size: int
    sha256: str = Field(max_length=64)


class PhotoPrint(SQLModel, table=True):
    """The perceptual hash of a photo, and the keys under which the likes of it are found (`media.evidence.bands`).

    `detail` says how much the hash is worth, 0 to 100; what has too little of it has no keys.
    """

    __tablename__ = "photo_print"
    __table_args__ = (Index("ix_photo_print_keys", "keys", postgresql_using="gin"),)

    photo_id: UUID = Field(foreign_key="photo.id", primary_key=True)
    bits: str = Field(sa_type=BIT(256))
    detail: int = Field(sa_type=SmallInteger)
    keys: list[int] = Field(sa_type=ARRAY(Integer))


class PhotoRuleSet(SQLModel, table=True):
    """Limits and weights of the evidence score as data. One version is active."""

    __tablename__ = "photo_rule_set"

    version: int = Field(primary_key=True)
    active: bool = False
    rules: Json = json_field()
    created_at: datetime = time_field()


class PhotoEvidence(SQLModel, table=True):
    """How far a photo bears out one entry that names it. `reasons` are codes with what was measured, never values.

    `source_version` is the version of the entry that was looked at.
    """

    __tablename__ = "photo_evidence"
    __table_args__ = (Index("ix_photo_evidence_source_type_source_id", "source_type", "source_id"),)

    photo_id: UUID = Field(foreign_key="photo.id", primary_key=True)
    source_type: SourceType = enum_field(SourceType, primary_key=True)
    source_id: UUID = Field(primary_key=True)
    source_version: int
    rule_version: int = Field(foreign_key="photo_rule_set.version")
    score: int = Field(sa_type=SmallInteger)
    reasons: list[Json] = json_field()
    assessed_at: datetime = time_field()


class Upload(SQLModel, table=True):
    """A tus upload. `durable_offset` counts bytes that are on disk; `metadata` is what the client declared."""

    __tablename__ = "upload"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    photo_id: UUID = Field(index=True)
    owner_id: UUID = Field(foreign_key="account.id", index=True)
    device_id: UUID | None = Field(default=None, foreign_key="device.id", index=True)
    length: int = Field(sa_type=BigInteger)
    durable_offset: int = Field(default=0, sa_type=BigInteger)
    declared: Json = json_field()
    finished: bool = False
    created_at: datetime = time_field()
    expires_at: datetime = time_field()
