"""Verifies the whole trail against its anchor and locates the first bad entry.

The anchor is read twice: first for its signatures, its chain and its forks, then along the batches of the database.
Memory stays the same however long the trail is. What the anchor says is taken for true, what the database says never
is; batches that are not anchored yet are held to their own seals. Run it in a repeatable-read transaction: sealing and
retention go on meanwhile.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import text
from sqlmodel import Session

from backend.services.audit_anchor import SHORT_BYTES, AnchorAltered, Batch, Fork, Start, public_text, read_lines
from backend.services.audit_chain import noted_batch
from backend.services.audit_hashing import NO_HEAD, batch_head, microseconds, moment_of
from backend.services.audit_locate import Finding, Wrong, first_bad_seal, first_wrong
from backend.services.audit_rows import BatchRow, entry_ids, rows_of
from backend.services.audit_sealing import LEAST_KEPT, LONGEST_TRANSACTION

PENDING_FOR = timedelta(minutes=10)
"""A batch is anchored within a second or so. One that was not for this long was taken out of the anchor, or the
anchor cannot be written: both are for a person to look at."""
LATE_SHOWN = 20


@dataclass(slots=True)
class Report:
    """What was found. `late` entries say a time long before the sealing of the batch before theirs: a clock that was
    set back, or an entry put in with a false time. They are part of the trail as it was written, so no finding."""

    batches: int = 0
    entries: int = 0
    dropped_batches: int = 0
    unanchored: int = 0
    unsealed: int = 0
    forks: int = 0
    lines: int = 0
    head: bytes = NO_HEAD
    public_key: str = ""
    late: list[Finding] = field(default_factory=list)
    finding: Finding | None = None


@dataclass(slots=True)
class Survey:
    """The anchor after its first reading: which lines hold for the present trail.

    `stretches` are runs of line numbers, first and last; a fork leaves the lines after its parent behind.
    """

    stretches: list[tuple[int, int]] = field(default_factory=list)
    lines: int = 0
    last: int = 0
    forks: int = 0
    public_key: str = ""
    has_head: bool = False

    def holds(self, line: int) -> bool:
        """Whether a line belongs to the present trail."""
        return any(first <= line <= last for first, last in self.stretches)


@dataclass(frozen=True, slots=True)
class _Segment:
    """Lines from a fork (or the start) to the next one, and the line they go on from."""

    first: int
    last: int
    parent: int


def verify(
    session: Session,
    *,
    path: Path,
    moment: datetime,
    key: Ed25519PublicKey | None = None,
    expect_head: bytes | None = None,
) -> Report:
    """Read everything and report; stops at the first finding. Without `key` the one the anchor names is taken."""
    report = Report()
    try:
        survey = _survey(path, key, expect_head)
    except AnchorAltered as error:
        batch = _batch_before(path, key) + 1
        report.finding = Finding(Wrong.ANCHOR_ALTERED, batch, line=error.line)
        return report
    report.lines, report.forks, report.public_key = survey.lines, survey.forks, survey.public_key
    session.connection().execute(_MEMORY)
    walk = _Walk(session, report, moment=moment, expect_head=expect_head, seen=survey.has_head)
    report.finding = walk.along(_holding(path, survey))
    return report


class _Walk:
    """One walk along the batches of the database and the lines of the anchor that hold."""

    def __init__(
        self, session: Session, report: Report, *, moment: datetime, expect_head: bytes | None, seen: bool
    ) -> None:
        self._session = session
        self._report = report
        self._moment = microseconds(moment)
        self._expect = expect_head
        self._seen = seen or expect_head is None
        self._number = 0
        self._sealed_at: int | None = None

    def along(self, lines: Iterator[Batch | Fork]) -> Finding | None:
        """Check each batch against its line; gives the first thing that is wrong."""
        noted, line = noted_batch(self._session), next(lines, None)
        for batch in rows_of(self._session):
            if batch.number != self._number + 1:
                return Finding(Wrong.DELETED, self._number + 1)
            anchored = line if isinstance(line, Batch) and line.number == batch.number else None
            finding = self._check(batch, anchored, noted=noted, below_fork=isinstance(line, Fork))
            if finding:
                return self._with_entry(finding, batch)
            if anchored or (isinstance(line, Fork) and line.number == batch.number):
                if line is not None and line.head != batch.head.hex():
                    return Finding(Wrong.BATCH_ALTERED, batch.number)
                line = next(lines, None)
        if line is not None or noted > self._number:
            return Finding(Wrong.CUT_OFF, self._number + 1, 1)
        return self._end()

    def _with_entry(self, finding: Finding, batch: BatchRow) -> Finding:
        """The finding with the id of its entry, where a seal at this place still names it."""
        at = finding.position - 1
        moved_up = finding.wrong is Wrong.DELETED and at < len(batch.digests) and batch.digests[at] is not None
        if at < 0 or moved_up:
            return finding
        ids = entry_ids(self._session, batch.number)
        return replace(finding, entry_id=ids[at] if at < len(ids) else "")

    def _check(self, batch: BatchRow, line: Batch | None, *, noted: int, below_fork: bool) -> Finding | None:
        head = self._report.head
        if batch.dropped is not None:
            finding = self._dropped(batch, line)
        elif line is not None:
            finding = self._held_to(batch, line, head)
        else:
            finding = _held_to_seals(batch, head)
        if finding is None and self._sealed_at is not None and batch.sealed_at < self._sealed_at:
            finding = Finding(Wrong.BATCH_ALTERED, batch.number)
        if finding:
            return finding
        if line is None and not below_fork:
            if batch.number <= noted or batch.sealed_at < self._moment - PENDING_FOR // timedelta(microseconds=1):
                return Finding(Wrong.ANCHOR_CUT_OFF, batch.number)
            self._report.unanchored += 1
        self._note(batch)
        return None

    def _held_to(self, batch: BatchRow, line: Batch, head: bytes) -> Finding | None:
        hashes = batch.hashes()
        if batch_head(head, batch.number, hashes).hex() == line.head and batch.is_whole() and _agrees(batch, line):
            return None
        return (
            first_wrong(batch, line.short_hashes())
            or first_bad_seal(batch)
            or Finding(Wrong.BATCH_ALTERED, batch.number)
        )

    def _dropped(self, batch: BatchRow, line: Batch | None) -> Finding | None:
        """A dropped batch has its hashes left. It must have been old enough by what the anchor says."""
        hashes = batch.hashes()
        if batch.positions:
            return Finding(Wrong.INSERTED, batch.number, 1)
        sealed_at = line.sealed_at if line else batch.sealed_at
        dropped_at = min(batch.dropped_at or 0, self._moment)
        if dropped_at - sealed_at < LEAST_KEPT // timedelta(microseconds=1):
            return Finding(Wrong.DROPPED_EARLY, batch.number)
        head = self._report.head
        chained = batch.previous_head == head and batch_head(head, batch.number, hashes) == batch.head
        if chained and len(hashes) == batch.entry_count and (line is None or _agrees(batch, line)):
            return None
        for index, short in enumerate(line.short_hashes() if line else [], start=1):
            if index > len(hashes) or hashes[index - 1][:SHORT_BYTES] != short:
                return Finding(Wrong.SEAL_ALTERED, batch.number, index)
        return Finding(Wrong.BATCH_ALTERED, batch.number)

    def _note(self, batch: BatchRow) -> None:
        report = self._report
        if self._sealed_at is not None:
            earliest = self._sealed_at - LONGEST_TRANSACTION // timedelta(microseconds=1)
            if batch.first_at < earliest and batch.dropped is None:
                self._late(batch.number, earliest)
        report.batches += 1
        report.entries += len(batch.positions)
        report.dropped_batches += batch.dropped is not None
        report.head, self._number, self._sealed_at = batch.head, batch.number, batch.sealed_at
        self._seen = self._seen or batch.head == self._expect

    def _late(self, number: int, earliest: int) -> None:
        for row in self._session.connection().execute(_LATE, {"number": number, "earliest": moment_of(earliest)}):
            if len(self._report.late) < LATE_SHOWN:
                self._report.late.append(Finding(Wrong.INSERTED, number, row.position, str(row.entry_id)))

    def _end(self) -> Finding | None:
        """What stands outside all batches: entries that wait, seals of no batch, and the head a person wrote down."""
        stray = self._session.connection().execute(_STRAY, {"number": self._number}).first()
        if stray:
            return Finding(Wrong.INSERTED, stray.batch, stray.position, str(stray.entry_id))
        earliest = (self._sealed_at or 0) - LONGEST_TRANSACTION // timedelta(microseconds=1)
        values = {"earliest": moment_of(earliest), "limit": LATE_SHOWN}
        rows = self._session.connection().execute(_UNSEALED, values).all()
        self._report.unsealed = rows[0].number if rows else 0
        old = [row for row in rows if row.old]
        self._report.late += [Finding(Wrong.INSERTED, 0, 0, str(row.id)) for row in old]
        return None if self._seen else Finding(Wrong.CUT_OFF, self._number + 1, 1)


def _held_to_seals(batch: BatchRow, head: bytes) -> Finding | None:
    chained = batch.previous_head == head and batch_head(head, batch.number, batch.hashes()) == batch.head
    if chained and batch.is_whole():
        return None
    return first_wrong(batch, batch.sealed) or first_bad_seal(batch) or Finding(Wrong.BATCH_ALTERED, batch.number)


def _agrees(batch: BatchRow, line: Batch) -> bool:
    """Whether the row of the batch says what its line says."""
    return (
        (batch.head.hex(), batch.previous_head.hex(), batch.entry_count) == (line.head, line.previous, line.count)
        and (batch.first_at, batch.last_at, batch.sealed_at) == (line.first_at, line.last_at, line.sealed_at)
    )  # fmt: skip


def _survey(path: Path, key: Ed25519PublicKey | None, expect_head: bytes | None) -> Survey:
    survey = Survey(public_key=public_text(key) if key else "")
    segments: list[_Segment] = []
    first, parent = 1, 0
    expected = expect_head.hex() if expect_head else None
    for read in read_lines(path, key):
        line = read.line
        if isinstance(line, Start):
            survey.public_key = line.public_key
        elif isinstance(line, Fork):
            segments.append(_Segment(first, line.line - 1, parent))
            first, parent = line.line, line.parent
            survey.forks += 1
        survey.lines = line.line
        survey.has_head = survey.has_head or line.head == expected
    segments.append(_Segment(first, survey.lines, parent))
    survey.stretches = _path_to(segments, survey.lines)
    return survey


def _path_to(segments: list[_Segment], line: int) -> list[tuple[int, int]]:
    """The runs of lines that lead to a line, the oldest first."""
    found: list[tuple[int, int]] = []
    for segment in reversed(segments):
        if segment.first <= line <= segment.last:
            found.append((segment.first, line))
            line = segment.parent
    return found[::-1]


def _holding(path: Path, survey: Survey) -> Iterator[Batch | Fork]:
    """The lines of the present trail. A fork matters only where batches before it are not in this file."""
    number = 0
    for read in read_lines(path, None, check=False):
        line = read.line
        if line.line > survey.lines:
            return
        if not survey.holds(line.line) or isinstance(line, Start):
            continue
        if isinstance(line, Batch) or line.number > number:
            yield line
        number = line.number


def _batch_before(path: Path, key: Ed25519PublicKey | None) -> int:
    """The batch of the last line before the first one that was altered."""
    number = 0
    try:
        for read in read_lines(path, key):
            number = read.line.number
    except AnchorAltered:
        return number
    return number


_MEMORY = text("SET LOCAL work_mem = '32MB'")
"""A window of entries is sorted in memory and not on disk."""
_LATE = text(
    """
    SELECT s.position, s.entry_id FROM audit_seal s JOIN audit_entry e ON e.id = s.entry_id
    WHERE s.batch = :number AND e.at < :earliest
    ORDER BY s.position
    """
)
_STRAY = text(
    """
    SELECT s.batch, s.position, s.entry_id FROM audit_seal s
    WHERE s.batch > :number OR s.batch < 1 ORDER BY s.batch, s.position LIMIT 1
    """
)
_UNSEALED = text(
    """
    SELECT e.id, count(*) OVER () AS number, e.at < :earliest AS old
    FROM audit_entry e WHERE NOT EXISTS (SELECT FROM audit_seal s WHERE s.entry_id = e.id)
    ORDER BY e.at, e.id LIMIT :limit
    """
)
