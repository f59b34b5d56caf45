"""Territory: division units, grids with their dates, who holds which grid, and departments."""

from uuid import UUID

from sqlalchemy import BigInteger, Index
from sqlmodel import Field

from backend.core.ids import new_id
from backend.models.base import Json, SQLModel, datetime, json_field, time_field


class TerritoryUnit(SQLModel, table=True):
    """A city, district, street or community by its division code (scheme GB/T 2260 and its statistical extension)."""

    __tablename__ = "territory_unit"

    code: str = Field(primary_key=True, max_length=12)
    scheme: str = Field(max_length=32)
    level: str = Field(max_length=16)
    name: str = Field(max_length=64)
    parent_code: str | None = Field(default=None, foreign_key="territory_unit.code", max_length=12, index=True)


class Department(SQLModel, table=True):
    """A unit that owns datasets, handles cases, or both."""

    __tablename__ = "department"

    code: str = Field(primary_key=True, max_length=32)
    name: str = Field(max_length=64)
    territory_code: str | None = Field(default=None, foreign_key="territory_unit.code", max_length=12)


class Grid(SQLModel, table=True):
    """A grid by its 15-digit code: 6 district + 3 street + 3 community + 3 sequence. Splits and merges end a row.

    `polygon` is a GeoJSON geometry in WGS-84; `synthetic` says that it was generated and is no official boundary.
    """

    __tablename__ = "grid"

    id: str = Field(primary_key=True, max_length=15)
    name: str = Field(max_length=64)
    community_code: str = Field(foreign_key="territory_unit.code", max_length=12, index=True)
    responsible_unit: str = Field(foreign_key="department.code", max_length=32)
    polygon: Json = json_field()
    synthetic: bool = True
    starts_at: datetime = time_field()
    ends_at: datetime | None = time_field(default=None)


class GridChange(SQLModel, table=True):
    """A split or merge: all that lies in `sources` moves to `targets`, where nothing says which to the default one.

    `ends_at` is when the sources end. `moved` counts versions that were written; without `finished_at` it runs still.
    """

    __tablename__ = "grid_change"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    sources: list[str] = json_field()
    targets: list[str] = json_field()
    default_grid_id: str = Field(foreign_key="grid.id", max_length=15)
    actor: str = Field(max_length=64)
    started_at: datetime = time_field()
    ends_at: datetime = time_field()
    moved: int = 0
    finished_at: datetime | None = time_field(default=None)


class Membership(SQLModel, table=True):
    """That an account works a grid, from when to when. `epoch` grows with each new term in the same grid."""

    __tablename__ = "membership"
    __table_args__ = (Index("uq_membership_account_grid_epoch", "account_id", "grid_id", "epoch", unique=True),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    account_id: UUID = Field(foreign_key="account.id", index=True)
    grid_id: str = Field(foreign_key="grid.id", max_length=15, index=True)
    epoch: int = Field(sa_type=BigInteger)
    starts_at: datetime = time_field()
    ends_at: datetime | None = time_field(default=None)
