"""Synced records: the document, its history, the mutation ledger, conflicts, quarantine and the per-grid feed.

Personal fields are never in a readable column: `body` holds the public fields, `sealed` the personal ones as made by
`backend.services.sealing`.
"""

from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, LargeBinary, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from backend.core.enums import ConflictState, Hardness, Kind, Outcome, QuarantineCode, QuarantineState
from backend.core.ids import new_id
from backend.models.base import Json, SQLModel, datetime, enum_field, json_field, sealed_field, time_field


class Document(SQLModel, table=True):
    """The server's current version of one record. `version` is its `rev`; `op` names this version.

    Blind indexes: `id_index` (id type and number), `phone_index`, `block_index` (birth date and surname),
    `name_year_index` and `name_address_index` (`backend.services.blocking`). For kinds without personal keys
    `natural_key` is the house code, USCC or component id. `h3_cell` is the H3 cell at resolution 9
    of the location of kinds whose place is not personal. `merged_into` names the record that this one was
    found to be a duplicate of; it counts only while this one is deleted. `link_index` is a blind index too: of the
    record that a soft reference names, and of a record's own id where it can be named (`LINKS`, services/records.py).
    """

    __tablename__ = "document"
    __table_args__ = (
        Index("ix_document_grid_id_kind", "grid_id", "kind"),
        Index("ix_document_kind_natural_key", "kind", "natural_key"),
        Index("ix_document_kind_h3_cell", "kind", "h3_cell"),
        Index("ix_document_kind_link_index", "kind", "link_index"),
        Index("ix_document_merged_into", "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
    )

    id: UUID = Field(primary_key=True)
    kind: Kind = enum_field(Kind)
    grid_id: str = Field(foreign_key="grid.id", max_length=15)
    version: int
    op: UUID
    deleted: bool = False
    body: Json = json_field()
    sealed: bytes | None = sealed_field(default=None)
    id_index: bytes | None = Field(default=None, sa_type=LargeBinary, index=True)
    phone_index: bytes | None = Field(default=None, sa_type=LargeBinary, index=True)
    block_index: bytes | None = Field(default=None, sa_type=LargeBinary, index=True)
    name_year_index: bytes | None = Field(default=None, sa_type=LargeBinary, index=True)
    name_address_index: bytes | None = Field(default=None, sa_type=LargeBinary, index=True)
    link_index: bytes | None = Field(default=None, sa_type=LargeBinary)
    natural_key: str | None = Field(default=None, max_length=64)
    h3_cell: str | None = Field(default=None, max_length=16)
    account_id: UUID | None = Field(default=None, foreign_key="account.id")
    device_id: UUID | None = Field(default=None, foreign_key="device.id")
    captured_at: datetime | None = time_field(default=None)
    merged_into: UUID | None = Field(default=None, foreign_key="document.id")
    created_at: datetime = time_field()
    updated_at: datetime = time_field()


class DocumentVersion(SQLModel, table=True):
    """One version of a document, appended and never edited: the base of later merges."""

    __tablename__ = "document_version"
    __table_args__ = (Index("uq_document_version_document_id_op", "document_id", "op", unique=True),)

    document_id: UUID = Field(foreign_key="document.id", primary_key=True)
    version: int = Field(primary_key=True)
    op: UUID
    grid_id: str = Field(max_length=15)
    deleted: bool = False
    body: Json = json_field()
    sealed: bytes | None = sealed_field(default=None)
    account_id: UUID | None = None
    device_id: UUID | None = None
    created_at: datetime = time_field()


class Mutation(SQLModel, table=True):
    """The ledger: one row per (document, op), with the keyed fingerprint of what was pushed and what became of it.

    `pushed` is the sealed content of the push: the base of this device's next edit, also after a lost answer.
    `version` is the document's version after the mutation, absent when it was quarantined. `device_id` is absent where
    no device pushed: the resolution of a conflict by somebody in an office.
    """

    __tablename__ = "mutation"
    __table_args__ = (
        Index("ix_mutation_device_id_seq", "device_id", "seq"),
        Index("ix_mutation_document_id_device_id", "document_id", "device_id"),
    )

    document_id: UUID = Field(primary_key=True)
    op: UUID = Field(primary_key=True)
    seq: int | None = Field(default=None, sa_type=BigInteger, sa_column_args=[Identity(always=True)], nullable=False)
    kind: Kind = enum_field(Kind)
    device_id: UUID | None = Field(default=None, foreign_key="device.id")
    account_id: UUID = Field(foreign_key="account.id")
    fingerprint: bytes = Field(sa_type=LargeBinary)
    outcome: Outcome = enum_field(Outcome)
    base_version: int | None = None
    version: int | None = None
    pushed: bytes | None = sealed_field(default=None)
    pushed_body: Json | None = json_field(default=None)
    client_time: datetime | None = time_field(default=None)
    created_at: datetime = time_field()


class Conflict(SQLModel, table=True):
    """One field on which two honest edits met. The four values are sealed together in `sides`.

    `review_seq` numbers what reviews did to the rows of one account (`ReviewCounter`); absent before the first.
    """

    __tablename__ = "conflict"
    __table_args__ = (
        Index("uq_conflict_document_id_op_field", "document_id", "op", "field", unique=True),
        Index("ix_conflict_waiting", "id", postgresql_where=text("state IN ('open', 'contested')")),
        Index("ix_conflict_reviewed", "account_id", "review_seq", postgresql_where=text("review_seq IS NOT NULL")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    document_id: UUID = Field(foreign_key="document.id")
    kind: Kind = enum_field(Kind)
    grid_id: str = Field(max_length=15, index=True)
    op: UUID
    field: str = Field(max_length=64)
    hardness: Hardness = enum_field(Hardness)
    sides: bytes | None = sealed_field(default=None)
    device_id: UUID = Field(foreign_key="device.id")
    account_id: UUID = Field(foreign_key="account.id")
    state: ConflictState = enum_field(ConflictState, default=ConflictState.OPEN)
    review_seq: int | None = Field(default=None, sa_type=BigInteger)
    created_at: datetime = time_field()


class Quarantine(SQLModel, table=True):
    """A pushed row that could not be applied, kept whole (encrypted) until a person decides it.

    `payload` is sealed under the humans the row names, else its document (`backend.services.quarantined`). It stays
    after the decision, until `decided_at` is as old as the retention rule says. `review_seq` as of a conflict.
    `schema_version` is the form that it is in; rows of before there were several have none and are in the current one.
    """

    __tablename__ = "quarantine"
    __table_args__ = (
        Index("uq_quarantine_device_id_fingerprint", "device_id", "fingerprint", unique=True),
        Index("ix_quarantine_device_id_state_id", "device_id", "state", "id"),
        Index("ix_quarantine_system", "id", postgresql_where=text("get_byte(payload, 0) < 128")),
        Index("ix_quarantine_waiting", "id", postgresql_where=text("state = 'open'")),
        Index("ix_quarantine_reviewed", "account_id", "review_seq", postgresql_where=text("review_seq IS NOT NULL")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    device_id: UUID = Field(foreign_key="device.id")
    account_id: UUID = Field(foreign_key="account.id")
    kind: Kind = enum_field(Kind)
    document_id: UUID | None = Field(default=None, index=True)
    op: UUID | None = None
    grid_id: str | None = Field(default=None, max_length=15)
    code: QuarantineCode = enum_field(QuarantineCode)
    places: list[str] = json_field()
    fingerprint: bytes = Field(sa_type=LargeBinary)
    payload: bytes = sealed_field()
    schema_version: int | None = None
    state: QuarantineState = enum_field(QuarantineState, default=QuarantineState.OPEN)
    review_seq: int | None = Field(default=None, sa_type=BigInteger)
    decided_at: datetime | None = time_field(default=None)
    created_at: datetime = time_field()


class DevicePush(SQLModel, table=True):
    """The highest number of a push that was taken from a device, a collection (`sync.order`)."""

    __tablename__ = "device_push"

    device_id: UUID = Field(primary_key=True, foreign_key="device.id")
    kind: Kind = enum_field(Kind, primary_key=True)
    number: int = Field(sa_type=BigInteger)


class FeedCounter(SQLModel, table=True):
    """The last sequence number of a grid's feed. Bumped last before commit, grids in sorted order."""

    __tablename__ = "feed_counter"

    grid_id: str = Field(primary_key=True, foreign_key="grid.id", max_length=15)
    seq: int = Field(sa_type=BigInteger)


class Feed(SQLModel, table=True):
    """The latest touch of a document in a grid. `first_seq` is the sequence at which the grid first saw it.

    `written_in` is the number of the transaction that touched it last: by it the database refuses a change of a
    document that nobody would hear of (migration 0020).
    """

    __tablename__ = "feed"
    __table_args__ = (Index("uq_feed_grid_id_kind_seq", "grid_id", "kind", "seq", "document_id", unique=True),)

    grid_id: str = Field(primary_key=True, foreign_key="grid.id", max_length=15)
    document_id: UUID = Field(primary_key=True)
    kind: Kind = enum_field(Kind)
    seq: int = Field(sa_type=BigInteger)
    first_seq: int = Field(sa_type=BigInteger)
    written_in: int | None = Field(default=None, sa_type=BigInteger)


class FeedDue(SQLModel, table=True):
    """Documents of a grid that a statement changed, and that the feed has to tell before the commit. Triggers write it
    and take it away again (migration 0021); outside a transaction it is empty."""

    __tablename__ = "feed_due"

    id: UUID = Field(primary_key=True)
    grid_id: str = Field(sa_type=Text)
    document_ids: list[UUID] = Field(sa_type=ARRAY(Uuid))
