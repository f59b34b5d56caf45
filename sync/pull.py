"""Pull: the feed since a checkpoint, joined with what the caller may see now (rule 8)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec.json import decode, encode
from sqlalchemy import text
from sqlmodel import Session

from backend.core import statements
from backend.core.clock import now
from backend.core.enums import Kind, Role
from backend.core.errors import Forbidden
from backend.kinds import Document
from backend.models import Device
from backend.services import territory
from backend.services.records import open_members
from backend.services.sessions import Caller
from sync.ahead import refuse_ahead
from sync.checkpoints import Checkpoint, Lost, next_page
from sync.schemas import CURRENT_SCHEMA, Claims, in_form, tombstone
from sync.service import note_device

MAX_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Page:
    """One page of documents and tombstones, and where it ends."""

    documents: list[msgspec.Raw]
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
    return Page(_read(session, kind, ids, held, claims.schema_version), place.to_wire())


def _lost(
    session: Session, checkpoint: Checkpoint, *, account_id: UUID, device_id: UUID, at: datetime
) -> dict[str, Lost]:
    """The grids the worker lost. Whether the device was there is asked only where its checkpoint knows nothing."""
    ended = territory.lost_grids(session, account_id, at=at)
    unknown = ended.keys() - checkpoint.held.keys() - checkpoint.gone.keys()
    enrolled_at = session.get_one(Device, device_id).enrolled_at if unknown else at
    return {grid_id: Lost(term.epoch, enrolled_at < term.ended_at) for grid_id, term in ended.items()}


def _read(session: Session, kind: Kind, ids: list[UUID], held: Mapping[str, int], form: int) -> list[msgspec.Raw]:
    """The documents in the order of the page, as they are now, or tombstones; as JSON, which takes a fifth of the work
    of taking each apart and putting it together again."""
    found = [row for row in statements.rows(session, _DOCUMENTS, {"ids": ids}) if row[-1] in held]
    opened = open_members(session, [(row[0], row[4], row[5]) for row in found])
    live = {
        row[0]: msgspec.Raw(_ON_WIRE % (name, members, version, op))
        for row, (_, name, version, op, *_), members in zip(found, found, opened, strict=True)
    }
    gone = [document_id for document_id in ids if document_id.bytes not in live]
    for row in session.connection().execute(_VERSIONS, {"ids": gone}) if gone else ():
        buried = tombstone(kind, row.id, version=row.version, op=row.op, merged_into=row.merged_into)
        live[row.id.bytes] = msgspec.Raw(encode(buried))
    page = [live[document_id.bytes] for document_id in ids]
    if form >= CURRENT_SCHEMA:
        return page
    return [msgspec.Raw(encode(in_form(kind, decode(document), form))) for document in page]


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
    SELECT uuid_send(id), convert_to(CAST(id AS text), 'UTF8'), version, convert_to(CAST(op AS text), 'UTF8'),
           CAST(body AS text), sealed, CAST(grid_id AS text)
    FROM document WHERE id = ANY(%(ids)b::uuid[]) AND NOT deleted
"""
_ON_WIRE = b'{"id":"%b",%b,"rev":%d,"op":"%b","_deleted":false}'
_VERSIONS = text("SELECT id, version, op, merged_into FROM zw_versions(CAST(:ids AS uuid[]))")
