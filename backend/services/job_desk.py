"""Jobs as the people see them who keep them running: what waits and why, another try, and an end by decision.

A job names ids and codes only, and belongs to no place, so whoever may look sees all of them; what a job is about
stays behind the rights of its own routes. What a law or a change of keys demands (`PROTECTED`) is nobody's to cancel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.enums import JobState
from backend.core.errors import NotFound, ZhiwangError
from backend.models import Job
from backend.services import audit
from backend.services.overview import job_failures, jobs_by_name
from backend.services.sessions import Caller

PROTECTED = ("life.", "trust.", "sync.republish", "media.forget_uploads", "registry.forget_upload")
"""Erasure, retention and subject access with what follows from them, and the rotation of keys."""


class JobNotIn(ZhiwangError):
    """What is asked for does not fit the state of the job. `state` is the one it is in."""

    code = "job_state"
    status = 409
    title_zh = "任务当前状态不允许此操作，请刷新后再试"
    title_en = "The job is in a state that does not allow this; read it again"


class JobProtected(ZhiwangError):
    """The job does what a law or the change of keys demands."""

    code = "job_protected"
    status = 409
    title_zh = "该任务为依法或密钥轮换必须执行的任务，不能取消"
    title_en = "The job has to be done by law or for the change of keys, and cannot be cancelled"


@dataclass(frozen=True, slots=True)
class Depth:
    """Jobs of one name and state, the age of the oldest in seconds, and attempts of that name that failed, ever."""

    name: str
    state: JobState
    number: int
    oldest_s: float
    failures: int


def depths(session: Session) -> list[Depth]:
    """What is neither done nor cancelled, by name and state."""
    failed = job_failures(session)
    return [
        Depth(name, JobState(state), number, seconds, failed.get(name, 0))
        for name, state, number, seconds in jobs_by_name(session)
    ]


def listed(
    session: Session, *, name: str | None, state: JobState | None, reason: str | None, before: UUID | None, limit: int
) -> Sequence[Job]:
    """Jobs, the newest first, below the id `before`."""
    query = select(Job).order_by(col(Job.id).desc()).limit(limit)
    for column, value in ((Job.name, name), (Job.state, state), (Job.reason, reason)):
        query = query if value is None else query.where(col(column) == value)
    return session.exec(query if before is None else query.where(col(Job.id) < before)).all()


def retry(session: Session, *, caller: Caller, job_id: UUID) -> Job:
    """Give a dead or cancelled job all its attempts anew. `NotFound`; `JobNotIn` any other state."""
    return _changed(session, caller, job_id, _RETRY, "job_retried")


def cancel(session: Session, *, caller: Caller, job_id: UUID) -> Job:
    """End a job that is not done. Its key stays taken: asking for the same again does nothing, `retry` does.

    One that runs loses its lease, so its work is rolled back when it ends. `NotFound`; `JobNotIn` where it is done or
    cancelled; `JobProtected`.
    """
    job = session.get(Job, job_id)
    if job is not None and job.name.startswith(PROTECTED):
        raise JobProtected
    return _changed(session, caller, job_id, _CANCEL, "job_cancelled")


def _changed(session: Session, caller: Caller, job_id: UUID, statement: TextClause, action: str) -> Job:
    """One statement decides, so that a worker that ends the job at the same moment is before it or after it."""
    job = session.get(Job, job_id)
    if job is None:
        raise NotFound
    changed = session.connection().execute(statement, {"id": job_id, "now": now()}).rowcount
    session.refresh(job)
    if not changed:
        raise JobNotIn(state=job.state.value)
    audit.record(
        session,
        actor=str(caller.account_id),
        action=action,
        object_type="job",
        object_id=str(job_id),
        name=job.name,
        attempts=job.attempts,
    )
    return job


_RETRY = text(
    """
    UPDATE job SET state = 'ready', attempts = 0, not_before = :now, finished_at = NULL, reason = NULL
    WHERE id = :id AND state IN ('dead', 'cancelled')
    """
)
_CANCEL = text(
    """
    UPDATE job SET state = 'cancelled', reason = 'cancelled', finished_at = :now, lease_until = NULL, fence = fence + 1
    WHERE id = :id AND state IN ('ready', 'running', 'dead')
    """
)
