"""Quarantined rows at rest: a row that names humans is sealed under their keys, else under its document's or its own.

A row about one subject keeps its very bytes. A row that names several, such as a house with its owner and tenants, is
kept as JSON in as many parts, so that erasing one of them leaves the rest. What cannot be read as a row is kept as
bytes under the document's id, where the id could be read, else under the id of the quarantined row.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from sqlmodel import Session

from backend.core.crypto import key_ring
from backend.core.enums import Kind
from backend.kinds import KINDS, KindSpec
from backend.services.records import nested_subject, subject_of
from backend.services.sealing import FIRST_BLOB_BYTE, Part, Subject, Vault, place, subjects_in

SIDES = ("newDocumentState", "assumedMasterState")
CONTEXT = b"quarantine"


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """A row to be kept, whole, with the id it gets."""

    id: UUID
    kind: Kind
    document_id: UUID | None
    content: bytes


def seal_all(vault: Vault, rows: Sequence[QuarantinedRow]) -> list[bytes]:
    """Seal rows, with one read and one write of keys. Of erased subjects nothing is kept."""
    split = [_parts_of(row) for row in rows]
    wanted = {part.subject for parts in split for part in parts}
    gone = vault.erased(wanted)
    vault.provide(wanted - gone)
    kept = [[part for part in parts if part.subject not in gone] for parts in split]
    return [vault.seal(parts, context=_context(row.id)) or NOTHING for row, parts in zip(rows, kept, strict=True)]


def open_all(session: Session, payloads: Mapping[UUID, bytes]) -> dict[UUID, Any]:
    """Each row as JSON, or as text where it is none that can be written again; None where its subject was erased."""
    blobs = {row_id: blob for row_id, blob in payloads.items() if not is_system(blob)}
    vault = Vault(session)
    vault.load(subjects_in(blobs.values()))
    return {
        row_id: _joined(vault.open(blob, context=_context(row_id)))
        if row_id in blobs
        else _readable(key_ring().open_system(blob, context=CONTEXT))
        for row_id, blob in payloads.items()
    }


def is_system(payload: bytes) -> bool:
    """Whether release 0.1.0 sealed it, under the ring itself."""
    return payload[0] < FIRST_BLOB_BYTE


def _parts_of(row: QuarantinedRow) -> list[Part]:
    fallback = row.document_id or row.id
    decoded = _decoded(row.content)
    sides = {name: decoded[name] for name in SIDES if decoded and isinstance(decoded.get(name), dict)}
    if decoded is None or not sides:
        return [Part(fallback.bytes, ("raw",), row.content)]
    spec = KINDS[row.kind]
    owners = {name: subject_of(spec, fallback, side) for name, side in sides.items()}
    own = next(iter(owners.values()))
    rest = {name: value for name, value in decoded.items() if name not in sides}
    parts = [Part(own, ("row",), rest)]
    for name, side in sides.items():
        parts += _side(spec, name, side, owners[name])
    if {part.subject for part in parts} == {own}:
        return [Part(own, ("raw",), row.content)]
    return parts


def _side(spec: KindSpec, side: str, fields: Mapping[str, Any], own: Subject) -> Iterator[Part]:
    nested = {name: value for name, value in fields.items() if name in spec.nested}
    listed: dict[str, Any] = {name: [] for name, value in nested.items() if isinstance(value, list)}
    yield Part(own, ("row", side), {name: value for name, value in fields.items() if name not in nested} | listed)
    for name, value in nested.items():
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield Part(nested_subject(item, own), ("row", side, name, index), item)
        else:
            yield Part(nested_subject(value, own), ("row", side, name), value)


def _joined(parts: Iterable[Part]) -> Any:
    placed = place({}, parts)
    if "raw" in placed:
        return _readable(base64.b64decode(placed["raw"]))
    return placed.get("row")


def _decoded(content: bytes) -> dict[str, Any] | None:
    try:
        row = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _readable(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return content.decode(errors="replace")


def _context(row_id: UUID) -> bytes:
    return CONTEXT + row_id.bytes


NOTHING = msgspec.msgpack.encode([])
