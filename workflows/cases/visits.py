"""Looks on site (上门核实): whoever holds the grid is asked before a difference becomes a case."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import Kind, SourceType, TaskResult, TaskState, VerdictKind
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
    """Whether no worker is to be asked: there is no record to be looked at, or who has confirmed it where the same was
    found has given his answer."""
    record = record_of(session, verdict)
    return record is None or _has_confirmed(session, verdict, record)


def confirmed_against(session: Session, verdict: Verdict) -> bool:
    """Whether a declaration differs from a record that its worker has confirmed. The record's own case, if any, is the
    one about the two of them."""
    if verdict.source_type is not SourceType.DECLARATION or verdict.verdict is not VerdictKind.SOURCES_DIFFER:
        return False
    record = record_of(session, verdict)
    return record is not None and _has_confirmed(session, verdict, record)


def ask(session: Session, verdict: Verdict, standard: RegistrationStandard) -> Visit:
    """Ask for a look, to be taken within the limit of a standard. One that is open already stands, also one
    that another worker process asks for at the same moment."""
    record = record_of(session, verdict)
    assert record is not None, "whoever asks has looked whether somebody can be asked"
    while (visit := _open_one(session, record.id)) is None:
        visit = _begun(session, verdict, record, standard)
        if visit is not None:
            noted(session, visit, actor=SYSTEM, action="visit_asked")
            return visit
    return visit


def end(session: Session, source_type: SourceType, source_id: UUID, result: TaskResult) -> None:
    """End the looks that are open about an entry, as the question has gone. One stays that is also asked for another
    entry, which ends it in its turn; but for a record that was corrected, as what is declared about it is checked again
    with the new version."""
    corrected = source_type is SourceType.DOCUMENT and result is TaskResult.CORRECTED
    for visit in _open_about(session, source_type, source_id):
        if corrected or not _asked_for_others(session, visit, source_id):
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


def _has_confirmed(session: Session, verdict: Verdict, record: Version) -> bool:
    """Whether a worker has confirmed the record where the same was found of it, or in a look that was asked for
    the same finding of this entry: one that is shared has the finding of the other."""
    same = select(Visit.id).where(Visit.document_id == record.id, Visit.finding == verdict.verdict.value)
    shared = (
        select(Visit.id)
        .join(Settlement, col(Settlement.visit_id) == Visit.id)
        .join(Verdict, col(Verdict.id) == Settlement.verdict_id)
        .where(Settlement.source_id == verdict.source_id, Verdict.verdict == verdict.verdict)
    )
    answered = (query.where(Visit.result == TaskResult.CONFIRMED) for query in (same, shared))
    return any(session.exec(query).first() is not None for query in answered)


def _begun(session: Session, verdict: Verdict, record: Version, standard: RegistrationStandard) -> Visit | None:
    """None where another one stands by now."""
    moment = now()
    values = {
        "id": new_id(),
        "verdict_id": verdict.id,
        "document_id": record.id,
        "kind": verdict.kind,
        "version": record.version,
        "finding": verdict.verdict.value,
        "state": TaskState.OPEN,
        "due_at": deadline(session, start=moment, amount=standard.limit_amount, clock=standard.limit_clock),
        "created_at": moment,
    }
    statement = insert(Visit).values(**values)
    statement = statement.on_conflict_do_nothing(index_elements=["document_id"], index_where=_OPEN)
    made = session.connection().execute(statement.returning(col(Visit.id))).first()
    return session.get_one(Visit, values["id"]) if made is not None else None


def _open_one(session: Session, document_id: UUID) -> Visit | None:
    query = select(Visit).where(Visit.document_id == document_id, Visit.state == TaskState.OPEN)
    return session.exec(query.with_for_update()).first()


def _open_about(session: Session, source_type: SourceType, source_id: UUID) -> Sequence[Visit]:
    """Locked, so that of two entries that share one and end at the same moment the later sees the other's end."""
    asked_for = select(Settlement.visit_id).where(Settlement.source_id == source_id)
    about = Visit.document_id == source_id if source_type is SourceType.DOCUMENT else col(Visit.id).in_(asked_for)
    query = select(Visit).where(about, Visit.state == TaskState.OPEN).order_by(col(Visit.id))
    return session.exec(query.with_for_update()).all()


def _asked_for_others(session: Session, visit: Visit, source_id: UUID) -> bool:
    """Whether another entry is settled as this look."""
    others = select(Settlement.id).where(
        Settlement.visit_id == visit.id, Settlement.source_id != source_id, col(Settlement.superseded_at).is_(None)
    )
    return session.exec(others).first() is not None


_OPEN = text("state = 'open'")
