"""A receipt for what a device holds: which of it the server has, and whether the device is safe to wipe.

An item names a document, the `op` of the device's version and its hash (`sync.canonical`). The hash is compared with
what the device pushed, with the server's versions that its worker may see, and with what is kept for review; only where
the document is out of the worker's sight the `op` alone has to do, so that nobody can try out guesses of its content.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlmodel import Session

from backend.core.enums import Kind, Outcome, PhotoState, QuarantineState, Role
from backend.core.errors import Forbidden, Malformed, NotJson, TooLarge
from backend.kinds import Document
from backend.services.quarantined import open_all
from backend.services.records import StoredRow, open_rows
from backend.services.sealing import Vault
from backend.services.sessions import Caller
from sync.canonical import hash_of
from sync.rules import DELETED
from sync.schemas import CURRENT_SCHEMA, in_form, to_wire, tombstone_op

MAX_ITEMS = 1000
KEPT_APART = (QuarantineState.OPEN, QuarantineState.REJECTED)
"""Of a quarantined row that was released, corrected or pushed anew the content is in the record."""

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Key = tuple[UUID, UUID]
NamedPhoto = tuple[UUID, str]
"""A photo as a manifest names it: by id and SHA-256."""


class HeldRecord(msgspec.Struct):
    """One record as the device holds it."""

    kind: Kind
    id: UUID
    op: UUID
    hash: Sha256


class HeldPhoto(msgspec.Struct):
    """One photo as the device holds it."""

    photo_id: UUID
    sha256: Sha256


class Claimed(msgspec.Struct):
    """The body of a receipt call."""

    records: list[HeldRecord] = []
    photos: list[HeldPhoto] = []


class ItemState(StrEnum):
    """`applied`: the server has it. `held`: it waits for review, whole. `conflict`: it met another edit, and both sides
    are kept until somebody decides. `missing`: the server does not have it, so the device must not lose it."""

    APPLIED = "applied"
    HELD = "held"
    CONFLICT = "conflict"
    MISSING = "missing"


@dataclass(slots=True)
class _Kept:
    """What the server has of the named records: hashes by document and `op`, and the photos their content names."""

    version: int
    kinds: dict[UUID, Kind]
    pushed: dict[Key, tuple[Outcome, str | None]] = field(default_factory=dict)
    disputed: set[Key] = field(default_factory=set)
    versions: dict[Key, str] = field(default_factory=dict)
    current: dict[UUID, str] = field(default_factory=dict)
    held: dict[Key, list[tuple[QuarantineState, str | None]]] = field(default_factory=dict)
    ops: dict[UUID, set[UUID]] = field(default_factory=dict)
    own_photos: set[NamedPhoto] = field(default_factory=set)


def read_claims(body: bytes) -> Claimed:
    """The items of a body. `NotJson`, `Malformed`, or `TooLarge` beyond `MAX_ITEMS` of a sort."""
    try:
        claimed = msgspec.json.decode(body, type=Claimed)
    except (msgspec.ValidationError, UnicodeError, RecursionError) as error:
        raise Malformed("records, photos: see the documentation") from error
    except msgspec.DecodeError as error:
        raise NotJson from error
    if max(len(claimed.records), len(claimed.photos)) > MAX_ITEMS:
        raise TooLarge(f"at most {MAX_ITEMS} records and as many photos", max_items=MAX_ITEMS)
    return claimed


def receipt(session: Session, *, caller: Caller, claimed: Claimed, version: int = CURRENT_SCHEMA) -> Document:
    """The state of each item, in order; hashes are of documents in the form of `version`.

    `safe` where nothing is missing: no item, and no photo that a record of this device names. `Forbidden` for callers
    that are no handheld.
    """
    if caller.device_id is None or caller.role is not Role.GRID_WORKER:
        raise Forbidden
    kept = _read(session, claimed.records, device_id=caller.device_id, version=version)
    states = [_state_of(item, kept) for item in claimed.records]
    arrived = _arrived(session, {(photo.photo_id, photo.sha256) for photo in claimed.photos} | kept.own_photos)
    photos = [_photo_state(photo, arrived) for photo in claimed.photos]
    awaited = sorted({photo_id for photo_id, _ in kept.own_photos - arrived})
    return {
        "records": [
            {"kind": item.kind.value, "id": str(item.id), "op": str(item.op), "state": state.value}
            for item, state in zip(claimed.records, states, strict=True)
        ],
        "photos": [
            {"photo_id": str(photo.photo_id), "state": state.value}
            for photo, state in zip(claimed.photos, photos, strict=True)
        ],
        "photos_awaited": [str(photo_id) for photo_id in awaited],
        "safe": not awaited and ItemState.MISSING not in {*states, *photos},
    }


def _state_of(item: HeldRecord, kept: _Kept) -> ItemState:
    key = (item.id, item.op)
    outcome, pushed = kept.pushed.get(key, (None, None))
    if outcome is Outcome.ERASED:
        return ItemState.APPLIED
    if pushed == item.hash:
        return ItemState.CONFLICT if key in kept.disputed else ItemState.APPLIED
    if item.hash in (kept.current.get(item.id), kept.versions.get(key)):
        return ItemState.APPLIED
    for state, content in kept.held.get(key, ()):
        if content in (item.hash, None):
            return ItemState.HELD if state in KEPT_APART else ItemState.APPLIED
    ops = kept.ops.get(item.id, set())
    if any(tombstone_op(op) == item.op for op in (*ops, item.id)):
        return ItemState.APPLIED
    is_out_of_sight = item.id not in kept.current and pushed is None
    return ItemState.APPLIED if is_out_of_sight and item.op in ops and key not in kept.held else ItemState.MISSING


def _photo_state(photo: HeldPhoto, arrived: set[NamedPhoto]) -> ItemState:
    return ItemState.APPLIED if (photo.photo_id, photo.sha256) in arrived else ItemState.MISSING


def _read(session: Session, items: Sequence[HeldRecord], *, device_id: UUID, version: int) -> _Kept:
    kept = _Kept(version, {item.id: item.kind for item in items})
    if not items:
        return kept
    pairs = {"ids": [item.id for item in items], "ops": [item.op for item in items], "device": device_id}
    vault = Vault(session)
    _read_pushed(session, kept, pairs, vault)
    _read_versions(session, kept, pairs, vault)
    _read_held(session, kept, pairs)
    for row in session.connection().execute(_OPS, pairs):
        kept.ops.setdefault(row.document_id, set()).add(row.op)
    return kept


def _read_pushed(session: Session, kept: _Kept, pairs: dict[str, Any], vault: Vault) -> None:
    """The ledger's rows of this device, and which of them still wait for somebody to decide a conflict."""
    rows = list(session.connection().execute(_PUSHED, pairs))
    with_content = [row for row in rows if row.pushed_body is not None]
    stored = [StoredRow(row.document_id, row.pushed_body, row.pushed) for row in with_content]
    contents = dict(zip(map(_key, with_content), open_rows(session, stored, vault=vault), strict=True))
    for row in rows:
        fields = contents.get(_key(row))
        kept.pushed[_key(row)] = (Outcome(row.outcome), _hash(kept, row, fields))
        kept.own_photos |= _photos_of(fields)
    kept.disputed = {_key(row) for row in session.connection().execute(_DISPUTED, pairs)}


