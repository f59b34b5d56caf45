"""The queue of record. Celery carries wake-ups only; what must be done is in these rows."""

from uuid import UUID

from sqlalchemy import BigInteger, Index, text
from sqlmodel import Field

from backend.core.enums import JobState
from backend.core.ids import new_id
from backend.models.base import Json, SQLModel, datetime, enum_field, json_field, time_field


class Job(SQLModel, table=True):
    """One thing to do. `key` makes it unique per name, so asking twice does it once.

    `fence` grows with every claim: a worker that lost its lease cannot finish the job for its successor.
    """

    __tablename__ = "job"
    __table_args__ = (
        Index("uq_job_name_key", "name", "key", unique=True),
        Index(
            "ix_job_waiting",
            "name",
            "priority",
            "attempts",
            "not_before",
            postgresql_where=text("state IN ('ready', 'running')"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    name: str = Field(max_length=64)
    key: str = Field(max_length=128)
    payload: Json = json_field()
    state: JobState = enum_field(JobState, default=JobState.READY)
    priority: int = 100
    not_before: datetime = time_field()
    attempts: int = 0
    max_attempts: int = 5
    lease_until: datetime | None = time_field(default=None)
    fence: int = 0
    reason: str | None = Field(default=None, max_length=500)
    request_id: str | None = Field(default=None, max_length=64)
    created_at: datetime = time_field()
    finished_at: datetime | None = time_field(default=None)


class JobTally(SQLModel, table=True):
    """Attempts that failed, by name of the job. Done jobs are removed after a while; this stays."""

    __tablename__ = "job_tally"

    name: str = Field(primary_key=True, max_length=64)
    failures: int = Field(default=0, sa_type=BigInteger)


class BeatSlot(SQLModel, table=True):
    """That a scheduled job's time slot was taken: a doubled beat does nothing twice."""

    __tablename__ = "beat_slot"

    name: str = Field(primary_key=True, max_length=64)
    slot: datetime = time_field(primary_key=True)
