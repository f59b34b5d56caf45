"""Subject access: all that is held about one person, collected by a job into one sealed file that is fetched once."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import msgspec
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import AccessReason, FileState, SubjectType
from backend.core.errors import NotFound
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import AccessRequest
from backend.services import audit, erased, erasure, file_removal, sealed_files, subject_report
from backend.services.erasure_requests import named_subject
from backend.services.life_schemas import AccessAsked, AccessView
from backend.services.scope import sees_whole_city
from backend.services.sealing import erased_among
from backend.services.sessions import Caller

ACTOR = JOB = "life.access"


def ask(session: Session, *, caller: Caller, request: AccessAsked) -> AccessView:
    """Write down that a steward asks what is held about somebody. `NotFound` outside his territory."""
    named = named_subject(session, caller, request.subject)
    row = AccessRequest(
        id=new_id(),
        subject_type=named.subject_type,
        document_id=named.document_id,
        citizen_id=named.citizen_id,
        subject=named.subject,
        id_index=named.id_index,
        reason=request.reason,
        state=FileState.REQUESTED,
        requested_by=caller.account_id,
        requested_at=now(),
    )
    return _begin(session, row, actor=str(caller.account_id))


def ask_for_citizen(session: Session, *, citizen_id: UUID) -> None:
    """A citizen asks for himself; a steward of the whole city fetches the file and hands it over.

    Nothing while one waits for him.
    """
    waiting = (FileState.REQUESTED, FileState.READY)
    waits = select(AccessRequest.id).where(
        AccessRequest.citizen_id == citizen_id,
        col(AccessRequest.requested_by).is_(None),
        col(AccessRequest.state).in_(waiting),
    )
    if session.exec(waits).first() is not None:
        return
    row = AccessRequest(
        id=new_id(),
        subject_type=SubjectType.CITIZEN,
        citizen_id=citizen_id,
        reason=AccessReason.SUBJECT_REQUEST,
        state=FileState.REQUESTED,
        requested_at=now(),
    )
    _begin(session, row, actor="citizen")


def collect(session: Session, *, request_id: UUID) -> None:
    """Make the file. Nothing where it was made before; of who is erased meanwhile none is left.

    Reading takes as long as it takes, and an erasure that waited for it would keep every push waiting. So the gate is
    held only from the moment the file is noted: what was erased until then is seen here, what is erased afterwards
    finds the file.
    """
    row = session.exec(select(AccessRequest).where(AccessRequest.id == request_id).with_for_update()).first()
    if row is None:
        raise jobs.Discard("access_request_unknown")
    if row.state is not FileState.REQUESTED:
        return
    target = erasure.target_of(session, row)
    subjects = {target.subject, *(document_id.bytes for document_id in target.documents)}
    gone_before = erased_among(session, subjects)
    report = subject_report.collect(session, target)
    key = f"access/{request_id}"
    content = msgspec.json.format(msgspec.json.encode({"request": str(request_id), **report}), indent=2)
    sealed_files.keep(key, [content], context=_context(request_id))
    erased.hold_off(session)
    if erased_among(session, subjects) != gone_before:
        file_removal.remove_later(session, [key])
        row.subject, row.id_index, row.state, row.finished_at = target.subject, None, FileState.EXPIRED, now()
        return
    row.subject, row.id_index, row.object_key = target.subject, None, key
    row.counts = {name: len(part) for name, part in report.items() if isinstance(part, list)}
    row.state, row.finished_at = FileState.READY, now()
    row.expires_at = row.finished_at + timedelta(days=get_settings().access_report_days)
    _audit(session, ACTOR, "access_collected", row)


def read(session: Session, *, caller: Caller, request_id: UUID) -> AccessView:
    """A request of the caller's; for who sees the whole city also a citizen's own. `NotFound` for others."""
    return _view(_own(session, caller, request_id))


def fetch(session: Session, *, caller: Caller, request_id: UUID) -> Iterator[bytes]:
    """The file, once. `FileNotReady` before it is made, `FileGone` afterwards."""
    row = _own(session, caller, request_id, lock=True)
    sealed_files.check_ready(row.state, row.expires_at)
    assert row.object_key is not None
    row.state, row.fetched_at = FileState.FETCHED, now()
    _audit(session, str(caller.account_id), "access_fetched", row)
    return sealed_files.read(row.object_key, context=_context(request_id))


def _own(session: Session, caller: Caller, request_id: UUID, *, lock: bool = False) -> AccessRequest:
    query = select(AccessRequest).where(AccessRequest.id == request_id)
    row = session.exec(query.with_for_update() if lock else query).first()
    if row is None or not _his(row, caller):
        raise NotFound
    return row


def _his(row: AccessRequest, caller: Caller) -> bool:
    if row.requested_by is None:
        return sees_whole_city(caller)
    return row.requested_by == caller.account_id


def _begin(session: Session, row: AccessRequest, *, actor: str) -> AccessView:
    session.add(row)
    session.flush()
    jobs.enqueue(session, JOB, key=str(row.id), request_id=str(row.id))
    _audit(session, actor, "access_requested", row)
    return _view(row)


def _context(request_id: UUID) -> bytes:
    return b"access" + request_id.bytes


def _audit(session: Session, actor: str, action: str, row: AccessRequest) -> None:
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="access_request",
        object_id=str(row.id),
        subject_type=row.subject_type.value,
        reason=row.reason.value,
    )


def _view(row: AccessRequest) -> AccessView:
    return AccessView.model_validate(row, from_attributes=True)
