"""The sans-IO core of a push: what becomes of a batch of rows, decided in memory.

The same code runs in the API, between reads and writes of PostgreSQL (`sync.service`), and in the simulator, which
holds everything in memory (tests/simulation). Nothing here waits, reads a clock, draws a number or talks to anybody:
keyed fingerprints and the ids of the server's own versions come from functions that the caller gives.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from backend.core.enums import COLLECTED_KINDS, Kind, Outcome, QuarantineCode
from backend.kinds import KINDS, Document
from sync import projection
from sync.authority import FieldRequest, defer
from sync.known import Entry, Held, Known, Touch, Version, Wanted, Written
from sync.rules import Base, Decision, FieldConflict, Master, State, choose_base, decide, is_ahead, noted, same_state
from sync.schemas import Incoming, Refused, content_of, differs, in_form, to_wire, tombstone, tombstone_op

NO_FINGERPRINT = b""
MAX_REV = 2**31


@dataclass(frozen=True, slots=True)
class Scope:
    """The grids of whoever pushes: held now, held once, and the others that the rows name and that exist."""

    held: Set[str] = frozenset()
    past: Set[str] = frozenset()
    others: Set[str] = frozenset()


@dataclass(slots=True)
class Batch:
    """One push: whose grids count, and the writes that its rows add up to."""

    kind: Kind
    scope: Scope
    fingerprint: Callable[[bytes], bytes]
    new_op: Callable[[], UUID]
    client_time: datetime | None = None
    schema_version: int = projection.CURRENT
    versions: list[Written] = field(default_factory=list)
    ledger: list[Entry] = field(default_factory=list)
    conflicts: list[tuple[Known, UUID, FieldConflict]] = field(default_factory=list)
    requests: list[tuple[Known, Entry, FieldRequest]] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    touches: list[Touch] = field(default_factory=list)


def wanted(rows: Sequence[Incoming | Refused]) -> list[Wanted]:
    """What has to be known before the rows can be taken."""
    return [_wanted(row.id, row) for row in rows if row.id is not None]


def take_rows(
    batch: Batch, rows: Sequence[Incoming | Refused], *, known: dict[UUID, Known], erased: Set[int] = frozenset()
) -> list[Document]:
    """Decide the rows in order; the writes gather in the batch. Gives the answer of the push (rule 3).

    `erased` are the positions of rows about people who were erased.
    """
    answer: list[Document] = []
    for place, row in enumerate(rows):
        entry = known[row.id] if row.id is not None else None
        if place in erased:
            answer += _drop(batch, entry, row)
        elif isinstance(row, Incoming):
            answer += _take(batch, known[row.id], row)
        else:
            answer += _take_refused(batch, entry, row)
    return answer


def write_own(batch: Batch, known: Known, *, state: State, grid_id: str) -> None:
    """The server's own version of a document, such as the outcome of a case. Equal content adds nothing."""
    master = Master(known.master.state, known.master.version) if known.master else None
    base = Base(master.state, master.version) if master else None
    decision = decide(KINDS[batch.kind], mine=state, base=base, master=master)
    if decision.changed:
        _apply(batch, known, decision, op=batch.new_op(), grid_id=grid_id)


def write_reviewed(batch: Batch, known: Known, *, state: State, grid_id: str) -> None:
    """What a reviewer decided as the next version of a document that is there, with its row of the ledger."""
    op = batch.new_op()
    _apply(batch, known, Decision(Outcome.APPLIED, state, changed=True), op=op, grid_id=grid_id)
    assert known.master is not None
    fingerprint = batch.fingerprint(content_of(known.id, op, state.fields, deleted=state.deleted))
    version = known.master.version
    batch.ledger.append(
        Entry(known.id, op, batch.kind, Outcome.APPLIED, fingerprint, version - 1, version, pushed=state)
    )


def write_again(batch: Batch, known: Known) -> None:
    """The document as it stands, as a new version of the server's."""
    assert known.master is not None
    decision = Decision(Outcome.APPLIED, known.master.state, changed=True)
    _apply(batch, known, decision, op=batch.new_op(), grid_id=known.master.grid_id)


def write_moved(batch: Batch, known: Known, *, grid_id: str) -> None:
    """The document as it stands, in another grid, as a new version of the server's."""
    assert known.master is not None
    state = State({**known.master.state.fields, "grid_id": grid_id})
    _apply(batch, known, Decision(Outcome.APPLIED, state, changed=True), op=batch.new_op(), grid_id=grid_id)


def due_checks(batch: Batch) -> Iterator[tuple[UUID, int]]:
    """Document and version of each cross-check that is due: one a version of a collected record.

    Tombstones have nothing to be checked.
    """
    if batch.kind in COLLECTED_KINDS:
        for entry in batch.versions:
            if not entry.version.state.deleted:
                yield entry.document_id, entry.version.version


