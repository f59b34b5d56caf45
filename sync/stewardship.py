"""What departments say of their fields (一数一源): they decide verification requests, and write their own values.

Both are versions like any other, with history, ledger, feed and audit, over the version of the record that was read.
From then on the field is the department's (`sync.authority`).
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from backend.core.enums import COLLECTED_KINDS, VerificationState
from backend.core.errors import NotFound, PreconditionFailed
from backend.kinds import KINDS
from backend.models import Document
from backend.services import audit
from backend.services.records import StoredRow, nested_subject, open_rows, subject_of
from backend.services.scope import in_territory
from backend.services.sealing import Part, Vault
from backend.services.sessions import Caller
from sync import ownership, review_steps, steward, verifications
from sync.decided import write_decided
from sync.known import Known
from sync.review_desk import Desk, open_desk
from sync.review_errors import RecordDeleted, RecordUnfit, ReviewReasonUnknown, ValueGone
from sync.review_rules import Action, Edge, with_value
from sync.review_schemas import StepAsked
from sync.review_steps import VERIFICATION, Step
from sync.rules import ABSENT, State
from sync.verification_schemas import DepartmentFields, DepartmentWritten, Verified
from sync.verifications import OpenedRequest

WRITE_REASONS = ("department_record", "department_corrected", "checked_on_site")
"""Why a department writes its fields (`review_rules.REASONS`)."""


def approve(session: Session, *, caller: Caller, request_id: UUID, version: int, asked: StepAsked) -> Verified:
    """Give the field the proposed value. `NotFound` outside the caller's reach, `PreconditionFailed` where the record
    has moved on, `ValueGone` where the value was erased, `RecordDeleted`, `RecordUnfit`, and the refusals of steps."""
    desk, entry, vault = _start(session, caller, request_id, version)
    edge, reason, number = _lawful(desk, entry, Action.APPROVE, asked, vault)
    value = entry.sides.get("proposed", ABSENT)
    if value is ABSENT and not entry.whole:
        raise ValueGone(verification=str(request_id))
    request = entry.request
    known = _write(desk, entry.document, entry.state, {request.field: value}, owner=request.account_id, vault=vault)
    _claim(desk, known, {request.field: request.dataset})
    verified = _noted(desk, entry, edge, reason, number, asked, vault, known=known, value=value)
    desk.close()
    return verified


def refuse(session: Session, *, caller: Caller, request_id: UUID, version: int, asked: StepAsked) -> Verified:
    """Keep the department's value. Errors as of `approve`."""
    return _step(session, caller, request_id, version, Action.REFUSE, asked)


def reopen(session: Session, *, caller: Caller, request_id: UUID, version: int, asked: StepAsked) -> Verified:
    """Look at a refused request again. Errors as of `approve`."""
    return _step(session, caller, request_id, version, Action.REOPEN, asked)


def write_fields(
    session: Session, *, caller: Caller, document_id: UUID, version: int, asked: DepartmentFields
) -> DepartmentWritten:
    """Write stewarded fields of one record, as the department or from its dataset.

    `NotFound` outside the caller's territory, `PreconditionFailed`, `RecordDeleted`, `RecordUnfit` for a field that no
    department owns or a value that breaks the form, `ValueGone` where the dataset has none, `ReviewReasonUnknown`.
    """
    if asked.reason not in WRITE_REASONS:
        raise ReviewReasonUnknown(reasons=list(WRITE_REASONS))
    desk, vault = open_desk(session, caller, [document_id]), Vault(session)
    document, state = _record(session, caller, document_id, version, vault)
    if unowned := sorted({*asked.fields, *asked.adopt} - KINDS[document.kind].stewarded.keys()):
        raise RecordUnfit(places=unowned)
    values = {**asked.fields, **{name: _adopted(session, document, name, vault) for name in asked.adopt}}
    owner = document.account_id or caller.account_id
    known = _write(desk, document, state, values, owner=owner, vault=vault)
    _claim(desk, known, {name: KINDS[document.kind].stewarded[name] for name in values})
    assert known.master is not None
    audit.record(
        session,
        actor=str(caller.account_id),
        action="department_fields_written",
        object_type=document.kind.value,
        object_id=str(document_id),
        reason=asked.reason,
        version=known.master.version,
        **{f"field_{number}": name for number, name in enumerate(sorted(values), start=1)},
    )
    desk.close()
    changed = known.master.version != version
    return DepartmentWritten(
        document_id=document_id,
        version=known.master.version,
        op=known.master.op if changed else None,
        fields=sorted(values),
    )


