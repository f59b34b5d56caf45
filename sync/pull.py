"""Pull: the feed since a checkpoint, joined with what the caller may see now.

A checkpoint belongs to one collection: `{"v":1,"g":{grid:[epoch,seq]},"gone":{grid:[maxSeqHeld,lastDocId]}}`. Grids
the caller lost are paged out as tombstones first, then the held ones in order. A page is filled exactly, because a
short one ends the client's loop; all keys stay in the checkpoint, because the client merges its top level.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.enums import Kind, Role
from backend.core.errors import Forbidden, Malformed
from backend.kinds import Document
from backend.services import territory
from backend.services.records import StoredRow, open_rows
from backend.services.sealing import Vault
from backend.services.sessions import Caller
from sync.schemas import Claims, to_wire, tombstone
from sync.service import note_device

VERSION = 1
MAX_LIMIT = 500
MAX_CHECKPOINT_GRIDS = 1000
FIRST_ID = UUID(int=0)


@dataclass(slots=True)
class Checkpoint:
    """How far a client is, per grid: `held` is (membership epoch, sequence), `gone` (highest sequence, last id)."""

    held: dict[str, tuple[int, int]] = field(default_factory=dict)
    gone: dict[str, tuple[int, UUID]] = field(default_factory=dict)

    def to_wire(self) -> Document:
        """The JSON form."""
        return {
            "v": VERSION,
            "g": {grid: list(place) for grid, place in sorted(self.held.items())},
            "gone": {grid: [seq, str(last)] for grid, (seq, last) in sorted(self.gone.items())},
        }


Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
GridId = Annotated[str, msgspec.Meta(pattern="^[0-9]{15}$")]


class _Wire(msgspec.Struct):
    v: int
    g: dict[GridId, tuple[Sequence, Sequence]]
    gone: dict[GridId, tuple[Sequence, UUID]] = {}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of documents and tombstones, and where it ends."""

    documents: list[Document]
    checkpoint: Document


def read_checkpoint(text_form: str | None) -> Checkpoint:
    """The checkpoint a client sent; an empty one starts from the beginning. `Malformed` where it is none of ours."""
    if not text_form or text_form in ("null", "{}"):
        return Checkpoint()
    try:
        wire = msgspec.json.decode(text_form, type=_Wire)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Malformed("checkpoint") from error
    if wire.v != VERSION or len(wire.g) + len(wire.gone) > MAX_CHECKPOINT_GRIDS:
        raise Malformed("checkpoint")
    return Checkpoint(wire.g, wire.gone)


def pull(session: Session, *, caller: Caller, kind: Kind, checkpoint: Checkpoint, limit: int, claims: Claims) -> Page:
    """The next page of a collection for a handheld. `Forbidden` for callers that are no handheld."""
    if caller.device_id is None or caller.role is not Role.GRID_WORKER:
        raise Forbidden
    limit = max(1, min(limit, MAX_LIMIT))
    held = territory.held_grids(session, caller.account_id, at=now())
    place = _moved_on(checkpoint, held)
    found: list[tuple[UUID, str]] = []
    for grid_id in sorted(place.gone):
        found += _gone(session, place, grid_id, kind, limit - len(found), device_id=caller.device_id)
    for grid_id in sorted(place.held):
        found += _touched(session, place, grid_id, kind, limit - len(found))
    note_device(session, device_id=caller.device_id, claims=claims)
    documents = _read(session, kind, [document_id for document_id, _ in found], held)
    return Page(documents, place.to_wire())


def _moved_on(checkpoint: Checkpoint, held: Mapping[str, int]) -> Checkpoint:
    """The checkpoint under today's memberships: a lost grid is to be paged out, a new or regained one starts anew."""
    place = Checkpoint(gone={grid: at for grid, at in checkpoint.gone.items() if grid not in held})
    for grid_id, epoch in held.items():
        known_epoch, seq = checkpoint.held.get(grid_id, (epoch, 0))
        place.held[grid_id] = (epoch, seq if known_epoch == epoch else 0)
    for grid_id, (_, seq) in checkpoint.held.items():
        if grid_id not in held and grid_id not in place.gone:
            place.gone[grid_id] = (seq, FIRST_ID)
    return place


def _gone(
    session: Session, place: Checkpoint, grid_id: str, kind: Kind, room: int, *, device_id: UUID
) -> list[tuple[UUID, str]]:
    """Documents the client may hold of a grid it lost: those it was sent, and those it pushed itself.

    A touch after the loss does not matter, the first one does.
    """
    if room <= 0:
        return []
    seq, last = place.gone[grid_id]
    rows = session.connection().execute(
        _GONE, {"grid": grid_id, "kind": kind.value, "seq": seq, "last": last, "room": room, "device": device_id}
    )
    ids = [row.document_id for row in rows]
    if len(ids) < room:
        del place.gone[grid_id]
    else:
        place.gone[grid_id] = (seq, ids[-1])
    return [(document_id, grid_id) for document_id in ids]


def _touched(session: Session, place: Checkpoint, grid_id: str, kind: Kind, room: int) -> list[tuple[UUID, str]]:
    if room <= 0:
        return []
    epoch, seq = place.held[grid_id]
    rows = list(session.connection().execute(_TOUCHED, {"grid": grid_id, "kind": kind.value, "seq": seq, "room": room}))
    if rows:
        place.held[grid_id] = (epoch, rows[-1].seq)
    return [(row.document_id, grid_id) for row in rows]


def _read(session: Session, kind: Kind, ids: list[UUID], held: Mapping[str, int]) -> list[Document]:
    """The documents in the order of the page, as they are now, or tombstones. One that moved between two held grids
    stands twice: leaving one out would make the page short."""
    rows = list(session.connection().execute(_DOCUMENTS, {"ids": ids}))
    seen = [row for row in rows if not row.deleted and row.grid_id in held]
    vault = Vault(session)
    opened = open_rows(session, [StoredRow(row.id, row.body, row.sealed) for row in seen], vault=vault)
    live = {
        row.id: to_wire(row.id, fields=fields, version=row.version, op=row.op)
        for row, fields in zip(seen, opened, strict=True)
    }
    gone = [document_id for document_id in ids if document_id not in live]
    versions = {row.id: row for row in session.connection().execute(_VERSIONS, {"ids": gone})} if gone else {}
    return [
        live.get(document_id)
        or tombstone(kind, document_id, version=versions[document_id].version, op=versions[document_id].op)
        for document_id in ids
    ]


_TOUCHED = text(
    """
    SELECT document_id, seq FROM feed WHERE grid_id = :grid AND kind = :kind AND seq > :seq ORDER BY seq LIMIT :room
    """
)
_GONE = text(
    """
    SELECT document_id FROM feed
    WHERE grid_id = :grid AND kind = :kind AND document_id > :last
      AND (first_seq <= :seq OR EXISTS (SELECT FROM mutation m
                                        WHERE m.document_id = feed.document_id AND m.device_id = :device))
    ORDER BY document_id LIMIT :room
    """
)
_DOCUMENTS = text("SELECT id, grid_id, version, op, deleted, body, sealed FROM document WHERE id = ANY(:ids)")
_VERSIONS = text("SELECT id, version, op FROM zw_versions(CAST(:ids AS uuid[]))")