def _wanted(document_id: UUID, row: Incoming | Refused) -> Wanted:
    if isinstance(row, Incoming):
        return Wanted(document_id, row.op, row.assumed_op, row.state.deleted, _rev_without_base(row))
    return Wanted(document_id, row.op or document_id, None, deleted=False)


def _take(batch: Batch, known: Known, row: Incoming) -> list[Document]:
    """Decide one row against what is known, in memory, so that a batch may hold several rows of one document."""
    fingerprint = batch.fingerprint(row.content)
    seen = known.fingerprints.get(row.op)
    if seen == fingerprint:
        return _current(batch, known, row)
    if seen is not None:
        _hold(batch, row, QuarantineCode.OP_REUSED, fingerprint)
        return _current(batch, known, row)
    if _is_own_tombstone(known, row):
        return _current(batch, known, row) if known.master else []
    code = _refusal(batch, known, row)
    version = known.named.get(row.op)
    if code is None and version is not None:
        # The server's own version: equal content is an echo, other content an edit that took its op.
        if same_state(version.state, _lifted(batch, row, version.state)):
            return _current(batch, known, row)
        code = QuarantineCode.OP_REUSED
    if code is not None:
        _hold(batch, row, code, fingerprint)
        known.fingerprints[row.op] = fingerprint
        batch.ledger.append(Entry(row.id, row.op, batch.kind, Outcome.QUARANTINED, fingerprint))
        return _current(batch, known, row)
    _merge(batch, known, row, fingerprint)
    return _current(batch, known, row)


def _drop(batch: Batch, known: Known | None, row: Incoming | Refused) -> list[Document]:
    """Keep nothing of a row about somebody who was erased, but its name in the ledger, so that its author hears of it.

    The fingerprint stays empty: it would tell who guesses the content that he guessed right.
    """
    if known is None:
        return []
    echo = isinstance(row, Incoming) and _is_own_tombstone(known, row)
    if row.op is not None and row.op not in known.fingerprints and not echo:
        known.fingerprints[row.op] = NO_FINGERPRINT
        batch.ledger.append(Entry(known.id, row.op, batch.kind, Outcome.ERASED, NO_FINGERPRINT))
    if isinstance(row, Incoming):
        return _current(batch, known, row)
    return [_shown(batch, known, row.op or known.id)]


def _is_own_tombstone(known: Known, row: Incoming) -> bool:
    """A tombstone that we sent, for whatever reason, means nothing when it comes back (rule 9)."""
    return row.state.deleted and any(tombstone_op(op) == row.op for op in (*known.ops, known.id))


def _refusal(batch: Batch, known: Known, row: Incoming) -> QuarantineCode | None:
    """Why the row may not be applied by this caller, or None. Both the old and the new grid must be held."""
    if known.master is not None and known.kind is not batch.kind:
        return QuarantineCode.ID_TAKEN
    if known.master is None and row.state.deleted:
        return QuarantineCode.OUT_OF_SCOPE
    grids = [known.master.grid_id] if known.master else []
    grids += [] if row.state.deleted else [row.state.fields["grid_id"]]
    outside = [grid for grid in grids if grid not in batch.scope.held or known.hidden]
    if not outside:
        return None
    if outside[0] in batch.scope.past:
        return QuarantineCode.PAST_MEMBERSHIP
    is_real = known.master is not None or outside[0] in batch.scope.others
    return QuarantineCode.OUT_OF_SCOPE if is_real else QuarantineCode.UNKNOWN_GRID


def _merge(batch: Batch, known: Known, row: Incoming, fingerprint: bytes) -> None:
    base = _base_of(known, row)
    master = Master(known.master.state, known.master.version) if known.master else None
    ahead = is_ahead(rev=_rev_without_base(row), master=master)
    origin = base if base and not ahead else master
    mine = _lifted(batch, row, origin.state if origin else None)
    left = defer(mine, base, owned=known.owned)
    decision = decide(
        KINDS[batch.kind], mine=left.mine, base=left.base, master=master, ahead=ahead, living=known.living
    )
    if _is_guessed(known, row):
        decision = noted(decision, mine=left.mine, theirs=_last_lived(known, master))
    pure = decision.outcome is Outcome.APPLIED and not left.differs
    outcome = Outcome.MERGED if decision.outcome is Outcome.APPLIED and left.differs else decision.outcome
    if decision.changed:
        grid_id = decision.result.fields.get("grid_id") or (known.master.grid_id if known.master else "")
        _apply(batch, known, decision, op=row.op if pure else batch.new_op(), grid_id=grid_id)
    assert known.master is not None
    known.last_pushed = (mine, known.master.version)
    known.fingerprints[row.op] = fingerprint
    batch.conflicts += [(known, row.op, conflict) for conflict in decision.conflicts]
    entry = Entry(
        row.id,
        row.op,
        batch.kind,
        outcome,
        fingerprint,
        base_version=base.version if base else None,
        version=known.master.version,
        pushed=mine,
        client_time=batch.client_time,
    )
    batch.ledger.append(entry)
    batch.requests += [(known, entry, request) for request in left.requests]


