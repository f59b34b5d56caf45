"""Declarations (自主申报): what people and organisations say about themselves through the city's portal.

As in documents, `body` holds the public fields and `sealed` the personal ones.
"""

from uuid import UUID

from sqlalchemy import Index, LargeBinary
from sqlmodel import Field

from backend.core.enums import DeclarationState, Kind, WithdrawalReason
from backend.models.base import Json, SQLModel, datetime, enum_field, json_field, sealed_field, time_field


class Declaration(SQLModel, table=True):
    """The current version of one declaration. `account_id` is the channel that handed it over.

    `grid_id` is derived: that of the house it names, else that of its point, else absent. The indexes are those of
    `Document`. `declared_at` is the channel's word for when the person declared it, `created_at` and `updated_at` are
    ours. An ended declaration may have been emptied; its id is never used again.
    """

    __tablename__ = "declaration"
    __table_args__ = (
        Index("ix_declaration_account_id_id", "account_id", "id"),
        Index("ix_declaration_grid_id_id", "grid_id", "id"),
        Index("ix_declaration_kind_natural_key", "kind", "natural_key"),
    )

    id: UUID = Field(primary_key=True)
    kind: Kind = enum_field(Kind)
    grid_id: str | None = Field(default=None, foreign_key="grid.id", max_length=15)
    version: int
    state: DeclarationState = enum_field(DeclarationState, default=DeclarationState.IN_FORCE)
    account_id: UUID = Field(foreign_key="account.id")
    body: Json = json_field()
    sealed: bytes | None = sealed_field(default=None)
    id_index: bytes | None = Field(default=None, sa_type=LargeBinary, index=True)
    phone_index: bytes | None = Field(default=None, sa_type=LargeBinary, index=True)
    block_index: bytes | None = Field(default=None, sa_type=LargeBinary, index=True)
    name_year_index: bytes | None = Field(default=None, sa_type=LargeBinary, index=True)
    name_address_index: bytes | None = Field(default=None, sa_type=LargeBinary, index=True)
    natural_key: str | None = Field(default=None, max_length=64)
    declared_at: datetime = time_field()
    created_at: datetime = time_field()
    updated_at: datetime = time_field()
    ended_at: datetime | None = time_field(default=None)
    end_reason: WithdrawalReason | None = enum_field(WithdrawalReason, default=None)


class DeclarationVersion(SQLModel, table=True):
    """One version of a declaration, appended and never edited, so that a verdict can be repeated."""

    __tablename__ = "declaration_version"

    declaration_id: UUID = Field(foreign_key="declaration.id", primary_key=True)
    version: int = Field(primary_key=True)
    grid_id: str | None = Field(default=None, max_length=15)
    body: Json = json_field()
    sealed: bytes | None = sealed_field(default=None)
    declared_at: datetime = time_field()
    created_at: datetime = time_field()