def _read_versions(session: Session, kept: _Kept, pairs: dict[str, Any], vault: Vault) -> None:
    """The versions named, and the documents as they are now: as far as the row policies show them."""
    for statement, target in ((_VERSIONS, kept.versions), (_CURRENT, None)):
        rows = list(session.connection().execute(statement, pairs))
        stored = [StoredRow(row.document_id, row.body, row.sealed) for row in rows]
        for row, fields in zip(rows, open_rows(session, stored, vault=vault), strict=True):
            found = _hash(kept, row, {**fields, DELETED: row.deleted})
            assert found is not None
            if target is None:
                kept.current[row.document_id] = found
            else:
                target[_key(row)] = found


def _read_held(session: Session, kept: _Kept, pairs: dict[str, Any]) -> None:
    """What waits for review, or waited: the payload is kept whole. One that is no readable document has no hash."""
    rows = list(session.connection().execute(_HELD, pairs))
    opened = open_all(session, {row.id: bytes(row.payload) for row in rows})
    for row in rows:
        content = opened[row.id]
        pushed = content.get("newDocumentState") if isinstance(content, dict) else None
        found = hash_of(pushed) if isinstance(pushed, dict) and "id" in pushed else None
        kept.held.setdefault(_key(row), []).append((QuarantineState(row.state), found))


def _arrived(session: Session, named: Iterable[NamedPhoto]) -> set[NamedPhoto]:
    """Those of the photos that came whole."""
    pairs = list(named)
    given = {
        "ids": [photo_id for photo_id, _ in pairs],
        "sha256": [sha256 for _, sha256 in pairs],
        "expected": PhotoState.EXPECTED.value,
    }
    return {(row.taken_as, row.sha256) for row in session.connection().execute(_ARRIVED, given)}


def _hash(kept: _Kept, row: Any, fields: Document | None) -> str | None:
    if fields is None:
        return None
    whole = to_wire(row.document_id, fields=fields, version=0, op=row.op) | {DELETED: bool(fields.get(DELETED))}
    return hash_of(in_form(kept.kinds[row.document_id], whole, kept.version))


def _photos_of(fields: Document | None) -> set[NamedPhoto]:
    named = fields.get("photos") if fields else None
    return {(UUID(entry["photo_id"]), entry["sha256"]) for entry in named or ()}


def _key(row: Any) -> Key:
    return row.document_id, row.op


_WANTED = "unnest(CAST(:ids AS uuid[]), CAST(:ops AS uuid[])) AS wanted (id, op)"
_PUSHED = text(
    f"""
    SELECT m.document_id, m.op, m.outcome, m.pushed, m.pushed_body FROM {_WANTED}
    JOIN mutation m ON m.document_id = wanted.id AND m.op = wanted.op AND m.device_id = :device
    """
)
_DISPUTED = text(
    f"""
    SELECT DISTINCT c.document_id, c.op FROM {_WANTED}
    JOIN conflict c ON c.document_id = wanted.id AND c.op = wanted.op AND c.device_id = :device
    WHERE c.hardness = 'hard' AND c.state IN ('open', 'contested')
    """
)
_VERSIONS = text(
    f"""
    SELECT v.document_id, v.op, v.deleted, v.body, v.sealed FROM {_WANTED}
    JOIN document_version v ON v.document_id = wanted.id AND v.op = wanted.op
    """
)
_CURRENT = text("SELECT id AS document_id, op, deleted, body, sealed FROM document WHERE id = ANY(:ids)")
_HELD = text(
    f"""
    SELECT q.id, q.document_id, q.op, q.state, q.payload FROM {_WANTED}
    JOIN quarantine q ON q.document_id = wanted.id AND q.op = wanted.op AND q.device_id = :device
    ORDER BY q.id
    """
)
_OPS = text("SELECT document_id, op FROM zw_known_ops(CAST(:ids AS uuid[]))")
_ARRIVED = text(
    """
    SELECT photo.taken_as, photo.sha256
    FROM unnest(CAST(:ids AS uuid[]), CAST(:sha256 AS text[])) AS wanted (taken_as, sha256)
    JOIN photo USING (taken_as, sha256)
    WHERE photo.state <> :expected
    """
)
