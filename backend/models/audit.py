"""The audit trail: its entries, the sealed batches that chain them, and what retention has dropped.

Entries are appended by every role and changed by none. Seals and batches are appended by the sealer
(`backend.services.audit_sealing`); entries are dropped by one function of the database alone, whole batches at a time.
"""

from uuid import UUID

from sqlalchemy import BigInteger, Index, LargeBinary
from sqlmodel import Field

from backend.core.ids import new_id
from backend.models.base import Json, SQLModel, datetime, json_field, time_field


class AuditEntry(SQLModel, table=True):
    """Who did what to which object, and when. Ids and codes only, never personal values; appended, never edited."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index("ix_audit_entry_actor_at", "actor", "at"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    at: datetime = time_field(index=True)
    actor: str = Field(max_length=64)
    action: str = Field(max_length=64)
    object_type: str = Field(max_length=32)
    object_id: str = Field(max_length=64, index=True)
    request_id: str | None = Field(default=None, max_length=64)
    detail: Json = json_field()


class AuditBatch(SQLModel, table=True):
    """Up to 1,000 entries sealed together. `head` commits to them and, by `previous_head`, to all before them.

    `first_at` and `last_at` are the earliest and the latest time the entries give, `sealed_at` is the sealer's,
    never earlier than that of the batch before.
    """

    __tablename__ = "audit_batch"

    number: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    previous_head: bytes = Field(sa_type=LargeBinary)
    head: bytes = Field(sa_type=LargeBinary)
    entry_count: int
    first_at: datetime = time_field()
    last_at: datetime = time_field()
    sealed_at: datetime = time_field()


class AuditSeal(SQLModel, table=True):
    """That an entry is sealed: its batch, its position there from 1, and its SHA-256.

    No foreign key to the entry: a row that vanished must not take the proof that it was there with it.
    """

    __tablename__ = "audit_seal"
    __table_args__ = (Index("uq_audit_seal_batch_position", "batch", "position", unique=True),)

    entry_id: UUID = Field(primary_key=True)
    batch: int = Field(sa_type=BigInteger)
    position: int
    entry_hash: bytes = Field(sa_type=LargeBinary)


class AuditDrop(SQLModel, table=True):
    """That retention dropped the entries of a batch. `hashes` are their SHA-256 values, 32 bytes each, in order."""

    __tablename__ = "audit_drop"

    batch: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    dropped_at: datetime = time_field()
    hashes: bytes = Field(sa_type=LargeBinary)
