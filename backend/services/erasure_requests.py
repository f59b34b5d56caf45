"""Asking for an erasure, and the second person's decision. What is done then is in `backend.services.erasure`."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, literal, or_
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import ErasureReason, ErasureState, SubjectType
from backend.core.errors import Forbidden, NotFound, ZhiwangError
from backend.core.ids import new_id
from backend.kinds import identity_of
from backend.models import Citizen, Declaration, Document, Erasure, Report
from backend.services import audit
from backend.services.erasure import ERASE_JOB
from backend.services.life_schemas import ErasurePage, ErasureRequest, ErasureView, Subject
from backend.services.records import id_index
from backend.services.scope import in_territory, sees_whole_city
from backend.services.sealing import human
from backend.services.sessions import Caller


class SecondPersonNeeded(Forbidden):
    """Nobody approves what he asked for himself."""

    code = "second_person_needed"
    title_zh = "须由另一位人员审批，申请人不能审批自己的申请"
    title_en = "Somebody else than who asked has to decide"


@dataclass(frozen=True, slots=True)
class Named:
    """How a request names its subject in the database: without an identity number."""

    subject_type: SubjectType
    document_id: UUID | None = None
    citizen_id: UUID | None = None
    subject: bytes | None = None
    id_index: bytes | None = None


class ErasureDecided(ZhiwangError):
    code = "erasure_decided"
    status = 409
    title_zh = "该删除申请已经审批，不能再次处理"
    title_en = "The erasure was decided already"


def ask(session: Session, *, caller: Caller, request: ErasureRequest) -> ErasureView:
    """Write down that a steward asks for an erasure. `NotFound` for a subject outside his territory."""
    named = named_subject(session, caller, request.subject)
    row = Erasure(
        id=new_id(),
        subject_type=named.subject_type,
        document_id=named.document_id,
        citizen_id=named.citizen_id,
        subject=named.subject,
        id_index=named.id_index,
        reason=request.reason,
        state=ErasureState.REQUESTED,
        requested_by=caller.account_id,
        requested_at=now(),
    )
    session.add(row)
    session.flush()
    _audit(session, str(caller.account_id), "erasure_requested", row)
    return _view(row)


def ask_for_citizen(session: Session, *, citizen_id: UUID) -> None:
    """A citizen asks to be erased; nothing where he asked before and nobody has decided."""
    waits = select(Erasure.id).where(Erasure.citizen_id == citizen_id, Erasure.state == ErasureState.REQUESTED)
    if session.exec(waits).first() is not None:
        return
    row = Erasure(
        id=new_id(),
        subject_type=SubjectType.CITIZEN,
        citizen_id=citizen_id,
        reason=ErasureReason.SUBJECT_REQUEST,
        state=ErasureState.REQUESTED,
        requested_at=now(),
    )
    session.add(row)
    session.flush()
    _audit(session, "citizen", "erasure_requested", row)


def named_subject(session: Session, caller: Caller, subject: Subject) -> Named:
    """What names a subject. `NotFound` for who is not known in the caller's territory.

    Who sees the whole city may name anybody, and records that were deleted. Others name whom a living record, a
    declaration or a report of their territory is about; then the request goes for all of him, wherever it lies.
    """
    if subject.document_id is not None:
        if not _recorded(session, caller, col(Document.id) == subject.document_id):
            raise NotFound
        return Named(SubjectType.DOCUMENT, document_id=subject.document_id)
    if subject.citizen_id is not None:
        if session.get(Citizen, subject.citizen_id) is None or not _reported(session, caller, subject.citizen_id):
            raise NotFound
        return Named(SubjectType.CITIZEN, citizen_id=subject.citizen_id)
    identity = identity_of({"id_type": subject.id_type, "id_number": subject.id_number})
    if identity is None:
        raise NotFound
    found, index = human(identity.id_type, identity.id_number), id_index(identity)
    known = _recorded(session, caller, col(Document.id_index) == index) or _declared(session, caller, index)
    if not sees_whole_city(caller) and not known:
        raise NotFound
    return Named(SubjectType.HUMAN, subject=found, id_index=index)


def _recorded(session: Session, caller: Caller, about: ColumnElement[bool]) -> bool:
    living = or_(literal(sees_whole_city(caller)), col(Document.deleted).is_(False))
    seen = select(Document.id).where(about, living, in_territory(Document.grid_id, caller))
    return session.exec(seen).first() is not None


def _declared(session: Session, caller: Caller, index: bytes) -> bool:
    seen = select(Declaration.id).where(Declaration.id_index == index, in_territory(Declaration.grid_id, caller))
    return session.exec(seen).first() is not None


def _reported(session: Session, caller: Caller, citizen_id: UUID) -> bool:
    if sees_whole_city(caller):
        return True
    seen = select(Report.id).where(Report.citizen_id == citizen_id, in_territory(Report.grid_id, caller))
    return session.exec(seen).first() is not None


def approve(session: Session, *, caller: Caller, erasure_id: UUID) -> ErasureView:
    """Let an erasure run. `SecondPersonNeeded` for who asked for it, `ErasureDecided` where it was decided."""
    row = _decide(session, caller, erasure_id, ErasureState.APPROVED)
    jobs.enqueue(session, ERASE_JOB, key=str(row.id), erasure_id=str(row.id))
    return _view(row)


def refuse(session: Session, *, caller: Caller, erasure_id: UUID) -> ErasureView:
    """Refuse an erasure; the errors are those of `approve`."""
    return _view(_decide(session, caller, erasure_id, ErasureState.REFUSED))


def read(session: Session, *, erasure_id: UUID) -> ErasureView:
    """One erasure. `NotFound` where there is none."""
    row = session.get(Erasure, erasure_id)
    if row is None:
        raise NotFound
    return _view(row)


def list_erasures(session: Session, *, state: ErasureState | None, limit: int, before: UUID | None) -> ErasurePage:
    """A page of erasures, newest first."""
    page = select(Erasure).order_by(col(Erasure.id).desc()).limit(limit + 1)
    if state is not None:
        page = page.where(Erasure.state == state)
    if before is not None:
        page = page.where(col(Erasure.id) < before)
    rows = session.exec(page).all()
    more = rows[limit - 1].id if len(rows) > limit else None
    return ErasurePage(erasures=[_view(row) for row in rows[:limit]], next=more)


def _decide(session: Session, caller: Caller, erasure_id: UUID, state: ErasureState) -> Erasure:
    row = session.exec(select(Erasure).where(Erasure.id == erasure_id).with_for_update()).first()
    if row is None:
        raise NotFound
    if row.requested_by == caller.account_id:
        raise SecondPersonNeeded
    if row.state is not ErasureState.REQUESTED:
        raise ErasureDecided
    row.state, row.decided_by, row.decided_at = state, caller.account_id, now()
    session.flush()
    _audit(session, str(caller.account_id), f"erasure_{state.value}", row)
    return row


def _audit(session: Session, actor: str, action: str, row: Erasure) -> None:
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="erasure",
        object_id=str(row.id),
        subject_type=row.subject_type.value,
        reason=row.reason.value,
    )


def _view(row: Erasure) -> ErasureView:
    return ErasureView.model_validate(row, from_attributes=True)
