"""Records as the offices see them: one by its id, or those of a person by a whole number; masked unless their own.

Numbers are searched by blind index, so a search finds exactly the number and nobody can browse. Each search is in the
audit trail with the kind of number and how many records it found; neither the number nor its index, which would stay
there when the person is erased.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, false, or_
from sqlalchemy.orm import Mapped
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.enums import COLLECTED_KINDS, Kind, Reach, SourceType
from backend.core.errors import Malformed, NotFound
from backend.core.ids import new_id
from backend.kinds import KINDS, identity_of
from backend.kinds import Document as Fields
from backend.models import Case, Document
from backend.services import audit, territory
from backend.services.masking import masked_fields
from backend.services.record_schemas import RecordView, SearchHits, SearchRequest
from backend.services.records import StoredRow, id_index, open_rows, phone_index
from backend.services.scope import in_territory
from backend.services.sessions import Caller

MAX_HITS = 50


def read_record(session: Session, caller: Caller, document_id: UUID) -> RecordView:
    """One record. `NotFound` outside the caller's reach, for one that was deleted, and for an erased person's."""
    document, fields = open_record(session, caller, document_id)
    return _view(session, caller, document, fields)


def search(session: Session, caller: Caller, request: SearchRequest) -> SearchHits:
    """The records of a person. `Malformed` for a phone number that is none."""
    by, column, index = _wanted(request)
    query = select(Document).where(
        Document.kind == Kind.PERSON, column == index, col(Document.deleted).is_(False), in_reach(session, caller)
    )
    found = session.exec(query.order_by(col(Document.updated_at).desc()).limit(MAX_HITS)).all()
    opened = [(document, fields) for document, fields in _opened(session, found) if fields is not None]
    audit.record(
        session,
        actor=str(caller.account_id),
        action="records_searched",
        object_type="search",
        object_id=str(new_id()),
        by=by,
        hits=len(opened),
    )
    return SearchHits(hits=[_view(session, caller, document, fields) for document, fields in opened])


def open_record(
    session: Session, caller: Caller, document_id: UUID, *, open_cases_only: bool = False
) -> tuple[Document, Fields]:
    """A record in the caller's reach with its fields in the clear; errors as of `read_record`."""
    reach = in_reach(session, caller, open_cases_only=open_cases_only)
    query = select(Document).where(
        Document.id == document_id, col(Document.kind).in_(COLLECTED_KINDS), col(Document.deleted).is_(False), reach
    )
    for document, fields in _opened(session, session.exec(query).all()):
        if fields is not None:
            return document, fields
    raise NotFound


def in_reach(session: Session, caller: Caller, *, open_cases_only: bool = False) -> ColumnElement[bool]:
    """Whether a document lies in the caller's reach. A department's are those it has, or had, a case about."""
    ways: list[ColumnElement[bool]] = []
    if Reach.GRID in caller.reach:
        ways.append(col(Document.grid_id).in_(_held(session, caller)))
    if Reach.TERRITORY in caller.reach:
        ways.append(in_territory(Document.grid_id, caller))
    if Reach.DEPARTMENT in caller.reach and caller.department_code:
        ways.append(sent_to(caller, SourceType.DOCUMENT, Document.id, open_cases_only=open_cases_only))
    return or_(false(), *ways)


def sent_to(
    caller: Caller, source_type: SourceType, source_id: Any, *, open_cases_only: bool = False
) -> ColumnElement[bool]:
    """Whether the caller's department has, or had, a case about an entry; `source_id` is the column of its id."""
    about = and_(
        col(Case.source_type) == source_type,
        col(Case.source_id) == source_id,
        col(Case.department_code) == caller.department_code,
    )
    sent = and_(about, col(Case.closed_at).is_(None)) if open_cases_only else about
    return select(Case.id).where(sent).exists()


def _wanted(request: SearchRequest) -> tuple[str, Mapped[bytes | None], bytes]:
    if request.phone is not None:
        index = phone_index(request.phone)
        if index is None:
            raise Malformed("phone: too short")
        return "phone", col(Document.phone_index), index
    identity = identity_of({"id_type": request.id_type, "id_number": request.id_number})
    if identity is None:
        raise Malformed("id_number: blank")
    return "id_number", col(Document.id_index), id_index(identity)


def _opened(session: Session, documents: Sequence[Document]) -> list[tuple[Document, Fields | None]]:
    """Documents with their fields; None where the person was erased."""
    rows = [StoredRow(document.id, document.body, document.sealed) for document in documents]
    opened = open_rows(session, rows)
    return [
        (document, None if KINDS[document.kind].subject_is_human and "name" not in fields else fields)
        for document, fields in zip(documents, opened, strict=True)
    ]


def _view(session: Session, caller: Caller, document: Document, fields: Fields) -> RecordView:
    own = Reach.GRID in caller.reach and document.grid_id in _held(session, caller)
    return RecordView(
        id=document.id,
        kind=document.kind,
        grid_id=document.grid_id,
        version=document.version,
        updated_at=document.updated_at,
        masked=not own,
        fields=fields if own else masked_fields(document.kind, fields),
    )


def _held(session: Session, caller: Caller) -> list[str]:
    return list(territory.held_grids(session, caller.account_id, at=now()))
