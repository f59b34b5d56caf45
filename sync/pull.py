"""Pull: the feed since a checkpoint, joined with what the caller may see now (rule 8)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from msgspec.json import decode
from sqlalchemy import text
from sqlmodel import Session

from backend.core import statements
from backend.core.clock import now
from backend.core.enums import Kind, Role
from backend.core.errors import Forbidden
from backend.kinds import Document
from backend.models import Device
from backend.services import territory
from backend.services.records import StoredRow, open_rows
from backend.services.sealing import Vault
from backend.services.sessions import Caller
from sync.ahead import refuse_ahead
from sync.checkpoints import Checkpoint, Lost, next_page
from sync.schemas import Claims, in_form, to_wire, tombstone
from sync.service import note_device

MAX_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Page:
    """One page of documents and tombstones, and where it ends."""

    documents: list[Document]
    checkpoint: Document


@dataclass(frozen=True, slots=True)
class _StoredFeed:
    """The feed of one collection in PostgreSQL, as a `FeedReader`. `grids` are those held now or once."""

    session: Session
    kind: Kind
    device_id: UUID
    grids: Sequence[str]

    def touched(self, grid_id: str, *, after: int, room: int) -> Sequence[tuple[UUID, int]]:
        given = {"grid": grid_id, "kind": self.kind.value, "seq": after, "room": room}
        return [(document_id, number) for document_id, number in statements.rows(self.session, _TOUCHED, given)]

    def left(self, grid_id: str, *, seq: int, after: UUID, room: int) -> Sequence[UUID]:
        given = {"grid": grid_id, "kind": self.kind.value, "seq": seq, "last": after, "room": room}
        rows = self.session.connection().execute(_GONE, {**given, "device": self.device_id, "grids": self.grids})
        return [row.document_id for row in rows]


def pull(session: Session, *, caller: Caller, kind: Kind, checkpoint: Checkpoint, limit: int, claims: Claims) -> Page:
    """The next page of a collection for a handheld. `Forbidden` for callers that are no handheld, `CheckpointAhead`
    where the checkpoint cannot be one of ours."""
    if caller.device_id is None or caller.role is not Role.GRID_WORKER:
        raise Forbidden
    moment = now()
    held = territory.held_grids(session, caller.account_id, at=moment)
    refuse_ahead(session, asked=checkpoint.held, held=held)
    lost = _lost(session, checkpoint, account_id=caller.account_id, device_id=caller.device_id, at=moment)
    reader = _StoredFeed(session, kind, caller.device_id, [*held, *lost])
    ids, place = next_page(checkpoint, held=held, lost=lost, reader=reader, limit=max(1, min(limit, MAX_LIMIT)))
    note_device(session, device_id=caller.device_id, claims=claims)
    documents = _read(session, kind, ids, held)
    return Page([in_form(kind, document, claims.schema_version) for document in documents], place.to_wire())


def _lost(
    session: Session, checkpoint: Checkpoint, *, account_id: UUID, device_id: UUID, at: datetime
) -> dict[str, Lost]:
    """The grids the worker lost. Whether the device was there is asked only where its checkpoint knows nothing."""
    ended = territory.lost_grids(session, account_id, at=at)
    unknown = ended.keys() - checkpoint.held.keys() - checkpoint.gone.keys()
    enrolled_at = session.get_one(Device, device_id).enrolled_at if unknown else at
    return {grid_id: Lost(term.epoch, enrolled_at < term.ended_at) for grid_id, term in ended.items()}


def _read(session: Session, kind: Kind, ids: list[UUID], held: Mapping[str, int]) -> list[Document]:
    """The documents in the order of the page, as they are now, or tombstones."""
    found = statements.rows(session, _DOCUMENTS, {"ids": ids})
    seen = [(StoredRow(row[0], decode(row[4]), row[5]), *row[1:4]) for row in found if row[6] in held]
    opened = open_rows(session, [stored for stored, *_ in seen], vault=Vault(session), fresh=True)
    live = {
        stored.id: to_wire(name, fields=fields, version=version, op=op)
        for (stored, name, version, op), fields in zip(seen, opened, strict=True)
    }
    gone = [document_id for document_id in ids if document_id not in live]
    tombstones = {
        row.id: tombstone(kind, row.id, version=row.version, op=row.op, merged_into=row.merged_into)
        for row in (session.connection().execute(_VERSIONS, {"ids": gone}) if gone else ())
    }
    return [live.get(document_id) or tombstones[document_id] for document_id in ids]


_TOUCHED = """
    SELECT document_id, seq FROM feed
    WHERE grid_id = %(grid)s::text AND kind = %(kind)s::text AND seq > %(seq)s ORDER BY seq LIMIT %(room)s
"""
_GONE = text(
    """
    SELECT document_id FROM feed
    WHERE grid_id = :grid AND kind = :kind AND document_id > :last
      AND (first_seq <= :seq OR EXISTS (SELECT FROM mutation m
                                        WHERE m.document_id = feed.document_id AND m.device_id = :device)
                            OR EXISTS (SELECT FROM feed f
                                       WHERE f.grid_id = ANY(:grids) AND f.grid_id <> :grid
                                         AND f.document_id = feed.document_id))
    ORDER BY document_id LIMIT :room
    """
)
_DOCUMENTS = """
    SELECT id, CAST(id AS text), version, CAST(op AS text), CAST(body AS text), sealed, CAST(grid_id AS text)
    FROM document WHERE id = ANY(%(ids)b::uuid[]) AND NOT deleted
"""
_VERSIONS = text("SELECT id, version, op, merged_into FROM zw_versions(CAST(:ids AS uuid[]))")
