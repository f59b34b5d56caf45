"""Verification requests (一数一源核实) as departments and data stewards see them.

A data steward sees those of records in his territory; a department those about fields that its datasets own, wherever
the record lies, and of the record no more than the request shows. Values are masked like everywhere else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, or_
from sqlmodel import Session, col, select

from backend.core.db import act_as
from backend.core.enums import Kind, Reach, VerificationState
from backend.core.errors import NotFound
from backend.kinds import KINDS
from backend.models import Dataset, Document, VerificationRequest
from backend.services import unmasking
from backend.services.records import StoredRow, context_of, open_rows, subject_of
from backend.services.scope import in_territory
from backend.services.sealing import Vault, subjects_in
from backend.services.sessions import Caller
from sync import steward
from sync.conflicts import actor_of, allowed_step, line_of, masked_value, step_view, with_current
from sync.review_rules import Standing, allowed
from sync.review_schemas import UnmaskAsked, UnmaskedValues
from sync.review_steps import VERIFICATION, Past, past_steps
from sync.rules import State
from sync.verification_rules import VERIFICATION_EDGES
from sync.verification_schemas import VerificationDetail, VerificationLine, VerificationPage


@dataclass(frozen=True, slots=True)
class Filters:
    """Which requests are asked for; without `states` the open ones."""

    kinds: Sequence[Kind] = ()
    dataset: str | None = None
    states: Sequence[VerificationState] = ()
    worker: UUID | None = None


@dataclass(frozen=True, slots=True)
class OpenedRequest:
    """A request with its record as it stands, and its values as far as they open."""

    request: VerificationRequest
    document: Document
    state: State
    sides: Mapping[str, Any]
    whole: bool

    def standing(self, steps: Sequence[Past]) -> Standing:
        """What the rules look at."""
        return Standing(self.request.state, self.request.account_id, [step.action for step in steps])


def list_requests(
    session: Session, *, caller: Caller, filters: Filters, after: UUID | None, limit: int
) -> VerificationPage:
    """A page of requests in the caller's reach, oldest first."""
    query = _in_reach(caller).where(*_conditions(filters))
    if after is not None:
        query = query.where(col(VerificationRequest.id) > after)
    rows = session.exec(query.order_by(col(VerificationRequest.id)).limit(limit + 1)).all()
    opened = _open(session, rows[:limit], vault=Vault(session))
    lines = [VerificationLine(**_line(entry)) for entry in opened]
    return VerificationPage(requests=lines, next=lines[-1].id if len(rows) > limit else None)


def get_request(session: Session, *, caller: Caller, request_id: UUID) -> VerificationDetail:
    """One request with what a decision needs. `NotFound` outside the caller's reach."""
    vault = Vault(session)
    entry = load(session, caller, request_id, vault=vault)
    steps = past_steps(session, VERIFICATION, [request_id], vault=vault)[request_id]
    kind, name = entry.request.kind, entry.request.field
    department = steward.value_of(session, entry.document, name, vault=vault)
    return VerificationDetail(
        **_line(entry),
        steward=department.shown_as(masked_value(kind, name, department.value)) if department else None,
        steps=[step_view(step, kind=kind, place=name) for step in steps],
        actions=[allowed_step(edge) for edge in allowed(VERIFICATION_EDGES, entry.standing(steps), actor_of(caller))],
    )


def unmask_request(session: Session, *, caller: Caller, request_id: UUID, asked: UnmaskAsked) -> UnmaskedValues:
    """The values of a request in the clear, for a reason that is kept. `NotFound` as of `get_request`."""
    entry = load(session, caller, request_id, vault=Vault(session))
    subject = subject_of(KINDS[entry.request.kind], entry.document.id, entry.state.fields)
    unmasking_id = unmasking.note(
        session,
        caller,
        entry.document.id,
        subject,
        [entry.request.field],
        reason=asked.reason,
        words=asked.note,
    )
    return UnmaskedValues(unmasking_id=unmasking_id, field=entry.request.field, values=_values(entry))


def load(
    session: Session, caller: Caller, request_id: UUID, *, vault: Vault, for_update: bool = False
) -> OpenedRequest:
    """A request in the caller's reach, opened. `NotFound`."""
    query = _in_reach(caller).where(col(VerificationRequest.id) == request_id)
    if for_update:
        query = query.with_for_update(of=VerificationRequest)
    opened = _open(session, session.exec(query).all(), vault=vault)
    if not opened:
        raise NotFound
    return opened[0]


def document_of(session: Session, caller: Caller, request_id: UUID) -> UUID:
    """The record that a request in the caller's reach is about. `NotFound`."""
    found: VerificationRequest | None = session.exec(
        _in_reach(caller).where(col(VerificationRequest.id) == request_id)
    ).first()
    if found is None:
        raise NotFound
    return found.document_id


def _in_reach(caller: Caller) -> Any:
    query = select(VerificationRequest)
    reached: list[ColumnElement[bool]] = []
    if Reach.DEPARTMENT in caller.reach:
        own = select(Dataset.code).where(Dataset.department_code == caller.department_code)
        reached.append(col(VerificationRequest.dataset).in_(own))
    if Reach.TERRITORY in caller.reach:
        query = query.join(Document, col(Document.id) == VerificationRequest.document_id)
        reached.append(in_territory(Document.grid_id, caller))
    return query.where(or_(*reached))


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    asked: list[ColumnElement[bool] | None] = [
        col(VerificationRequest.kind).in_(filters.kinds) if filters.kinds else None,
        col(VerificationRequest.dataset) == filters.dataset if filters.dataset else None,
        col(VerificationRequest.state).in_(filters.states or [VerificationState.OPEN]),
        col(VerificationRequest.account_id) == filters.worker if filters.worker else None,
    ]
    return [condition for condition in asked if condition is not None]


def _open(session: Session, requests: Sequence[VerificationRequest], *, vault: Vault) -> list[OpenedRequest]:
    """Open requests with their records, which the row policies show to a department for this call only."""
    ids = {request.document_id for request in requests}
    act_as(session, {"review": ",".join(map(str, sorted(ids)))})
    documents = {found.id: found for found in session.exec(select(Document).where(col(Document.id).in_(ids)))}
    vault.load(subjects_in(request.sides for request in requests))
    stored = [StoredRow(document.id, document.body, document.sealed) for document in documents.values()]
    contents = dict(zip(documents, open_rows(session, stored, vault=vault), strict=True))
    return [
        _opened(request, documents[request.document_id], contents[request.document_id], vault)
        for request in requests
        if request.document_id in documents
    ]


def _opened(request: VerificationRequest, document: Document, content: dict[str, Any], vault: Vault) -> OpenedRequest:
    parts = vault.open(request.sides, context=context_of(document.id))
    return OpenedRequest(
        request,
        document,
        State({} if document.deleted else content, document.deleted),
        {str(part.path[0]): part.value for part in parts},
        vault.holds(subjects_in([request.sides])),
    )


def _values(entry: OpenedRequest) -> dict[str, Any]:
    request = entry.request
    return with_current(entry.sides, kind=request.kind, state=entry.state, place=request.field)


def _line(entry: OpenedRequest) -> dict[str, Any]:
    return line_of(
        entry.request,
        entry.document,
        form=VerificationLine,
        place=entry.request.field,
        values=_values(entry),
        whole=entry.whole,
    )
