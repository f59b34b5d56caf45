"""What a push reads and writes, set-based: one statement a table for a whole batch, however many rows it has."""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec.json import decode, encode
from sqlmodel import Session

from backend.core import statements
from backend.core.enums import Kind
from backend.core.statements import Answer, Row, execute, together
from backend.kinds import Document
from backend.kinds.base import moment
from backend.services.records import SealedRow, StoredRow, open_rows, seal_rows
from backend.services.sealing import Vault, subjects_in
from sync import ownership
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
    pairs = {"ids": [row.document_id for row in wanted], "ops": [row.op for row in wanted]}
    gone = [row.document_id for row in wanted if row.deleted]
    with together(session):
        located = execute(session, _LOCATE, {"ids": ids})
        ledger = execute(session, _LEDGER, pairs)
        ops = execute(session, _OPS, {"gone": gone}) if gone else None
    for document_id, op, fingerprint in ledger.rows():
        known[document_id].fingerprints[op] = fingerprint
    for document_id, op in ops.rows() if ops else ():
        known[document_id].ops.add(op)
    if found := located.rows():
        _read_contents(session, known, wanted, found, device_id=device_id, vault=vault)
        _note_restore(session, known, wanted)
    return known


def _note_restore(session: Session, known: dict[UUID, Known], wanted: Sequence[Wanted]) -> None:
    """Asked only where a row of a document that is there names no base, which is seldom but after a restore."""
    nameless = {row.document_id for row in wanted if row.assumed_op is None and known[row.document_id].master}
    if nameless and statements.rows(session, _RESTORED):
        for document_id in nameless:
            known[document_id].was_restored = True


def has_unreadable_parts(session: Session, document_id: UUID, *, vault: Vault) -> bool:
    """Whether the document as it stands holds parts of somebody whose key is gone."""
    subjects = subjects_in(sealed for (sealed,) in statements.rows(session, _SEALED, {"id": document_id}))
    vault.load(subjects)
    return not vault.holds(subjects)


def _read_contents(
    session: Session,
    known: dict[UUID, Known],
    wanted: Sequence[Wanted],
    located: Sequence[Row],
    *,
    device_id: UUID | None,
    vault: Vault,
) -> None:
    """Where the documents are is known of all of them; what is in them comes only as far as the row policies allow.

    Versions named by their op are read apart where they are not the master; so are those that rows without a base name
    by `rev`, as far as they are from before the first restore, and what deleted documents that are edited last were.
    """
    named = {(row.document_id, op) for row in wanted for op in (row.assumed_op, row.op) if op}
    with together(session):
        asked = _ask_contents(session, wanted, located, named, device_id=device_id)
        owned = ownership.ask_owned(session, {row[0]: row[1] for row in located})
    rows = [row for answer in asked for row in answer.rows()]
    stored = [StoredRow(document_id, decode(body), sealed) for _, document_id, _, _, _, body, sealed, _ in rows]
    contents: dict[UUID, Document] = {}
    for (what, document_id, version, op, deleted, _, _, grid_id), fields in zip(
        rows, open_rows(session, stored, vault=vault, fresh=True), strict=True
    ):
        if what == MASTER:
            contents[document_id] = fields
        elif what == PAST:
            state = State({} if deleted else fields, deleted)
            known[document_id].named[op] = Version(version, op, grid_id, state)
        elif what == NUMBERED:
            state = State({} if deleted else fields, deleted)
            known[document_id].numbered[version] = Version(version, op, grid_id, state)
        elif what == LIVING:
            known[document_id].living = State(fields)
        else:
            state = State(fields, bool(fields.pop(DELETED, False)))
            known[document_id].last_pushed = (state, version)
    for document_id, kind, grid_id, version, op, deleted in located:
        entry = known[document_id]
        entry.kind, entry.hidden = Kind(kind), document_id not in contents
        fields = {} if deleted else contents.get(document_id, {})
        entry.master = Version(version, op, grid_id, State(fields, deleted))
        if (document_id, op) in named:
            entry.named[op] = entry.master
    ownership.set_owned(session, known, owned, vault=vault)


def _ask_contents(
    session: Session,
    wanted: Sequence[Wanted],
    located: Sequence[Row],
    named: Set[tuple[UUID, UUID]],
    *,
    device_id: UUID | None,
) -> list[Answer]:
    masters = {row[0]: row[4] for row in located}
    edited = {row.document_id for row in wanted if not row.deleted}
    deleted = [row[0] for row in located if row[5] and row[0] in edited]
    other = [pair for pair in named if masters.get(pair[0], pair[1]) != pair[1]]
    numbered = [row for row in wanted if row.rev and row.document_id in masters]
    asked = [execute(session, _CONTENTS, {"ids": list(masters)})]
    if numbered:
        numbers = {"ids": [row.document_id for row in numbered], "numbers": [row.rev for row in numbered]}
        asked.append(execute(session, _NUMBERED, numbers))
    if other:
        pairs = {"ids": [document_id for document_id, _ in other], "ops": [op for _, op in other]}
        asked.append(execute(session, _VERSIONS, pairs))
    if deleted:
        asked.append(execute(session, _LIVING, {"ids": deleted}))
    if device_id:
        asked.append(execute(session, _LAST_PUSHED, {"ids": list(masters), "device": device_id}))
    return asked


