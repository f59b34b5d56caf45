"""What people decided about conflicts, quarantined rows and verification requests: appended, never edited."""

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index
from sqlmodel import Field

from backend.core.enums import Role
from backend.core.ids import new_id
from backend.models.base import SQLModel, datetime, enum_field, json_field, sealed_field, time_field


class ReviewStep(SQLModel, table=True):
    """One step of the review of a conflict, a quarantined row or a verification request, by a person or, without
    `role`, by the system.

    `actor` is an account. `choice` is which value of a conflict was chosen. `version_before` and `version` are those of
    the document around the step, equal where it changed nothing; `op` names the version it made. `detail` holds, sealed
    for whom they are about, the chosen value and a note in words. The steps of a quarantined row go with the row.
    """

    __tablename__ = "review_step"
    __table_args__ = (
        CheckConstraint(
            "num_nonnulls(conflict_id, quarantine_id, verification_id) = 1", name="ck_review_step_one_thing"
        ),
        Index("uq_review_step_conflict_id_number", "conflict_id", "number", unique=True),
        Index("uq_review_step_quarantine_id_number", "quarantine_id", "number", unique=True),
        Index("uq_review_step_verification_id_number", "verification_id", "number", unique=True),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    conflict_id: UUID | None = Field(default=None, foreign_key="conflict.id")
    quarantine_id: UUID | None = Field(
        default=None, sa_column_args=[ForeignKey("quarantine.id", ondelete="CASCADE")], nullable=True
    )
    verification_id: UUID | None = Field(default=None, foreign_key="verification_request.id")
    number: int
    action: str = Field(max_length=32)
    from_state: str = Field(max_length=32)
    to_state: str = Field(max_length=32)
    actor: UUID = Field(foreign_key="account.id")
    role: Role | None = enum_field(Role, default=None)
    reason: str = Field(max_length=32)
    choice: str | None = Field(default=None, max_length=32)
    version_before: int | None = None
    version: int | None = None
    op: UUID | None = None
    detail: bytes | None = sealed_field(default=None)
    at: datetime = time_field()


class ReviewCounter(SQLModel, table=True):
    """The number of the last review of a row that an account pushed. Bumped under its row lock, late in a transaction.

    So the numbers come in commit order, as those of a grid's feed do, and a handheld that reads on from one misses
    nothing.
    """

    __tablename__ = "review_counter"

    account_id: UUID = Field(primary_key=True, foreign_key="account.id")
    seq: int = Field(sa_type=BigInteger)


class RecordJoin(SQLModel, table=True):
    """A steward joined two records of one thing, or, with `undoes`, took such a join apart. Appended, never edited.

    The survivor keeps its id; the other one became a tombstone that names it. Versions are those before and after the
    act. `taken` are the fields of the survivor that changed by it.
    """

    __tablename__ = "record_join"
    __table_args__ = (Index("uq_record_join_undoes", "undoes", unique=True),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    survivor_id: UUID = Field(foreign_key="document.id", index=True)
    duplicate_id: UUID = Field(foreign_key="document.id", index=True)
    undoes: UUID | None = Field(default=None, foreign_key="record_join.id")
    survivor_before: int
    survivor_version: int
    duplicate_before: int
    duplicate_version: int
    taken: list[str] = json_field()
    actor: UUID = Field(foreign_key="account.id")
    role: Role = enum_field(Role)
    reason: str = Field(max_length=32)
    note: bytes | None = sealed_field(default=None)
    at: datetime = time_field()
