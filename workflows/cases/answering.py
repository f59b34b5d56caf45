"""A worker's answer to a look on site that he was asked for, and what follows from it."""

from uuid import UUID

from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import Course, SourceType, TaskResult, TaskState
from backend.core.errors import NotFound
from backend.models import Document, Settlement, Verdict, Visit
from backend.services import territory
from backend.services.sealing import seal_value
from backend.services.sessions import Caller
from workflows.cases import considering, settling, sources, visits
from workflows.cases.errors import VisitDone
from workflows.cases.settling import Led, Settling
from workflows.cases.settling_schemas import VisitAnswer, VisitAnswered
from workflows.cases.sources import Reference

FOLLOW_JOB = "workflows.cases.visited"


def answer(session: Session, *, caller: Caller, visit_id: UUID, asked: VisitAnswer) -> VisitAnswered:
    """Say that the record is right as it was collected. Whoever finds it wrong corrects the record instead.

    `NotFound` for a look in a grid that the caller does not hold, `VisitDone` where it has been answered otherwise or
    the question has gone. The same answer of the same worker again changes nothing.
    """
    held = territory.held_grids(session, caller.account_id, at=now())
    query = select(Visit).join(Document).where(Visit.id == visit_id, col(Document.grid_id).in_(held))
    visit = session.exec(query.with_for_update(of=Visit)).first()
    if visit is None:
        raise NotFound
    if visit.state is TaskState.OPEN:
        _confirm(session, visit, caller, asked)
    elif (visit.result, visit.answered_by) != (TaskResult.CONFIRMED, caller.account_id):
        raise VisitDone(result=visit.result.value if visit.result else "")
    assert visit.done_at is not None
    return VisitAnswered(id=visit.id, state=visit.state, result=TaskResult.CONFIRMED, done_at=visit.done_at)


def _confirm(session: Session, visit: Visit, caller: Caller, asked: VisitAnswer) -> None:
    visit.state, visit.result, visit.done_at = TaskState.DONE, TaskResult.CONFIRMED, now()
    visit.answered_by = caller.account_id
    if asked.note is not None:
        visit.note = seal_value(session, visit.document_id.bytes, asked.note, context=visit.id.bytes)
    session.flush()
    visits.noted(session, visit, actor=str(caller.account_id), action="visit_answered")
    jobs.enqueue(session, FOLLOW_JOB, key=str(visit.id), visit_id=str(visit.id))


def follow_answer(session: Session, *, visit_id: UUID) -> None:
    """The worker stands by what he collected: the next rule decides, and where none asks for a case his value is
    accepted. Nothing where the record has moved on since. Running twice changes nothing."""
    visit = session.get_one(Visit, visit_id)
    asked_for = select(Settlement).where(Settlement.visit_id == visit_id, col(Settlement.superseded_at).is_(None))
    for settled in session.exec(asked_for.order_by(col(Settlement.source_id))).all():
        _follow_answer(session, visit, settled)


def _follow_answer(session: Session, visit: Visit, settled: Settlement) -> None:
    verdict = session.get_one(Verdict, settled.verdict_id)
    reference = Reference(verdict.source_type, verdict.source_id, verdict.source_version)
    entry = sources.load_entries(session, [reference]).get(reference)
    considering.lock_source(session, verdict.source_id)
    session.refresh(verdict)
    session.refresh(settled)
    gone = verdict.superseded_at or settled.superseded_at
    if entry is None or gone or not sources.is_in_force(session, reference):
        return
    led = considering.follow(session, verdict, entry, settled)
    if led.course is Course.NONE:
        declared = verdict.source_type is SourceType.DECLARATION
        led = Led(Course.NONE if declared else Course.ACCEPTED, "confirmed_on_site", led.rule_id)
    settling.settle(session, Settling(verdict, led), decided_by=visit.answered_by)