def seal(session: Session, versions: Sequence[Written], entries: Sequence[Entry], *, vault: Vault) -> SealedStates:
    """Seal all contents that a batch writes, each once: what was applied as it came is a version and a ledger's entry.

    Keys are read and made here, so that the writes that follow have nothing to wait for.
    """
    states = {
        _content(entry.document_id, entry.version.state): (entry.kind, entry.document_id, entry.version.state.fields)
        for entry in versions
    }
    for entry in entries:
        if entry.pushed is not None:
            states[_content(entry.document_id, entry.pushed)] = (entry.kind, entry.document_id, entry.pushed.fields)
    return dict(zip(states, seal_rows(session, list(states.values()), vault=vault), strict=True))


def write_versions(
    session: Session, versions: Sequence[Written], *, author: Author, now: datetime, sealed: SealedStates
) -> None:
    """Write documents (the last version of each) and their history, which keeps every version."""
    if not versions:
        return
    last = {entry.document_id: entry for entry in versions}
    rows = [sealed[_content(entry.document_id, entry.version.state)] for entry in versions]
    values: dict[str, Any] = {
        "ids": [entry.document_id for entry in versions],
        "last": [last[entry.document_id] is entry for entry in versions],
        "kinds": [entry.kind.value for entry in versions],
        "grids": [entry.version.grid_id for entry in versions],
        "versions": [entry.version.version for entry in versions],
        "ops": [entry.version.op for entry in versions],
        "deleted": [entry.version.state.deleted for entry in versions],
        "captured": [moment(entry.captured_at) if entry.captured_at else None for entry in versions],
        "bodies": [encode(row.body).decode() for row in rows],
        "sealed": [row.sealed for row in rows],
        "id_indexes": [row.indexes.id_index for row in rows],
        "phone_indexes": [row.indexes.phone_index for row in rows],
        "block_indexes": [row.indexes.block_index for row in rows],
        "name_years": [row.indexes.name_year_index for row in rows],
        "name_addresses": [row.indexes.name_address_index for row in rows],
        "link_indexes": [row.indexes.link_index for row in rows],
        "natural_keys": [row.indexes.natural_key for row in rows],
        "h3_cells": [row.indexes.h3_cell for row in rows],
    }
    execute(session, _WRITE_VERSIONS, {**values, **_by(author), "now": now})


def write_ledger(
    session: Session, entries: Sequence[Entry], *, author: Author, now: datetime, sealed: SealedStates
) -> None:
    """Append ledger rows. Their pushed content is sealed like the document itself."""
    if not entries:
        return
    rows = [sealed[_content(entry.document_id, entry.pushed)] if entry.pushed else None for entry in entries]
    bodies = [
        encode({**row.body, DELETED: entry.pushed.deleted}).decode() if row and entry.pushed else None
        for entry, row in zip(entries, rows, strict=True)
    ]
    values: dict[str, Any] = {
        "ids": [entry.document_id for entry in entries],
        "ops": [entry.op for entry in entries],
        "kinds": [entry.kind.value for entry in entries],
        "fingerprints": [entry.fingerprint for entry in entries],
        "outcomes": [entry.outcome.value for entry in entries],
        "base_versions": [entry.base_version for entry in entries],
        "versions": [entry.version for entry in entries],
        "pushed": [row.sealed if row else None for row in rows],
        "bodies": bodies,
        "client_times": [entry.client_time for entry in entries],
    }
    execute(session, _WRITE_LEDGER, {**values, **_by(author), "now": now})


def _by(author: Author) -> dict[str, UUID | None]:
    return {"account": author.account_id, "device": author.device_id}


def _content(document_id: UUID, state: State) -> tuple[UUID, int]:
    """What stands for a state of a document while a batch, which holds it, is written."""
    return document_id, id(state)


MASTER, PAST, NUMBERED, LIVING, PUSHED = "master", "past", "numbered", "living", "pushed"
"""What a row of `_read_contents` is: the document as it stands, an older version by its op or by its number, the last
one before a delete, or what the device last pushed."""

