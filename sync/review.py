"""What waits for a person: conflicts and quarantined rows, written set-based like everything else of a batch."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlmodel import Session

from backend.core import statements
from backend.core.crypto import key_ring
from backend.core.enums import Kind
from backend.core.ids import new_id
from backend.core.statements import Answer, execute
from backend.kinds import KINDS, KindSpec
from backend.services import audit
from backend.services.quarantined import QuarantinedRow, seal_all
from backend.services.records import context_of, nested_subject, subject_of
from backend.services.sealing import Part, Vault
from sync.known import Author, Held, Known
from sync.review_rules import QUARANTINE_EDGES, Action
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
    values: dict[str, Any] = {
        "ids": [new_id() for _ in found],
        "documents": [known.id for known, _, _ in found],
        "grids": [known.master.grid_id if known.master else "" for known, _, _ in found],
        "ops": [op for _, op, _ in found],
        "fields": [shown_field(KINDS[kind], conflict.field) for _, _, conflict in found],
        "hardness": [conflict.hardness.value for _, _, conflict in found],
        "sides": [
            vault.seal(sides, context=context_of(known.id)) for (known, _, _), sides in zip(found, parts, strict=True)
        ],
    }
    values |= {"kind": kind.value, "device": author.device_id, "account": author.account_id, "now": now}
    execute(session, _WRITE_CONFLICTS, values)


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
    session: Session, held: Sequence[Held], *, author: Author, now: datetime, vault: Vault, version: int
) -> list[Held]:
    """Keep refused rows whole, in the form of `version`, and say which are new: the same row pushed again is the same
    quarantined row."""
    known = _known(session, held, author)
    fresh = {row.fingerprint: row for row in held if row.fingerprint not in known}
    if not fresh:
        return []
    ids = {fingerprint: new_id() for fingerprint in fresh}
    kept = [QuarantinedRow(ids[row.fingerprint], row.kind, row.document_id, row.content) for row in fresh.values()]
    values: dict[str, Any] = {
        "ids": list(ids.values()),
        "kinds": [row.kind.value for row in fresh.values()],
        "documents": [row.document_id for row in fresh.values()],
        "ops": [row.op for row in fresh.values()],
        "grids": [row.grid_id for row in fresh.values()],
        "codes": [row.code.value for row in fresh.values()],
        "places": [msgspec.json.encode(row.places).decode() for row in fresh.values()],
        "fingerprints": list(fresh),
        "payloads": seal_all(vault, kept),
    }
    values |= {"device": author.device_id, "account": author.account_id, "version": version, "now": now}
    return [fresh[fingerprint] for (fingerprint,) in statements.rows(session, _WRITE_QUARANTINE, values)]


def _known(session: Session, held: Sequence[Held], author: Author) -> set[bytes]:
    """Fingerprints of rows that are quarantined already, so that no key is made for a repeated one."""
    if not held:
        return set()
    given = {"device": author.device_id, "fingerprints": [row.fingerprint for row in held]}
    return {fingerprint for (fingerprint,) in statements.rows(session, _KNOWN, given)}


def ask_waiting(session: Session, document_ids: Iterable[UUID], *, device_id: UUID) -> Answer:
    """Ask which rows about these documents the device has waiting: record and row, in a pipeline with other reads."""
    return execute(session, _WAITING, {"ids": list(document_ids), "device": device_id})


def settle_quarantine(session: Session, held: Sequence[UUID], *, author: Author, now: datetime) -> None:
    """A create that was refused and now went in, corrected, under the same id waits for nobody any more."""
    if not held:
        return
    execute(session, _SETTLE, {"ids": list(held), "now": now})
    noted: dict[str, Any] = {"reason": RESUBMIT.reasons[0], "author": str(author.account_id)}
    audit.record_many(
        session,
        actor=str(author.account_id),
        action=f"quarantine_{RESUBMIT.action.value}",
        object_type="quarantine",
        entries=[(str(held_id), noted) for held_id in held],
    )


_KNOWN = """
    SELECT fingerprint FROM quarantine WHERE device_id = %(device)s AND fingerprint = ANY(%(fingerprints)b::bytea[])
"""
_WRITE_CONFLICTS = """
    INSERT INTO conflict (id, document_id, kind, grid_id, op, field, hardness, sides, device_id, account_id, state,
                          created_at)
    SELECT id, document_id, %(kind)s::text, grid_id, op, field, hardness, sides, %(device)s::uuid, %(account)s::uuid,
           'open', %(now)s
    FROM unnest(%(ids)b::uuid[], %(documents)b::uuid[], %(grids)b::text[], %(ops)b::uuid[], %(fields)b::text[],
                %(hardness)b::text[], %(sides)b::bytea[])
         AS row (id, document_id, grid_id, op, field, hardness, sides)
"""
_WRITE_QUARANTINE = """
    INSERT INTO quarantine (id, device_id, account_id, kind, document_id, op, grid_id, code, places, fingerprint,
                            payload, schema_version, state, created_at)
    SELECT id, %(device)s::uuid, %(account)s::uuid, kind, document_id, op, grid_id, code, CAST(places AS json),
           fingerprint, payload, %(version)s::integer, 'open', %(now)s
    FROM unnest(%(ids)b::uuid[], %(kinds)b::text[], %(documents)b::uuid[], %(ops)b::uuid[], %(grids)b::text[],
                %(codes)b::text[], %(places)b::text[], %(fingerprints)b::bytea[], %(payloads)b::bytea[])
         AS row (id, kind, document_id, op, grid_id, code, places, fingerprint, payload)
    ON CONFLICT (device_id, fingerprint) DO NOTHING
    RETURNING fingerprint
"""
_WAITING = """
    SELECT document_id, id FROM quarantine
    WHERE device_id = %(device)s AND state = 'open' AND document_id = ANY(%(ids)b::uuid[])
"""
RESUBMIT = next(edge for edge in QUARANTINE_EDGES if edge.action is Action.RESUBMIT)
_SETTLE = f"""
    WITH settled AS (
        UPDATE quarantine SET state = '{RESUBMIT.target.value}', decided_at = %(now)s
        WHERE id = ANY(%(ids)b::uuid[]) AND state = '{RESUBMIT.origin.value}'
        RETURNING id, account_id
    )
    INSERT INTO review_step (id, quarantine_id, number, action, from_state, to_state, actor, reason, at)
    SELECT gen_random_uuid(), s.id, 1 + (SELECT count(*) FROM review_step r WHERE r.quarantine_id = s.id),
           '{RESUBMIT.action.value}', '{RESUBMIT.origin.value}', '{RESUBMIT.target.value}', s.account_id,
           '{RESUBMIT.reasons[0]}', %(now)s
    FROM settled s
"""