def _start(session: Session, caller: Caller, request_id: UUID, version: int) -> tuple[Desk, OpenedRequest, Vault]:
    document_id = verifications.document_of(session, caller, request_id)
    desk, vault = open_desk(session, caller, [document_id]), Vault(session)
    entry = verifications.load(session, caller, request_id, vault=vault, for_update=True)
    if entry.document.version != version:
        raise PreconditionFailed(version=entry.document.version)
    return desk, entry, vault


def _step(
    session: Session, caller: Caller, request_id: UUID, version: int, action: Action, asked: StepAsked
) -> Verified:
    desk, entry, vault = _start(session, caller, request_id, version)
    edge, reason, number = _lawful(desk, entry, action, asked, vault)
    verified = _noted(desk, entry, edge, reason, number, asked, vault)
    desk.close()
    return verified


def _lawful(desk: Desk, entry: OpenedRequest, action: Action, asked: StepAsked, vault: Vault) -> tuple[Edge, str, int]:
    steps = review_steps.past_steps(desk.session, VERIFICATION, [entry.request.id], vault=vault)[entry.request.id]
    standing = entry.standing(steps)
    edge, reason = review_steps.lawful(VERIFICATION, action, standing, desk.caller, reason=asked.reason)
    return edge, reason, len(steps) + 1


def _write(
    desk: Desk, document: Document, state: State, values: Mapping[str, Any], *, owner: UUID, vault: Vault
) -> Known:
    """Set the fields; what is known of the record then."""
    if state.deleted:
        raise RecordDeleted
    for name, value in values.items():
        state = with_value(KINDS[document.kind], state, name, value)
    return write_decided(desk, document, state, owner=owner, vault=vault)


def _claim(desk: Desk, known: Known, fields: Mapping[str, str]) -> None:
    assert known.master is not None
    version = known.master.version
    ownership.claim(desk.session, known.id, fields, version=version, caller=desk.caller, at=desk.moment)


def _noted(
    desk: Desk,
    entry: OpenedRequest,
    edge: Edge,
    reason: str,
    number: int,
    asked: StepAsked,
    vault: Vault,
    *,
    known: Known | None = None,
    value: Any = ABSENT,
) -> Verified:
    """Note a step, with the version that it made, if any."""
    before = entry.document.version
    master = known.master if known else None
    op = master.op if master and master.version != before else None
    step_id = review_steps.new_step_id()
    desk.steps.append(
        Step(
            VERIFICATION,
            entry.request.id,
            number,
            edge,
            reason,
            entry.request.account_id,
            step_id,
            version_before=before,
            version=master.version if master else before,
            op=op,
            detail=_detail(entry, step_id, value, asked.note, vault),
        )
    )
    return Verified(
        verification=entry.request.id,
        state=VerificationState(edge.target.value),
        document_id=entry.document.id,
        version=master.version if master else before,
        op=op,
    )


def _detail(entry: OpenedRequest, step_id: UUID, value: Any, note: str | None, vault: Vault) -> bytes | None:
    spec = KINDS[entry.request.kind]
    own = subject_of(spec, entry.document.id, entry.state.fields)
    parts = [] if note is None else [Part(own, ("note",), note)]
    if value is not ABSENT:
        subject = nested_subject(value, own) if entry.request.field in spec.nested else own
        parts.append(Part(subject, ("value",), value))
    return review_steps.sealed_detail(vault, step_id, parts)


def _record(session: Session, caller: Caller, document_id: UUID, version: int, vault: Vault) -> tuple[Document, State]:
    query = select(Document).where(
        Document.id == document_id, in_territory(Document.grid_id, caller), col(Document.kind).in_(COLLECTED_KINDS)
    )
    document = session.exec(query).first()
    if document is None:
        raise NotFound
    if document.version != version:
        raise PreconditionFailed(version=document.version)
    (fields,) = open_rows(session, [StoredRow(document.id, document.body, document.sealed)], vault=vault)
    return document, State({} if document.deleted else fields, document.deleted)


def _adopted(session: Session, document: Document, name: str, vault: Vault) -> Any:
    department = steward.value_of(session, document, name, vault=vault)
    if department is None or department.source != "registry":
        raise ValueGone(field=name)
    return department.value