def _last_lived(known: Known, master: Master | None) -> State | None:
    """The content that the caller's row meets: the master's, or what a deleted one was."""
    if master is None:
        return None
    return known.living if master.state.deleted else master.state


def _lifted(batch: Batch, row: Incoming, origin: State | None) -> State:
    """The pushed state in the current form: what the client's form does not have is as in the version it edited."""
    if row.state.deleted or origin is None or origin.deleted:
        return row.state
    return State(projection.lift(batch.kind, row.state.fields, batch.schema_version, origin=origin.fields))


def _base_of(known: Known, row: Incoming) -> Base | None:
    """The base of rule 2. A device that starts anew after a restore names none; then `rev` tells what it had."""
    last = Base(*known.last_pushed) if known.last_pushed else None
    if row.assumed_op is not None:
        return choose_base(last_pushed=last, named=_as_base(known.named.get(row.assumed_op)))
    rev = _rev_without_base(row) or 0
    version = known.numbered.get(rev)
    if version is None and last is not None and rev <= last.version:
        return last  # No answer reached it since: an edit of what it pushed itself.
    if version is None and not row.state.deleted:
        # The restore took the version it was made from; that one came of the last which both lines of history have.
        shared = max((number for number in known.numbered if number < rev), default=0)
        version = known.numbered.get(shared)
    return choose_base(last_pushed=last, named=_as_base(version))


def _as_base(version: Version | None) -> Base | None:
    return Base(version.state, version.version) if version else None


def _is_guessed(known: Known, row: Incoming) -> bool:
    """Whether a restore may have taken the version that the row was made from.

    Also where `rev` names one that is there: what a device pushed itself and the server took leaves its `rev` as it
    was, so the edit may be one of a version of its own that was lost.
    """
    return known.was_restored and row.assumed_op is None


def _rev_without_base(row: Incoming) -> int | None:
    rev = row.wire.get("rev")
    is_number = isinstance(rev, int) and not isinstance(rev, bool) and 0 < rev < MAX_REV
    return rev if row.assumed_op is None and is_number else None


def _apply(batch: Batch, known: Known, decision: Decision, *, op: UUID, grid_id: str) -> None:
    """Add a version; a document that moves touches both grids (rule 8)."""
    before = known.master
    version = Version((before.version if before else 0) + 1, op, grid_id, decision.result)
    if decision.result.deleted and before is not None and not before.state.deleted:
        known.living = before.state
    known.master, known.kind = version, batch.kind
    known.named[op] = version
    known.ops.add(op)
    batch.versions.append(Written(known.id, batch.kind, version, decision.result.fields.get("captured_at")))
    grids = {grid_id, before.grid_id if before else grid_id}
    batch.touches += [Touch(grid, known.id, batch.kind) for grid in sorted(grids)]


def _take_refused(batch: Batch, known: Known | None, row: Refused) -> list[Document]:
    """Keep a row that cannot be merged. Its author gets the document as it stands, where the id could be read."""
    fingerprint = batch.fingerprint(row.content)
    batch.held.append(Held(batch.kind, row.code, row.content, fingerprint, row.places, row.id, row.op, row.grid_id))
    return [_shown(batch, known, row.op or known.id)] if known else []


def _hold(batch: Batch, row: Incoming, code: QuarantineCode, fingerprint: bytes) -> None:
    grid_id = row.state.fields.get("grid_id")
    batch.held.append(Held(batch.kind, code, row.raw, fingerprint, [], row.id, row.op, grid_id))


def _current(batch: Batch, known: Known, row: Incoming) -> list[Document]:
    """The authoritative document where it differs from the pushed one (rule 3), as far as the caller may see it."""
    if _stands_as_pushed(batch, known, row):
        return []
    document = _shown(batch, known, row.op)
    return [document] if differs(row.wire, document) else []


def _shown(batch: Batch, known: Known, op: UUID) -> Document:
    document = visible(batch.kind, known, grids=batch.scope.held, op=op)
    return in_form(batch.kind, document, batch.schema_version)


def _stands_as_pushed(batch: Batch, known: Known, row: Incoming) -> bool:
    """Whether the very state that was pushed is the master, so that there is nothing to compare."""
    master = known.master
    return (
        row.as_it_came
        and master is not None
        and master.state is row.state
        and master.op == row.op
        and master.grid_id in batch.scope.held
    )


def visible(kind: Kind, known: Known, *, grids: Set[str], op: UUID) -> Document:
    """The document as it stands, or a tombstone where there is none for this caller.

    What was hidden when it was read stays so, although the grid was regained since: there is no content to show.
    """
    master = known.master
    if master is None or known.kind is not kind:
        return tombstone(kind, known.id, version=0, op=op)
    if known.hidden or master.state.deleted or master.grid_id not in grids:
        return tombstone(kind, known.id, version=master.version, op=master.op)
    return to_wire(known.id, fields=master.state.fields, version=master.version, op=master.op)
