"""What a push reads and writes, set-based: one statement a table for a whole batch, however many rows it has."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlmodel import Session

from backend.core.enums import Kind
from backend.kinds import Document
from backend.kinds.base import moment
from backend.services.records import SealedRow, StoredRow, open_rows, seal_rows
from backend.services.sealing import Vault, subjects_in
from sync.known import Author, Entry, Known, Version, Wanted, Written
from sync.rules import DELETED, State

SealedStates = Mapping[tuple[UUID, int], SealedRow]
"""What was sealed in a batch, by document and state."""


def read(session: Session, wanted: Sequence[Wanted], *, device_id: UUID | None, vault: Vault) -> dict[UUID, Known]:
    """What is known of each document: its master, the version each row names, and whether a row was seen before.

    `ops` is read for deletes only, which may be tombstones of ours coming back; all other work is the same however
    long a document's history is.
    """
    ids = sorted({row.document_id for row in wanted})
    known = {document_id: Known(document_id) for document_id in ids}
    if not ids:
        return known
    _read_masters(session, known, ids, vault)
    named = [(row.document_id, row.assumed_op) for row in wanted if row.assumed_op]
    _read_versions(session, known, named + [(row.document_id, row.op) for row in wanted], vault)
    pairs = {"ids": [row.document_id for row in wanted], "ops": [row.op for row in wanted]}
    for row in session.connection().execute(_LEDGER, pairs):
        known[row.document_id].fingerprints[row.op] = bytes(row.fingerprint)
    gone = [row.document_id for row in wanted if row.deleted]
    for row in session.connection().execute(_OPS, {"gone": gone}):
        known[row.document_id].ops.add(row.op)
    if device_id is not None:
        _read_last_pushed(session, known, ids, device_id, vault)
    return known


def has_unreadable_parts(session: Session, document_id: UUID, *, vault: Vault) -> bool:
    """Whether the document as it stands holds parts of somebody whose key is gone."""
    sealed = session.connection().execute(_SEALED, {"id": document_id}).scalar_one_or_none()
    subjects = subjects_in([sealed])
    vault.load(subjects)
    return not vault.holds(subjects)


def _read_masters(session: Session, known: dict[UUID, Known], ids: list[UUID], vault: Vault) -> None:
    """Where the documents are is known of all of them; what is in them comes only as far as the row policies allow."""
    located = list(session.connection().execute(_LOCATE, {"ids": ids}))
    rows = list(session.connection().execute(_CONTENTS, {"ids": [row.id for row in located]})) if located else []
    opened = open_rows(session, [StoredRow(row.id, row.body, row.sealed) for row in rows], vault=vault)
    contents = {row.id: fields for row, fields in zip(rows, opened, strict=True)}
    for row in located:
        entry = known[row.id]
        entry.kind, entry.hidden = Kind(row.kind), row.id not in contents
        fields = {} if row.deleted else contents.get(row.id, {})
        entry.master = Version(row.version, row.op, row.grid_id, State(fields, row.deleted))


def _read_versions(session: Session, known: dict[UUID, Known], named: list[tuple[UUID, UUID]], vault: Vault) -> None:
    """Versions named by their op. Those equal to the master need no second read."""
    missing = []
    for document_id, op in named:
        master = known[document_id].master
        if master is not None and master.op == op:
            known[document_id].named[op] = master
        elif master is not None:
            missing.append((document_id, op))
    if not missing:
        return
    ids, ops = zip(*missing, strict=True)
    rows = list(session.connection().execute(_VERSIONS, {"ids": list(ids), "ops": list(ops)}))
    opened = open_rows(session, [StoredRow(row.document_id, row.body, row.sealed) for row in rows], vault=vault)
    for row, fields in zip(rows, opened, strict=True):
        state = State({} if row.deleted else fields, row.deleted)
        known[row.document_id].named[row.op] = Version(row.version, row.op, row.grid_id, state)


def _read_last_pushed(
    session: Session, known: dict[UUID, Known], ids: list[UUID], device_id: UUID, vault: Vault
) -> None:
    rows = list(session.connection().execute(_LAST_PUSHED, {"ids": ids, "device": device_id}))
    opened = open_rows(session, [StoredRow(row.document_id, row.pushed_body, row.pushed) for row in rows], vault=vault)
    for row, fields in zip(rows, opened, strict=True):
        deleted = bool(fields.pop(DELETED, False))
        known[row.document_id].last_pushed = (State(fields, deleted), row.version)


def write_versions(
    session: Session, versions: Sequence[Written], *, author: Author, now: datetime, vault: Vault
) -> SealedStates:
    """Write documents (the last version of each) and their history, which keeps every version.

    Gives what was sealed, for the ledger: a row that was applied as it came has the same content there.
    """
    if not versions:
        return {}
    sealed = seal_rows(
        session, [(entry.kind, entry.document_id, entry.version.state.fields) for entry in versions], vault=vault
    )
    rows: list[dict[str, Any]] = []
    for entry, row in zip(versions, sealed, strict=True):
        rows.append(
            {
                "id": entry.document_id,
                "kind": entry.kind.value,
                "grid_id": entry.version.grid_id,
                "version": entry.version.version,
                "op": entry.version.op,
                "deleted": entry.version.state.deleted,
                "body": _json(row.body),
                "sealed": row.sealed,
                "id_index": row.indexes.id_index,
                "phone_index": row.indexes.phone_index,
                "block_index": row.indexes.block_index,
                "natural_key": row.indexes.natural_key,
                "h3_cell": row.indexes.h3_cell,
                "account_id": author.account_id,
                "device_id": author.device_id,
                "captured_at": moment(entry.captured_at) if entry.captured_at else None,
                "now": now,
            }
        )
    latest = {row["id"]: row for row in rows}
    session.connection().execute(_WRITE_DOCUMENT, list(latest.values()))
    session.connection().execute(_WRITE_VERSION, rows)
    return {_content(entry.document_id, entry.version.state): row for entry, row in zip(versions, sealed, strict=True)}


def write_ledger(
    session: Session,
    entries: Sequence[Entry],
    *,
    author: Author,
    now: datetime,
    vault: Vault,
    sealed: SealedStates,
) -> None:
    """Append ledger rows. Their pushed content is sealed like the document itself; `sealed` holds what already was."""
    if not entries:
        return
    other = {
        _content(entry.document_id, entry.pushed): (entry.kind, entry.document_id, entry.pushed.fields)
        for entry in entries
        if entry.pushed is not None and _content(entry.document_id, entry.pushed) not in sealed
    }
    sealed = {**sealed, **dict(zip(other, seal_rows(session, list(other.values()), vault=vault), strict=True))}
    rows = []
    for entry in entries:
        row = sealed[_content(entry.document_id, entry.pushed)] if entry.pushed else None
        body = {**row.body, DELETED: entry.pushed.deleted} if row and entry.pushed else None
        rows.append(
            {
                "document_id": entry.document_id,
                "op": entry.op,
                "kind": entry.kind.value,
                "device_id": author.device_id,
                "account_id": author.account_id,
                "fingerprint": entry.fingerprint,
                "outcome": entry.outcome.value,
                "base_version": entry.base_version,
                "version": entry.version,
                "pushed": row.sealed if row else None,
                "pushed_body": _json(body) if body is not None else None,
                "client_time": entry.client_time,
                "now": now,
            }
        )
    session.connection().execute(_WRITE_LEDGER, rows)


def _content(document_id: UUID, state: State) -> tuple[UUID, int]:
    """What stands for a state of a document while a batch, which holds it, is written."""
    return document_id, id(state)


def _json(value: Document | list[str]) -> str:
    return msgspec.json.encode(value).decode()


_SEALED = text("SELECT sealed FROM document WHERE id = :id")
_LOCATE = text("SELECT id, kind, grid_id, version, op, deleted FROM zw_locate(CAST(:ids AS uuid[]))")
_CONTENTS = text("SELECT id, body, sealed FROM document WHERE id = ANY(:ids)")
_VERSIONS = text(
    """
    SELECT v.document_id, v.version, v.op, v.grid_id, v.deleted, v.body, v.sealed
    FROM unnest(CAST(:ids AS uuid[]), CAST(:ops AS uuid[])) AS wanted (id, op)
    JOIN document_version v ON v.document_id = wanted.id AND v.op = wanted.op
    """
)
_OPS = text("SELECT document_id, op FROM zw_known_ops(CAST(:gone AS uuid[]))")
_LEDGER = text("SELECT document_id, op, fingerprint FROM zw_fingerprints(CAST(:ids AS uuid[]), CAST(:ops AS uuid[]))")
_LAST_PUSHED = text(
    """
    SELECT DISTINCT ON (document_id) document_id, version, pushed, pushed_body
    FROM mutation
    WHERE document_id = ANY(:ids) AND device_id = :device AND version IS NOT NULL
    ORDER BY document_id, seq DESC
    """
)
_WRITE_DOCUMENT = text(
    """
    INSERT INTO document (id, kind, grid_id, version, op, deleted, body, sealed, id_index, phone_index, block_index,
                          natural_key, h3_cell, account_id, device_id, captured_at, created_at, updated_at)
    VALUES (:id, :kind, :grid_id, :version, :op, :deleted, CAST(:body AS json), :sealed, :id_index, :phone_index,
            :block_index, :natural_key, :h3_cell, :account_id, :device_id, :captured_at, :now, :now)
    ON CONFLICT (id) DO UPDATE SET
        grid_id = excluded.grid_id, version = excluded.version, op = excluded.op, deleted = excluded.deleted,
        body = excluded.body, sealed = excluded.sealed, id_index = excluded.id_index,
        phone_index = excluded.phone_index, block_index = excluded.block_index, natural_key = excluded.natural_key,
        h3_cell = excluded.h3_cell, account_id = excluded.account_id, device_id = excluded.device_id,
        captured_at = excluded.captured_at, updated_at = excluded.updated_at
    """
)
_WRITE_VERSION = text(
    """
    INSERT INTO document_version (document_id, version, op, grid_id, deleted, body, sealed, account_id, device_id,
                                  created_at)
    VALUES (:id, :version, :op, :grid_id, :deleted, CAST(:body AS json), :sealed, :account_id, :device_id, :now)
    """
)
_WRITE_LEDGER = text(
    """
    INSERT INTO mutation (document_id, op, kind, device_id, account_id, fingerprint, outcome, base_version, version,
                          pushed, pushed_body, client_time, created_at)
    VALUES (:document_id, :op, :kind, :device_id, :account_id, :fingerprint, :outcome, :base_version, :version,
            :pushed, CAST(:pushed_body AS json), :client_time, :now)
    """
)
