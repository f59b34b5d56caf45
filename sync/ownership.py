"""Field authority in the tables: which fields of documents are departments', and what is asked of them.

Set-based like everything else of a push. What decides is `sync.authority`.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlmodel import Session

from backend import jobs
from backend.core import statements
from backend.core.enums import Kind
from backend.core.ids import new_id
from backend.core.statements import Answer, execute
from backend.kinds import KINDS
from backend.services.records import StoredRow, context_of, nested_subject, open_rows, subject_of
from backend.services.sealing import Part, Vault
from backend.services.sessions import Caller
from sync.authority import FieldRequest
from sync.known import Author, Entry, Known
from sync.rules import ABSENT, State

Asked = tuple[Known, Entry, FieldRequest]


def ask_owned(session: Session, kinds: Mapping[UUID, str]) -> Answer | None:
    """Ask which fields of documents, given with their kinds, departments have written: in a pipeline with other reads,
    and not at all where no kind has such fields."""
    if not any(KINDS[Kind(kind)].stewarded for kind in set(kinds.values())):
        return None
    return execute(session, _OWNED, {"ids": list(kinds)})


def set_owned(session: Session, known: Mapping[UUID, Known], answer: Answer | None, *, vault: Vault) -> None:
    """Give each document the values of the fields that `ask_owned` found. As long as it lives they stand in it; of a
    deleted one they stand in its last version that was alive."""
    rows = answer.rows() if answer is not None else []
    gone = {document_id for document_id, _ in rows if _is_gone(known[document_id])}
    last = _last_alive(session, gone, vault=vault) if gone else {}
    for document_id, name in rows:
        entry = known[document_id]
        if entry.master is not None and not entry.hidden:
            fields = last.get(document_id, {}) if entry.master.state.deleted else entry.master.state.fields
            entry.owned[name] = fields.get(name, ABSENT)


def claim(
    session: Session, document_id: UUID, fields: Mapping[str, str], *, version: int, caller: Caller, at: datetime
) -> None:
    """Note that fields, given with their datasets, are the department's from this version on."""
    if not fields:
        return
    values = {"document": document_id, "fields": list(fields), "datasets": list(fields.values()), "version": version}
    execute(session, _CLAIM, {**values, "account": caller.account_id, "role": caller.role.value, "now": at})


def write_requests(session: Session, asked: Sequence[Asked], *, author: Author, now: datetime, vault: Vault) -> None:
    """Record what a batch asks of departments; both values are sealed under the key of whom they are about."""
    if not asked:
        return
    parts = [_values_of(known, entry, request) for known, entry, request in asked]
    vault.provide({part.subject for values in parts for part in values})
    values: dict[str, Any] = {
        "ids": [new_id() for _ in asked],
        "documents": [known.id for known, _, _ in asked],
        "kinds": [entry.kind.value for _, entry, _ in asked],
        "grids": [known.master.grid_id if known.master else "" for known, _, _ in asked],
        "ops": [entry.op for _, entry, _ in asked],
        "fields": [request.field for _, _, request in asked],
        "datasets": [KINDS[entry.kind].stewarded[request.field] for _, entry, request in asked],
        "versions": [entry.version for _, entry, _ in asked],
        "sides": [
            vault.seal(sides, context=context_of(known.id)) for (known, _, _), sides in zip(asked, parts, strict=True)
        ],
        "photos": [msgspec.json.encode(_photos(entry)).decode() for _, entry, _ in asked],
    }
    execute(session, _ASK, {**values, "device": author.device_id, "account": author.account_id, "now": now})
    jobs.enqueue_many(session, [task_of(request_id, 0) for request_id in values["ids"]])


def task_of(request_id: UUID, step: int) -> jobs.NewJob:
    """The job that publishes a request as a task after a step; 0 stands for the asking."""
    return jobs.NewJob("sync.project_verification", f"{request_id}:{step}", {"request_id": str(request_id)})


def _is_gone(known: Known) -> bool:
    return known.master is not None and known.master.state.deleted and not known.hidden


def _last_alive(session: Session, ids: Collection[UUID], *, vault: Vault) -> dict[UUID, dict[str, Any]]:
    rows = statements.rows(session, _LAST_ALIVE, {"ids": sorted(ids)})
    stored = [StoredRow(document_id, msgspec.json.decode(body), sealed) for document_id, body, sealed in rows]
    opened = open_rows(session, stored, vault=vault)
    return {row.id: fields for row, fields in zip(stored, opened, strict=True)}


def _values_of(known: Known, entry: Entry, request: FieldRequest) -> list[Part]:
    """The values on both sides; an absent one is left out, because absent is not null."""
    spec = KINDS[entry.kind]
    own = subject_of(spec, known.id, (known.master.state if known.master else State({})).fields)
    sides = {"proposed": request.proposed, "kept": request.kept}
    nested = request.field in spec.nested
    return [
        Part(nested_subject(value, own) if nested else own, (side,), value)
        for side, value in sides.items()
        if value is not ABSENT
    ]


def _photos(entry: Entry) -> list[str]:
    named = entry.pushed.fields.get("photos") if entry.pushed else None
    return [photo["photo_id"] for photo in named or ()]


_OWNED = "SELECT document_id, CAST(field AS text) FROM field_authority WHERE document_id = ANY(%(ids)b::uuid[])"
_LAST_ALIVE = """
    SELECT DISTINCT ON (document_id) document_id, CAST(body AS text), sealed FROM document_version
    WHERE document_id = ANY(%(ids)b::uuid[]) AND NOT deleted ORDER BY document_id, version DESC
"""
_CLAIM = """
    INSERT INTO field_authority (document_id, field, dataset, account_id, role, version, at)
    SELECT %(document)s, field, dataset, %(account)s::uuid, %(role)s::text, %(version)s::integer, %(now)s
    FROM unnest(%(fields)b::text[], %(datasets)b::text[]) AS row (field, dataset)
    ON CONFLICT (document_id, field) DO UPDATE SET
        dataset = excluded.dataset, account_id = excluded.account_id, role = excluded.role,
        version = excluded.version, at = excluded.at
"""
_ASK = """
    INSERT INTO verification_request (id, document_id, kind, grid_id, op, field, dataset, version, sides, photos,
                                      device_id, account_id, state, created_at)
    SELECT id, document_id, kind, grid_id, op, field, dataset, version, sides, CAST(photos AS json),
           %(device)s::uuid, %(account)s::uuid, 'open', %(now)s
    FROM unnest(%(ids)b::uuid[], %(documents)b::uuid[], %(kinds)b::text[], %(grids)b::text[], %(ops)b::uuid[],
                %(fields)b::text[], %(datasets)b::text[], %(versions)b::integer[], %(sides)b::bytea[],
                %(photos)b::text[])
         AS row (id, document_id, kind, grid_id, op, field, dataset, version, sides, photos)
"""
