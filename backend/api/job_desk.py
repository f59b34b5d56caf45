"""The queue of record for operators and supervisors: how deep, how old, how often it failed, and what may be done."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from backend.api.deps import DbSession, allowed
from backend.api.fields import After
from backend.core.enums import JobState
from backend.models import Job
from backend.services import job_desk as desk
from backend.services.sessions import Caller

router = APIRouter(prefix="/jobs/v1", tags=["后台任务 jobs"])

Code = Annotated[str | None, Query(max_length=64, pattern=r"^[A-Za-z0-9_.]*$")]


class JobShown(BaseModel):
    """`key` names what the job is about; `reason` is a code of docs/errors.md, or the name of an unforeseen fault."""

    id: UUID
    name: str
    key: str
    state: JobState
    reason: str | None
    attempts: int
    max_attempts: int
    priority: int
    not_before: datetime
    created_at: datetime
    finished_at: datetime | None
    request_id: str | None


class JobList(BaseModel):
    """`next` is the `before` of the following page, None on the last one."""

    jobs: list[JobShown]
    next: UUID | None


class DepthShown(BaseModel):
    """Jobs of one name and state. `failures`: attempts of jobs of that name that failed, ever."""

    name: str
    state: JobState
    number: int
    oldest_s: float
    failures: int


@router.get("/depths", summary="What is not done, by name and state 任务积压")
def read_depths(session: DbSession, _: Annotated[Caller, Depends(allowed("jobs.depths"))]) -> list[DepthShown]:
    return [DepthShown.model_validate(depth, from_attributes=True) for depth in desk.depths(session)]


@router.get("/jobs", summary="Jobs, the newest first 任务列表")
def list_jobs(
    session: DbSession,
    _: Annotated[Caller, Depends(allowed("jobs.list"))],
    name: Code = None,
    state: JobState | None = None,
    reason: Code = None,
    before: After = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> JobList:
    found = desk.listed(session, name=name, state=state, reason=reason, before=before, limit=limit)
    return JobList(jobs=[_shown(job) for job in found], next=found[-1].id if len(found) == limit else None)


@router.post("/jobs/{job_id}/retry", summary="Another full set of attempts 重试")
def retry_job(session: DbSession, caller: Annotated[Caller, Depends(allowed("jobs.retry"))], job_id: UUID) -> JobShown:
    return _shown(desk.retry(session, caller=caller, job_id=job_id))


@router.post("/jobs/{job_id}/cancel", summary="End a job that is not done 取消")
def cancel_job(
    session: DbSession, caller: Annotated[Caller, Depends(allowed("jobs.cancel"))], job_id: UUID
) -> JobShown:
    return _shown(desk.cancel(session, caller=caller, job_id=job_id))


def _shown(job: Job) -> JobShown:
    return JobShown.model_validate(job, from_attributes=True)
