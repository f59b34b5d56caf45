"""Which entry of a batch is the first bad one, and what was done to it. Pure: what it is given is all it knows."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from backend.services.audit_rows import BatchRow


class Wrong(StrEnum):
    """What is wrong with the trail."""

    EDITED = "edited"
    """The entry at this place is not the one that was sealed: changed, or another put in its place."""
    DELETED = "deleted"
    INSERTED = "inserted"
    REORDERED = "reordered"
    CUT_OFF = "cut_off"
    """The trail ends before what was anchored, or before a head that was written down."""
    SEAL_ALTERED = "seal_altered"
    """The entry is as it was sealed, its seal is not."""
    BATCH_ALTERED = "batch_altered"
    """All entries are as they were sealed, the row of the batch is not, or says an earlier time than the one before."""
    DROPPED_EARLY = "dropped_early"
    ANCHOR_ALTERED = "anchor_altered"
    ANCHOR_CUT_OFF = "anchor_cut_off"


@dataclass(frozen=True, slots=True)
class Finding:
    """The first bad place. Position 0 is the batch itself; `entry_id` is empty where nothing names the entry now."""

    wrong: Wrong
    batch: int
    position: int = 0
    entry_id: str = ""
    line: int = 0
    """Of the anchor, where that is at fault."""


def first_wrong(batch: BatchRow, expected: Sequence[bytes]) -> Finding | None:
    """The first entry that is not the expected one; None where all are.

    `expected` are the hashes that were sealed, in order, or the same number of first bytes of each: what the anchor
    holds, or the seals where nothing is anchored yet.
    """
    width = len(expected[0]) if expected else 0
    actual = [digest and digest[:width] for digest in batch.digests]
    sealed, present = set(expected), set(actual)
    for index, wanted in enumerate(expected):
        found = actual[index] if index < len(actual) else None
        if found is None:
            return Finding(Wrong.DELETED, batch.number, index + 1)
        if found != wanted:
            return Finding(_kind(moved=found in sealed, still_there=wanted in present), batch.number, index + 1)
    if len(actual) > len(expected):
        return Finding(Wrong.INSERTED, batch.number, len(expected) + 1)
    return None


def first_bad_seal(batch: BatchRow) -> Finding | None:
    """The first seal that has another place or another hash than its entry; None where all agree."""
    for index, (position, sealed) in enumerate(zip(batch.positions, batch.sealed, strict=True), start=1):
        if position != index or sealed != batch.digests[index - 1]:
            return Finding(Wrong.SEAL_ALTERED, batch.number, index)
    return None


def _kind(*, moved: bool, still_there: bool) -> Wrong:
    """From whether what stands here was sealed elsewhere in the batch, and what was sealed here stands elsewhere."""
    if moved:
        return Wrong.REORDERED if still_there else Wrong.DELETED
    return Wrong.INSERTED if still_there else Wrong.EDITED
