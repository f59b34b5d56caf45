"""Business records: datasets that departments own, their snapshots, and the records themselves."""

from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, LargeBinary
from sqlmodel import Field

from backend.core.enums import DataGrade, ImportState, Kind, LoadMode
from backend.core.ids import new_id
from backend.models.base import Json, SQLModel, datetime, enum_field, json_field, sealed_field, time_field


class Dataset(SQLModel, table=True):
    """A department's dataset. `current_snapshot_id` is the one pointer readers follow: a load swaps it at once.

    `columns` are `ColumnDefinition`s: of a base dataset what the department's files call its fields, else all there is.
    `kind` and `key` are those of a dataset of a department's own. `history` is how many snapshots before the current
    one keep their records. `pull` is a `PullDefinition`, `pulled_at` when it was last read whole or found unchanged,
    and `watermark` how far the records there are go.
    """

    __tablename__ = "dataset"

    code: str = Field(primary_key=True, max_length=32)
    name: str = Field(max_length=64)
    department_code: str = Field(foreign_key="department.code", max_length=32)
    legal_basis: str = Field(max_length=255)
    current_snapshot_id: UUID | None = None
    kind: Kind | None = enum_field(Kind, default=None)
    key: str | None = Field(default=None, max_length=64)
    columns: list[Json] = json_field(default_factory=list)
    grade: DataGrade = enum_field(DataGrade, default=DataGrade.IMPORTANT)
    refresh_days: int | None = None
    history: int = 1
    pull: Json | None = json_field(default=None, nullable=True)
    pulled_at: datetime | None = time_field(default=None)
    watermark: str | None = Field(default=None, max_length=64)


class Snapshot(SQLModel, table=True):
    """One load of a dataset: when it was taken, what was accepted, and where the refused rows are kept.

    `reasons` are line, column and code of the first refused rows; `failure` says why nothing was taken over. `columns`
    are the names of those that the file had; `fewer` says that less than the snapshot before is meant. An incremental
    load has `carried` records of `based_on` besides those it `accepted`, and left `deleted` ones of it out.
    """

    __tablename__ = "snapshot"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    dataset_code: str = Field(foreign_key="dataset.code", max_length=32, index=True)
    taken_at: datetime = time_field()
    loaded_at: datetime | None = time_field(default=None)
    state: ImportState = enum_field(ImportState)
    accepted: int = 0
    rejected: int = 0
    reject_key: str | None = Field(default=None, max_length=255)
    reasons: list[Json] = json_field(default_factory=list)
    failure: str | None = Field(default=None, max_length=64)
    sha256: str = Field(max_length=64)
    columns: list[str] = json_field(default_factory=list)
    fewer: bool = False
    size_bytes: int | None = Field(default=None, sa_type=BigInteger)
    watermark: str | None = Field(default=None, max_length=64)
    mode: LoadMode = enum_field(LoadMode, default=LoadMode.FULL)
    based_on: UUID | None = None
    carried: int = 0
    deleted: int = 0

    @property
    def records(self) -> int:
        """How many records readers of this snapshot see."""
        return self.accepted + self.carried


class ImportProgress(SQLModel, table=True):
    """How far a load has come that is going on."""

    __tablename__ = "import_progress"

    snapshot_id: UUID = Field(primary_key=True)
    rows: int
    share: float | None = None
    at: datetime = time_field()


class BusinessRecord(SQLModel, table=True):
    """One row of a snapshot. `record_key` is the house code, USCC or component id; for people the hex blind index
    of id type and number. `phone_index`, `block_index`, `name_year_index` and `name_address_index` as in
    `Document`. `body` holds what is not personal.

    `content_digest` is a keyed hash of all fields: it tells a record that changed from one that did not, as two
    ciphertexts of one content differ. Rows from before it was kept have none, and count as changed. `sealed_in` is the
    snapshot that the ciphertexts of a record are bound to which was carried over from it, null where that is its own.
    """

    __tablename__ = "business_record"
    __table_args__ = (
        Index("uq_business_record_snapshot_id_record_key", "snapshot_id", "record_key", unique=True),
        Index("ix_business_record_snapshot_id_phone_index", "snapshot_id", "phone_index"),
        Index("ix_business_record_snapshot_id_block_index", "snapshot_id", "block_index"),
        Index("ix_business_record_snapshot_id_name_year_index", "snapshot_id", "name_year_index"),
        Index("ix_business_record_snapshot_id_name_address_index", "snapshot_id", "name_address_index"),
    )

    id: int | None = Field(default=None, sa_type=BigInteger, sa_column_args=[Identity(always=True)], primary_key=True)
    snapshot_id: UUID = Field(foreign_key="snapshot.id")
    record_key: str = Field(max_length=64)
    line: int
    body: Json = json_field()
    sealed: bytes | None = sealed_field(default=None)
    phone_index: bytes | None = Field(default=None, sa_type=LargeBinary)
    block_index: bytes | None = Field(default=None, sa_type=LargeBinary)
    name_year_index: bytes | None = Field(default=None, sa_type=LargeBinary)
    name_address_index: bytes | None = Field(default=None, sa_type=LargeBinary)
    content_digest: bytes | None = Field(default=None, sa_type=LargeBinary)
    sealed_in: UUID | None = None
