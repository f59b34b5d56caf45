"""What a release adds to data of before: asked for once after an upgrade, done by jobs that may run twice."""

from uuid import UUID

from sqlmodel import Session, col, select

from backend import jobs
from backend.core.enums import CaseState, VerificationState
from backend.core.ids import new_id
from backend.models import Case, VerificationRequest
from backend.services import audit

INDEX_JOB = "sync.index_links"
FIRST_ID = UUID(int=0)


def request_backfill(session: Session, *, actor: str) -> list[jobs.NewJob]:
    """Have the references of older records indexed, and what waits published as tasks. Gives the jobs."""
    run = new_id()
    asked = [jobs.NewJob(INDEX_JOB, f"{run}:{FIRST_ID}", {"run": str(run), "after": str(FIRST_ID)})]
    requests = select(VerificationRequest.id).where(VerificationRequest.state == VerificationState.OPEN)
    asked += [
        jobs.NewJob("sync.project_verification", f"{found}:{run}", {"request_id": str(found)})
        for found in session.exec(requests)
    ]
    waiting = select(Case.id, Case.version).where(Case.state == CaseState.CHECKING, col(Case.grid_id).is_not(None))
    asked += [
        jobs.NewJob("sync.project_check", f"{case_id}:{run}", {"case_id": str(case_id), "version": version})
        for case_id, version in session.exec(waiting)
    ]
    jobs.enqueue_many(session, asked)
    audit.record(session, actor=actor, action="backfill_requested", object_type="server", object_id=str(run))
    return asked
