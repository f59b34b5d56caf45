"""What waits for a person: conflicts and quarantined rows, written set-based like everything else of a batch."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col

from backend.core.crypto import key_ring
from backend.core.enums import Kind, QuarantineState
from backend.core.ids import new_id
from backend.kinds import KINDS, KindSpec
from backend.models import Quarantine
from backend.services.quarantined import QuarantinedRow, seal_all
from backend.services.records import context_of, nested_subject, subject_of
from backend.services.sealing import Part, Vault
from sync.known import Author, Held, Known
from sync.rules import DELETED, FieldConflict

MAX_FIELD = 64


def write_conflicts(
    session: Session,
    found: Sequence[tuple[Known, UUID, FieldConflict]],
    *,
    kind: Kind,
    author: Author,
    now: datetime,
    vault: Vault,
) -> None:
    """Record conflicts. Each value is sealed under the key of the human it is about, as in the document itself."""
    if not found:
        return
    parts = [_values_of(KINDS[kind], known, conflict) for known, _, conflict in found]
    vault.provide({part.subject for values in parts for part in values})
    rows = [
        {
            "id": new_id(),
            "document_id": known.id,
            "kind": kind.value,
            "grid_id": known.master.grid_id if known.master else "",
            "op": op,
            "field": shown_field(KINDS[kind], conflict.field),
            "hardness": conflict.hardness.value,
            "sides": vault.seal(values, context=context_of(known.id)),
            "device_id": author.device_id,
            "account_id": author.account_id,
            "now": now,
        }
        for (known, op, conflict), values in zip(found, parts, strict=True)
    ]
    session.connection().execute(_WRITE_CONFLICT, rows)


def shown_field(spec: KindSpec, name: str) -> str:
    """The name of a field as it may be stored readable: a name that a client made up could hold anything."""
    declared = name == DELETED or name.partition("[")[0] in spec.model.model_fields
    return name if declared and len(name) <= MAX_FIELD else f"extra:{key_ring().fingerprint(name.encode()).hex()[:32]}"


def _values_of(spec: KindSpec, known: Known, conflict: FieldConflict) -> list[Part]:
    """The field's true name and its values on each side; an absent value is left out, because absent is not null."""
    own = subject_of(spec, known.id, known.master.state.fields if known.master else {})
    nested = conflict.field.partition("[")[0] in spec.nested
    sides = {"base": conflict.base, "mine": conflict.mine, "theirs": conflict.theirs, "kept": conflict.kept}
    values = [
        Part(nested_subject(value, own) if nested else own, (side,), value)
        for side, value in sides.items()
        if _is_json(value)
    ]
    return [Part(own, ("field",), conflict.field), *values]


def _is_json(value: Any) -> bool:
    return value is None or isinstance(value, dict | list | str | int | float)


def write_quarantine(
    session: Session, held: Sequence[Held], *, author: Author, now: datetime, vault: Vault
) -> list[Held]:
    """Keep refused rows whole, and say which are new: the same row pushed again is the same quarantined row."""
    known = _known(session, held, author)
    fresh = {row.fingerprint: row for row in held if row.fingerprint not in known}
    if not fresh:
        return []
    ids = {fingerprint: new_id() for fingerprint in fresh}
    kept = [QuarantinedRow(ids[row.fingerprint], row.kind, row.document_id, row.content) for row in fresh.values()]
    rows = [
        {
            "id": ids[row.fingerprint],
            "device_id": author.device_id,
            "account_id": author.account_id,
            "kind": row.kind,
            "document_id": row.document_id,
            "op": row.op,
            "grid_id": row.grid_id,
            "code": row.code,
            "places": row.places,
            "fingerprint": row.fingerprint,
            "payload": payload,
            "state": QuarantineState.OPEN,
            "created_at": now,
        }
        for row, payload in zip(fresh.values(), seal_all(vault, kept), strict=True)
    ]
    written = insert(Quarantine).on_conflict_do_nothing(index_elements=["device_id", "fingerprint"])
    fingerprints = session.connection().execute(written.returning(col(Quarantine.fingerprint)), rows).scalars()
    return [fresh[bytes(fingerprint)] for fingerprint in fingerprints]


def _known(session: Session, held: Sequence[Held], author: Author) -> set[bytes]:
    """Fingerprints of rows that are quarantined already, so that no key is made for a repeated one."""
    if not held:
        return set()
    given = {"device": author.device_id, "fingerprints": [row.fingerprint for row in held]}
    return {bytes(fingerprint) for fingerprint in session.connection().execute(_KNOWN, given).scalars()}


def settle_quarantine(session: Session, created: Sequence[UUID], *, author: Author) -> None:
    """A create that was refused and now went in, corrected, under the same id waits for nobody any more."""
    if created:
        session.connection().execute(_SETTLE, {"ids": list(created), "device": author.device_id})


_KNOWN = text("SELECT fingerprint FROM quarantine WHERE device_id = :device AND fingerprint = ANY(:fingerprints)")
_WRITE_CONFLICT = text(
    """
    INSERT INTO conflict (id, document_id, kind, grid_id, op, field, hardness, sides, device_id, account_id, state,
                          created_at)
    VALUES (:id, :document_id, :kind, :grid_id, :op, :field, :hardness, :sides, :device_id, :account_id, 'open', :now)
    """
)
_SETTLE = text(
    "UPDATE quarantine SET state = 'resolved' WHERE device_id = :device AND document_id = ANY(:ids) AND state = 'open'"
)
