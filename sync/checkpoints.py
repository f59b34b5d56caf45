"""How far a client is in the feeds of its grids, without I/O.

A checkpoint belongs to one collection: `{"v":1,"g":{grid:[epoch,seq]},"gone":{grid:[maxSeqHeld,lastDocId]}}`. Grids
the caller lost are paged out as tombstones first, then the held ones in order. A page is filled exactly, because a
short one ends the client's loop; all keys stay in the checkpoint, because the client merges its top level.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol
from uuid import UUID

import msgspec

from backend.core.errors import Malformed
from backend.kinds import Document

VERSION = 1
MAX_CHECKPOINT_GRIDS = 1000
FIRST_ID = UUID(int=0)


class FeedReader(Protocol):
    """The feed of one collection: in the database, or in the simulator's memory."""

    def touched(self, grid_id: str, *, after: int, room: int) -> Sequence[tuple[UUID, int]]:
        """Documents touched in the grid after a sequence number, and their numbers, in order, at most `room`."""

    def left(self, grid_id: str, *, seq: int, after: UUID, room: int) -> Sequence[UUID]:
        """Documents that the caller may hold of a grid it lost, by id after `after`, at most `room`.

        Those it was sent, whose first touch is not beyond `seq`, and those it pushed itself. A touch after the loss
        does not matter, the first one does.
        """


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


Number = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
GridId = Annotated[str, msgspec.Meta(pattern="^[0-9]{15}$")]


class _Wire(msgspec.Struct):
    v: int
    g: dict[GridId, tuple[Number, Number]]
    gone: dict[GridId, tuple[Number, UUID]] = {}


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


def next_page(
    checkpoint: Checkpoint, *, held: Mapping[str, int], reader: FeedReader, limit: int
) -> tuple[list[UUID], Checkpoint]:
    """The ids of the next page in order, and the checkpoint after it. `held` has the epoch of each membership.

    A document that moved between two held grids stands in both feeds and may come twice: leaving one out would make
    the page short.
    """
    place = _moved_on(checkpoint, held)
    found: list[UUID] = []
    for grid_id in sorted(place.gone):
        found += _gone(place, grid_id, reader, limit - len(found))
    for grid_id in sorted(place.held):
        found += _touched(place, grid_id, reader, limit - len(found))
    return found, place


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


def _gone(place: Checkpoint, grid_id: str, reader: FeedReader, room: int) -> Sequence[UUID]:
    if room <= 0:
        return []
    seq, last = place.gone[grid_id]
    ids = reader.left(grid_id, seq=seq, after=last, room=room)
    if len(ids) < room:
        del place.gone[grid_id]
    else:
        place.gone[grid_id] = (seq, ids[-1])
    return ids


def _touched(place: Checkpoint, grid_id: str, reader: FeedReader, room: int) -> Sequence[UUID]:
    if room <= 0:
        return []
    epoch, seq = place.held[grid_id]
    rows = reader.touched(grid_id, after=seq, room=room)
    if rows:
        place.held[grid_id] = (epoch, rows[-1][1])
    return [document_id for document_id, _ in rows]
