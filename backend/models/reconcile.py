"""Bulk reconciliation: runs, the links they found, and what they counted. Ids, codes and counts only, never a value."""

from uuid import UUID

from sqlalchemy import BigInteger, Index, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from backend.core.enums import LinkRule, ReconcileEngine, ReconciliationPhase, ReconciliationState
from backend.core.ids import new_id
from backend.models.base import Json, SQLModel, datetime, enum_field, json_field, time_field


class LinkModel(SQLModel, table=True):
    """What the probabilistic step compares and how much each likeness weighs, as data. One version is active."""

    __tablename__ = "link_model"

    version: int = Field(primary_key=True)
    active: bool = False
    rules: Json = json_field()
    created_at: datetime = time_field()


class Reconciliation(SQLModel, table=True):
    """One run over a dataset: all of a territory, or some grids of it, against one snapshot.

    `territory_code` is what all codes of its grids begin with: who sees that territory sees the run.
    `phase`, `cursor` and `step` say where it goes on; each step moves them in the transaction of its effects, so a step
    that dies is made again, and one that was made twice counts once. `tally` is what the steps counted beside the
    grids: `fields` by name with `compared` and `differs`, `pairs` that were scored, `parts` that there are.
    `failure` is an error code.
    """

    __tablename__ = "reconciliation"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    dataset_code: str = Field(foreign_key="dataset.code", max_length=32, index=True)
    snapshot_id: UUID = Field(foreign_key="snapshot.id")
    model_version: int = Field(foreign_key="link_model.version")
    engine: ReconcileEngine = enum_field(ReconcileEngine)
    territory_code: str = Field(max_length=15)
    grids: list[str] | None = json_field(default=None)
    state: ReconciliationState = enum_field(ReconciliationState)
    phase: ReconciliationPhase = enum_field(ReconciliationPhase)
    cursor: str = Field(default="", max_length=64)
    step: int = 0
    tally: Json = json_field(default_factory=dict)
    failure: str | None = Field(default=None, max_length=64)
    requested_by: UUID = Field(foreign_key="account.id")
    requested_at: datetime = time_field()
    finished_at: datetime | None = time_field(default=None)


class ReconciliationLink(SQLModel, table=True):
    """A collected record and the business record it was found to be. A document has one link in a run at most.

    `record_id` is no foreign key: a link outlives the rows of its snapshot. `score` is the probability of a probable
    link. `differs` names the fields on which the two disagree, null until they were compared.
    """

    __tablename__ = "reconciliation_link"
    __table_args__ = (Index("ix_reconciliation_link_run_id_record_id", "run_id", "record_id"),)

    run_id: UUID = Field(primary_key=True, foreign_key="reconciliation.id")
    document_id: UUID = Field(primary_key=True)
    record_id: int = Field(sa_type=BigInteger)
    grid_id: str = Field(max_length=15)
    rule: LinkRule = enum_field(LinkRule)
    score: float | None = None
    differs: list[str] | None = Field(default=None, sa_type=ARRAY(Text))


class ReconciliationRecord(SQLModel, table=True):
    """A business record without a link in a grid that has documents without one: work of the probabilistic step."""

    __tablename__ = "reconciliation_record"

    run_id: UUID = Field(primary_key=True, foreign_key="reconciliation.id")
    grid_id: str = Field(primary_key=True, max_length=15)
    record_id: int = Field(primary_key=True, sa_type=BigInteger)


class ReconciliationGrid(SQLModel, table=True):
    """What a run counted in one grid. `part` is the partition of the probabilistic step, null where none is needed.

    `documents` collected and `records` of the snapshot; `by_key`, `by_phone` and `probable` links; `conflicting` links
    with a field that differs; `duplicates` documents whose key an older one has; `record_duplicates` records with the
    phone and block of another; `records_linked` records that a link names.
    """

    __tablename__ = "reconciliation_grid"

    run_id: UUID = Field(primary_key=True, foreign_key="reconciliation.id")
    grid_id: str = Field(primary_key=True, max_length=15)
    documents: int = 0
    by_key: int = 0
    by_phone: int = 0
    probable: int = 0
    conflicting: int = 0
    duplicates: int = 0
    records: int = 0
    records_linked: int = 0
    record_duplicates: int = 0
    part: int | None = None