_SEALED = "SELECT sealed FROM document WHERE id = %(id)s"
_LOCATE = "SELECT id, kind, grid_id, version, op, deleted FROM zw_locate(%(ids)b::uuid[])"
_LEDGER = "SELECT document_id, op, fingerprint FROM zw_fingerprints(%(ids)b::uuid[], %(ops)b::uuid[])"
_OPS = "SELECT document_id, op FROM zw_known_ops(%(gone)b::uuid[])"
_CONTENTS = f"""
    SELECT '{MASTER}', id, version, op, deleted, CAST(body AS text), sealed, CAST(grid_id AS text)
    FROM document WHERE id = ANY(%(ids)b::uuid[])
"""
_VERSIONS = f"""
    SELECT '{PAST}', v.document_id, v.version, v.op, v.deleted, CAST(v.body AS text), v.sealed, CAST(v.grid_id AS text)
    FROM unnest(%(ids)b::uuid[], %(ops)b::uuid[]) AS wanted (id, op)
    JOIN document_version v ON v.document_id = wanted.id AND v.op = wanted.op
"""
_NUMBERED = f"""
    SELECT '{NUMBERED}', v.document_id, v.version, v.op, v.deleted, CAST(v.body AS text), v.sealed,
           CAST(v.grid_id AS text)
    FROM unnest(%(ids)b::uuid[], %(numbers)b::integer[]) AS wanted (id, number)
    CROSS JOIN LATERAL (
        SELECT * FROM document_version
        WHERE document_id = wanted.id AND version <= wanted.number
          AND created_at < (SELECT CAST(value AS timestamptz) FROM server_state WHERE name = 'first_restore')
        ORDER BY version DESC LIMIT 1
    ) AS v
"""
_LIVING = f"""
    SELECT '{LIVING}', v.document_id, v.version, v.op, v.deleted, CAST(v.body AS text), v.sealed,
           CAST(v.grid_id AS text)
    FROM unnest(%(ids)b::uuid[]) AS wanted (id)
    CROSS JOIN LATERAL (
        SELECT * FROM document_version WHERE document_id = wanted.id AND NOT deleted ORDER BY version DESC LIMIT 1
    ) AS v
"""
_RESTORED = "SELECT 1 FROM server_state WHERE name = 'first_restore'"
_LAST_PUSHED = f"""
    SELECT DISTINCT ON (document_id) '{PUSHED}', document_id, version, op, false, CAST(pushed_body AS text), pushed, ''
    FROM mutation
    WHERE document_id = ANY(%(ids)b::uuid[]) AND device_id = %(device)s AND version IS NOT NULL
    ORDER BY document_id, seq DESC
"""
_WRITE_VERSIONS = """
    WITH given AS (
        SELECT * FROM unnest(
            %(ids)b::uuid[], %(last)b::boolean[], %(kinds)b::text[], %(grids)b::text[], %(versions)b::integer[],
            %(ops)b::uuid[], %(deleted)b::boolean[], %(captured)b::timestamptz[], %(bodies)b::text[],
            %(sealed)b::bytea[], %(id_indexes)b::bytea[], %(phone_indexes)b::bytea[], %(block_indexes)b::bytea[],
            %(name_years)b::bytea[], %(name_addresses)b::bytea[], %(link_indexes)b::bytea[], %(natural_keys)b::text[],
            %(h3_cells)b::text[]
        ) AS row (id, last, kind, grid_id, version, op, deleted, captured_at, body, sealed, id_index, phone_index,
                  block_index, name_year_index, name_address_index, link_index, natural_key, h3_cell)
    ), written AS (
        INSERT INTO document (id, kind, grid_id, version, op, deleted, body, sealed, id_index, phone_index, block_index,
                              name_year_index, name_address_index, link_index, natural_key, h3_cell, account_id,
                              device_id, captured_at, created_at, updated_at)
        SELECT id, kind, grid_id, version, op, deleted, CAST(body AS json), sealed, id_index, phone_index, block_index,
               name_year_index, name_address_index, link_index, natural_key, h3_cell, %(account)s::uuid,
               %(device)s::uuid, captured_at, %(now)s, %(now)s
        FROM given WHERE last
        ON CONFLICT (id) DO UPDATE SET
            grid_id = excluded.grid_id, version = excluded.version, op = excluded.op, deleted = excluded.deleted,
            body = excluded.body, sealed = excluded.sealed, id_index = excluded.id_index,
            phone_index = excluded.phone_index, block_index = excluded.block_index,
            name_year_index = excluded.name_year_index, name_address_index = excluded.name_address_index,
            link_index = excluded.link_index,
            natural_key = excluded.natural_key, h3_cell = excluded.h3_cell, account_id = excluded.account_id,
            device_id = excluded.device_id, captured_at = excluded.captured_at, updated_at = excluded.updated_at
    )
    INSERT INTO document_version (document_id, version, op, grid_id, deleted, body, sealed, account_id, device_id,
                                  created_at)
    SELECT id, version, op, grid_id, deleted, CAST(body AS json), sealed, %(account)s::uuid, %(device)s::uuid, %(now)s
    FROM given
"""
_WRITE_LEDGER = """
    INSERT INTO mutation (document_id, op, kind, device_id, account_id, fingerprint, outcome, base_version, version,
                          pushed, pushed_body, client_time, created_at)
    SELECT document_id, op, kind, %(device)s::uuid, %(account)s::uuid, fingerprint, outcome, base_version, version,
           pushed, CAST(body AS json), client_time, %(now)s
    FROM unnest(%(ids)b::uuid[], %(ops)b::uuid[], %(kinds)b::text[], %(fingerprints)b::bytea[], %(outcomes)b::text[],
                %(base_versions)b::integer[], %(versions)b::integer[], %(pushed)b::bytea[], %(bodies)b::text[],
                %(client_times)b::timestamptz[])
         AS row (document_id, op, kind, fingerprint, outcome, base_version, version, pushed, body, client_time)
"""
