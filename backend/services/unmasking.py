"""Personal values in the clear, for a role that may, with a reason, and never without leaving a trace."""

from typing import Any
from uuid import UUID

from sqlmodel import Session

from backend.core.clock import now
from backend.core.errors import Malformed
from backend.core.ids import new_id
from backend.kinds import KINDS, KindSpec
from backend.kinds import Document as Fields
from backend.kinds.base import Human
from backend.models import Unmasking
from backend.services import audit
from backend.services.record_schemas import Unmasked, UnmaskReason, UnmaskRequest
from backend.services.record_search import open_record
from backend.services.records import subject_of
from backend.services.sealing import seal_value
from backend.services.sessions import Caller


def unmask(session: Session, caller: Caller, document_id: UUID, request: UnmaskRequest) -> Unmasked:
    """The values of some fields of one record.

    `NotFound` outside the caller's reach: for a department that is a case it has open. `Malformed` for a field that the
    kind does not declare, so that only names of ours come into the audit trail.
    """
    document, fields = open_record(session, caller, document_id, open_cases_only=True)
    spec = KINDS[document.kind]
    names = list(dict.fromkeys(request.fields))
    if unknown := [name for name in names if not _declared(spec, name)]:
        raise Malformed(f"fields: {len(unknown)} not declared by the kind {document.kind.value}")
    subject = subject_of(spec, document_id, fields)
    unmasking_id = note(session, caller, document_id, subject, names, reason=request.reason, words=request.note)
    values = {name: value for name in names if (value := _value(fields, name)) is not None}
    return Unmasked(id=document_id, unmasking_id=unmasking_id, version=document.version, values=values)


def note(
    session: Session,
    caller: Caller,
    document_id: UUID,
    subject: bytes,
    names: list[str],
    *,
    reason: UnmaskReason,
    words: str,
) -> UUID:
    """Keep who looked at what and why: codes readable, the words of the reason sealed with the person's own data."""
    unmasking_id = new_id()
    session.add(
        Unmasking(
            id=unmasking_id,
            document_id=document_id,
            account_id=caller.account_id,
            fields=names,
            reason=reason.value,
            note=seal_value(session, subject, words, context=unmasking_id.bytes),
            at=now(),
        )
    )
    session.flush()
    audit.record(
        session,
        actor=str(caller.account_id),
        action="fields_unmasked",
        object_type="document",
        object_id=str(document_id),
        unmasking=str(unmasking_id),
        reason=reason.value,
        **{f"field_{number}": name for number, name in enumerate(names, start=1)},
    )
    return unmasking_id


def _declared(spec: KindSpec, name: str) -> bool:
    top, _, leaf = name.partition(".")
    if top not in spec.model.model_fields:
        return False
    return not leaf or (top in spec.nested and leaf in Human.model_fields)


def _value(fields: Fields, name: str) -> Any:
    """A field's value; of a list of people the part of each."""
    top, _, leaf = name.partition(".")
    value = fields.get(top)
    if not leaf:
        return value
    if isinstance(value, list):
        return [item.get(leaf) for item in value if isinstance(item, dict)]
    return value.get(leaf) if isinstance(value, dict) else None
