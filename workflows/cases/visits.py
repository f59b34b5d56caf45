"""Looks on site (上门核实): whoever holds the grid is asked before a difference becomes a case."""

from uuid import UUID

from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import Kind, SourceType, TaskResult, TaskState
from backend.core.ids import new_id
from backend.models import RegistrationStandard, Settlement, Verdict, Visit
from backend.services import audit
from backend.services.counterparts import Version, records_about
from workflows.cases.steps import SYSTEM
from workflows.deadlines.service import deadline

PROJECT_JOB = "sync.project_visit"


def record_of(session: Session, verdict: Verdict) -> Version | None:
    """The record that a worker can be sent to: the very one of the verdict, or that of the same human or thing as a
    declaration. None for an event, which is looked at by who handles it, and for a citizen's report, which is
    nobody's."""
    if verdict.kind is Kind.EVENT or verdict.source_type is SourceType.REPORT:
        return None
    if verdict.source_type is SourceType.DOCUMENT:
        return Version(verdict.source_id, verdict.source_version)
    return next(iter(records_about(session, verdict.source_id)), None)


def need_not_be_asked(session: Session, verdict: Verdict) -> bool:
    """Whether no worker is to be asked: there is no record to be looked at, or who has confirmed the same finding of it
    has given his answer."""
    record = record_of(session, verdict)
    if record is None:
        return True
    answered = select(Visit.id).where(
        Visit.document_id == record.id,
        Visit.finding == verdict.verdict.value,
        Visit.result == TaskResult.CONFIRMED,
    )
    return session.exec(answered).first() is not None


def ask(session: Session, verdict: Verdict, standard: RegistrationStandard) -> Visit:
    """Ask for a look, to be taken within the limit of a standard. One that is open already stands."""
    record = record_of(session, verdict)
    assert record is not None, "whoever asks has looked whether somebody can be asked"
    visit = _open_one(session, record.id)
    if visit is not None:
        return visit
    moment = now()
    visit = Visit(
        id=new_id(),
        verdict_id=verdict.id,
        document_id=record.id,
        kind=verdict.kind,
        version=record.version,
        finding=verdict.verdict.value,
        due_at=deadline(session, start=moment, amount=standard.limit_amount, clock=standard.limit_clock),
        created_at=moment,
    )
    session.add(visit)
    session.flush()
    noted(session, visit, actor=SYSTEM, action="visit_asked")
    return visit


def end(session: Session, source_type: SourceType, source_id: UUID, result: TaskResult) -> None:
    """End the look that is open about an entry, if any, as the question has gone. That of a declaration stays where it
    is also asked for another entry, such as the record itself."""
    visit = _open_one(session, source_id) if source_type is SourceType.DOCUMENT else _open_for(session, source_id)
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


def _open_for(session: Session, source_id: UUID) -> Visit | None:
    """The open look that one entry alone was settled as."""
    other = aliased(Settlement)
    of_others = select(other.id).where(
        other.visit_id == Visit.id, other.source_id != source_id, col(other.superseded_at).is_(None)
    )
    asked_for = select(Settlement.visit_id).where(Settlement.source_id == source_id)
    query = select(Visit).where(col(Visit.id).in_(asked_for), Visit.state == TaskState.OPEN, ~of_others.exists())
    return session.exec(query.with_for_update()).first()
