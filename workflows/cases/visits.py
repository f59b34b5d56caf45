"""Looks on site (上门核实): whoever holds the grid is asked before a difference becomes a case."""

from uuid import UUID

from sqlmodel import Session, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import Kind, SourceType, TaskResult, TaskState
from backend.core.ids import new_id
from backend.models import RegistrationStandard, Verdict, Visit
from backend.services import audit
from workflows.cases.steps import SYSTEM
from workflows.deadlines.service import deadline

PROJECT_JOB = "sync.project_visit"


def need_not_be_asked(session: Session, verdict: Verdict) -> bool:
    """Whether no worker is to be asked: an event is looked at by who handles it, a citizen's report is nobody's, and
    who has confirmed the same finding of a record has given his answer."""
    if verdict.kind is Kind.EVENT or verdict.source_type is not SourceType.DOCUMENT or verdict.grid_id is None:
        return True
    answered = select(Visit.id).where(
        Visit.document_id == verdict.source_id,
        Visit.finding == verdict.verdict.value,
        Visit.result == TaskResult.CONFIRMED,
    )
    return session.exec(answered).first() is not None


def ask(session: Session, verdict: Verdict, standard: RegistrationStandard) -> Visit:
    """Ask for a look, to be taken within the limit of a standard. One that is open already stands."""
    visit = _open_one(session, verdict.source_id)
    if visit is not None:
        return visit
    moment = now()
    visit = Visit(
        id=new_id(),
        verdict_id=verdict.id,
        document_id=verdict.source_id,
        kind=verdict.kind,
        version=verdict.source_version,
        finding=verdict.verdict.value,
        due_at=deadline(session, start=moment, amount=standard.limit_amount, clock=standard.limit_clock),
        created_at=moment,
    )
    session.add(visit)
    session.flush()
    noted(session, visit, actor=SYSTEM, action="visit_asked")
    return visit


def end(session: Session, document_id: UUID, result: TaskResult) -> None:
    """End the look that is open, if any, as the question has gone."""
    visit = _open_one(session, document_id)
    if visit is not None:
        visit.state, visit.result, visit.done_at = TaskState.DONE, result, now()
        session.flush()
        noted(session, visit, actor=SYSTEM, action="visit_ended")


def noted(session: Session, visit: Visit, *, actor: str, action: str) -> None:
    """Audit a change, and have the handhelds of the grid told."""
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="visit",
        object_id=str(visit.id),
        document=str(visit.document_id),
        finding=visit.finding,
        result=visit.result.value if visit.result else None,
    )
    jobs.enqueue(session, PROJECT_JOB, key=f"{visit.id}:{visit.state.value}", visit_id=str(visit.id))


def _open_one(session: Session, document_id: UUID) -> Visit | None:
    query = select(Visit).where(Visit.document_id == document_id, Visit.state == TaskState.OPEN)
    return session.exec(query.with_for_update()).first()
