"""How far a client is in the feeds of its grids, without I/O.

A checkpoint belongs to one collection: `{"v":1,"g":{grid:[epoch,seq]},"gone":{grid:[maxSeqHeld,lastDocId,epoch]}}`.
Grids the caller lost are paged out as tombstones first, then the held ones in order. A page is filled exactly, because
a short one ends the client's loop; all keys stay in the checkpoint, because the client merges its top level.

A grid that was paged out stays under `gone` with the last of all ids and the epoch of the term that ended: a device
may push into a grid and lose it without one pull in between, and then only a term that `gone` does not know tells that
there is something to forget.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple, Protocol
from uuid import UUID

import msgspec

from backend.core.errors import Malformed
from backend.kinds import Document

VERSION = 1
MAX_CHECKPOINT_GRIDS = 1000
MAX_SEQ = 2**62
BEYOND = 2**53 - 1
"""Beyond every number of a feed, and still one that a client in JavaScript gives back as it got it."""
FIRST_ID, LAST_ID = UUID(int=0), UUID(int=2**128 - 1)


class Held(NamedTuple):
    """How far a grid was read: the epoch of the membership, and the number up to which.

    `reached` is where the device stood in an earlier term that was not paged out whole: it may hold documents up to
    there although this term is read from the beginning.
    """

    epoch: int
    seq: int
    reached: int = 0


class Gone(NamedTuple):
    """How far a lost grid was paged out: the highest sequence held, the last document, the epoch of the term."""

    seq: int
    last: UUID
    epoch: int


class FeedReader(Protocol):
    """The feed of one collection: in the database, or in the simulator's memory."""

    def touched(self, grid_id: str, *, after: int, room: int) -> Sequence[tuple[UUID, int]]:
        """Documents touched in the grid after a sequence number, and their numbers, in order, at most `room`."""

    def left(self, grid_id: str, *, seq: int, after: UUID, room: int) -> Sequence[UUID]:
        """Documents that the caller may hold of a grid it lost, by id after `after`, at most `room`.

        Those it was sent, whose first touch is not beyond `seq`; those it pushed itself; and those that stand in the
        feed of another of its grids too: they moved, and may have come through that one. A touch after the loss does
        not matter, the first one does.
        """


@dataclass(slots=True)
class Checkpoint:
    """How far a client is, per grid."""

    held: dict[str, Held] = field(default_factory=dict)
    gone: dict[str, Gone] = field(default_factory=dict)

    def to_wire(self) -> Document:
        """The JSON form."""
        return {
            "v": VERSION,
            "g": {grid: list(at if at.reached > at.seq else at[:2]) for grid, at in sorted(self.held.items())},
            "gone": {grid: [at.seq, str(at.last), at.epoch] for grid, at in sorted(self.gone.items())},
        }


Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)]
GridId = Annotated[str, msgspec.Meta(pattern="^[0-9]{15}$")]


class _Held(msgspec.Struct, array_like=True):
    epoch: Number
    seq: Number
    reached: Number = 0


class _Gone(msgspec.Struct, array_like=True):
    seq: Number
    last: UUID
    epoch: Number = 0


class _Wire(msgspec.Struct):
    v: int
    g: dict[GridId, _Held]
    gone: dict[GridId, _Gone] = {}


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
    return Checkpoint(
        {grid: Held(at.epoch, at.seq, at.reached) for grid, at in wire.g.items()},
        {grid: Gone(at.seq, at.last, at.epoch) for grid, at in wire.gone.items()},
    )


@dataclass(frozen=True, slots=True)
class Lost:
    """A grid that the caller lost: the epoch of the term that ended last, and whether this device was there then."""

    epoch: int
    was_there: bool


def next_page(
    checkpoint: Checkpoint, *, held: Mapping[str, int], lost: Mapping[str, Lost], reader: FeedReader, limit: int
) -> tuple[list[UUID], Checkpoint]:
    """The ids of the next page in order, and the checkpoint after it.

    `held` has the epoch of the membership that runs. A document that moved between two held grids stands in both
    feeds and may come twice: leaving one out would make the page short.
    """
    place = _moved_on(checkpoint, held, lost)
    found: list[UUID] = []
    for grid_id in sorted(place.gone):
        found += _gone(place, grid_id, reader, limit - len(found))
    for grid_id in sorted(place.held):
        found += _touched(place, grid_id, reader, limit - len(found))
    return found, place


def _moved_on(checkpoint: Checkpoint, held: Mapping[str, int], lost: Mapping[str, Lost]) -> Checkpoint:
    """The checkpoint under today's memberships: a lost grid is to be paged out, a new or regained one starts anew."""
    place = Checkpoint()
    for grid_id, epoch in held.items():
        known = checkpoint.held.get(grid_id)
        is_same_term = known is not None and known.epoch == epoch
        place.held[grid_id] = known if known and is_same_term else Held(epoch, 0, _reached(checkpoint, grid_id))
    for grid_id in {*checkpoint.held, *checkpoint.gone, *lost} - held.keys():
        place.gone[grid_id] = _left_off(checkpoint, grid_id, lost.get(grid_id, Lost(0, was_there=False)))
    return place


def _reached(checkpoint: Checkpoint, grid_id: str) -> int:
    """Up to where the device may hold documents of a grid, by its checkpoint."""
    if grid_id in checkpoint.held:
        return max(checkpoint.held[grid_id].seq, checkpoint.held[grid_id].reached)
    at = checkpoint.gone.get(grid_id)
    return 0 if at is None or at.last == LAST_ID else at.seq


def _left_off(checkpoint: Checkpoint, grid_id: str, lost: Lost) -> Gone:
    """Where the paging out of a lost grid goes on.

    A device that was there and whose checkpoint knows nothing of the grid starts anew after a restore: it may hold
    anything. One that was enrolled later holds nothing.
    """
    if grid_id in checkpoint.held:
        return Gone(_reached(checkpoint, grid_id), FIRST_ID, lost.epoch)
    known = checkpoint.gone.get(grid_id)
    if known is None:
        return Gone(BEYOND if lost.was_there else 0, FIRST_ID, lost.epoch)
    return known if known.epoch >= lost.epoch else Gone(known.seq, FIRST_ID, lost.epoch)


def _gone(place: Checkpoint, grid_id: str, reader: FeedReader, room: int) -> Sequence[UUID]:
    at = place.gone[grid_id]
    if room <= 0 or at.last == LAST_ID:
        return []
    ids = reader.left(grid_id, seq=at.seq, after=at.last, room=room)
    place.gone[grid_id] = at._replace(last=LAST_ID if len(ids) < room else ids[-1])
    return ids


def _touched(place: Checkpoint, grid_id: str, reader: FeedReader, room: int) -> Sequence[UUID]:
    if room <= 0:
        return []
    at = place.held[grid_id]
    rows = reader.touched(grid_id, after=at.seq, room=room)
    if rows:
        place.held[grid_id] = at._replace(seq=rows[-1][1])
    return [document_id for document_id, _ in rows]
