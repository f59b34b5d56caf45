"""The server of the model: the core of the sync as it runs in the API, over dictionaries instead of tables.

What PostgreSQL does in the product is done here by hand, and only that: keep rows, number the feed, lock (one call
runs at a time), hide what the row policies hide.
"""

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from random import Random
from uuid import UUID

from backend.core.enums import Kind, Outcome
from backend.kinds import KINDS, Document
from sync import core
from sync.authority import FieldRequest
from sync.checkpoints import Lost, next_page, read_checkpoint
from sync.core import Batch, Scope
from sync.known import Held, Known, Touch, Version, Wanted
from sync.rules import FieldConflict, State
from sync.schemas import read_push, to_wire, tombstone

KIND = Kind.HOUSE
SPEC = KINDS[KIND]
MAX_ROWS = 500


class OtherEpoch(Exception):
    """The server was restored: the call is not looked at."""


class OutOfOrder(Exception):
    """A later push of this device was taken already: the call is not looked at."""


class NoAnswer(Exception):
    """The connection broke: nobody can say whether the call was taken."""


@dataclass(slots=True)
class Stored:
    """A document with all its versions, oldest first, and who wrote each."""

    grid_id: str
    versions: list[Version] = field(default_factory=list)
    authors: list[int | None] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Entry:
    """A ledger row."""

    fingerprint: bytes
    outcome: Outcome
    device: int
    version: int | None
    pushed: State | None


@dataclass(slots=True)
class Database:
    """Everything that a backup holds."""

    documents: dict[UUID, Stored] = field(default_factory=dict)
    ledger: dict[tuple[UUID, UUID], Entry] = field(default_factory=dict)
    last_pushed: dict[tuple[UUID, int], tuple[State, int]] = field(default_factory=dict)
    conflicts: list[tuple[UUID, UUID, int, FieldConflict]] = field(default_factory=list)
    owned: dict[UUID, dict[str, object]] = field(default_factory=dict)
    requests: dict[tuple[UUID, UUID, str], FieldRequest] = field(default_factory=dict)
    quarantine: dict[tuple[int, bytes], Held] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    feed: dict[str, dict[UUID, tuple[int, int]]] = field(default_factory=dict)
    terms: Counter[str] = field(default_factory=Counter)
    held: dict[int, dict[str, int]] = field(default_factory=dict)
    lost: dict[int, dict[str, int]] = field(default_factory=dict)
    order: dict[int, int] = field(default_factory=dict)
    checks: Counter[tuple[UUID, int]] = field(default_factory=Counter)
    trail: Counter[tuple[UUID, int]] = field(default_factory=Counter)


class Server:
    """One server; calls come one at a time. Ids of its own versions come from the history's seed."""

    def __init__(self, seed: int, *, grids: Sequence[str]) -> None:
        self.grids = frozenset(grids)
        self.epoch = 1
        self.db = Database()
        self._random = Random(f"server {seed}")
        self._backup: Database | None = None

    # --- what offices and operators do

    def assign(self, device: int, grid_id: str) -> None:
        """Give a device's worker a grid; nothing where it is held already."""
        if grid_id not in self.db.held.setdefault(device, {}):
            self.db.terms[grid_id] += 1
            self.db.held[device][grid_id] = self.db.terms[grid_id]
            self.db.lost.get(device, {}).pop(grid_id, None)

    def unassign(self, device: int, grid_id: str) -> None:
        """End a worker's term in a grid."""
        epoch = self.db.held.get(device, {}).pop(grid_id, None)
        if epoch is not None:
            self.db.lost.setdefault(device, {})[grid_id] = epoch

    def backup(self) -> None:
        """Keep the database as it is."""
        self._backup = copy.deepcopy(self.db)

    def restore(self) -> bool:
        """Go back to the last backup, if there is one, and begin a new epoch."""
        if self._backup is None:
            return False
        self.db = copy.deepcopy(self._backup)
        self.epoch += 1
        return True

    def office(self, document_id: UUID, field_name: str, value: object) -> bool:
        """An office writes one field of a document that is there; whether that made a version.

        A stewarded field is the department's from then on.
        """
        stored = self.db.documents.get(document_id)
        if stored is None or stored.versions[-1].state.deleted:
            return False
        batch = self._batch(Scope())
        known = self._known([Wanted(document_id, document_id, None, deleted=False)], None)[document_id]
        state = State({**stored.versions[-1].state.fields, field_name: value})
        core.write_own(batch, known, state=state, grid_id=stored.grid_id)
        self._write(batch, None)
        if field_name in SPEC.stewarded:
            self.db.owned.setdefault(document_id, {})[field_name] = value
        return bool(batch.versions)

    # --- what devices call

    def push(
        self,
        device: int,
        body: bytes,
        *,
        epoch: int | None,
        order: int | None,
        sent_at: datetime,
        copies: int = 1,
    ) -> list[Document]:
        """Take a push body, as `sync.service.push` does; the network may bring it more than once."""
        self._check_epoch(epoch)
        rows = read_push(KIND, body, max_rows=MAX_ROWS)
        answer: list[Document] = []
        for _ in range(copies):
            self._check_order(device, order)
            known = self._known(core.wanted(rows), device)
            batch = self._batch(self._scope(device), sent_at)
            answer = core.take_rows(batch, rows, known=known)
            self._write(batch, device)
        return answer

    def pull(self, device: int, checkpoint: str | None, *, limit: int, epoch: int | None) -> Document:
        """One page, as `sync.pull.pull` gives it."""
        self._check_epoch(epoch)
        held = self.db.held.get(device, {})
        lost = {grid_id: Lost(epoch, was_there=True) for grid_id, epoch in self.db.lost.get(device, {}).items()}
        reader = _Feed(self, device)
        ids, place = next_page(read_checkpoint(checkpoint), held=held, lost=lost, reader=reader, limit=limit)
        return {"documents": [self._visible(document_id, held) for document_id in ids], "checkpoint": place.to_wire()}

    def settle(self) -> None:
        """Everything is at rest: what is counted at the end may be counted now."""

    # --- rows

    def _check_epoch(self, epoch: int | None) -> None:
        if epoch is not None and epoch != self.epoch:
            raise OtherEpoch

    def _check_order(self, device: int, order: int | None) -> None:
        if order is None:
            return
        if order < self.db.order.get(device, 0):
            raise OutOfOrder
        self.db.order[device] = order

    def _scope(self, device: int) -> Scope:
        return Scope(frozenset(self.db.held.get(device, {})), frozenset(self.db.lost.get(device, {})), self.grids)

    def _batch(self, scope: Scope, sent_at: datetime | None = None) -> Batch:
        return Batch(KIND, scope, lambda content: blake2b(content, digest_size=16).digest(), self._new_op, sent_at)

    def _new_op(self) -> UUID:
        return UUID(int=self._random.getrandbits(128), version=4)

    def _known(self, wanted: Sequence[Wanted], device: int | None) -> dict[UUID, Known]:
        known = {row.document_id: Known(row.document_id) for row in wanted}
        for row in wanted:
            self._fill(known[row.document_id], row, device)
        return known

    def _fill(self, known: Known, row: Wanted, device: int | None) -> None:
        stored = self.db.documents.get(known.id)
        entry = self.db.ledger.get((known.id, row.op))
        if entry is not None:
            known.fingerprints[row.op] = entry.fingerprint
        if row.deleted:
            known.ops |= set(self._ops(known.id))
        if stored is None:
            return
        master = stored.versions[-1]
        known.kind = KIND
        known.hidden = device is not None and master.grid_id not in self.db.held.get(device, {})
        if known.hidden:
            known.master = Version(master.version, master.op, master.grid_id, State({}, master.state.deleted))
            return
        known.master = copy.copy(master)
        known.was_restored = self.epoch > 1
        known.owned = dict(self.db.owned.get(known.id, {}))
        if master.state.deleted and not row.deleted:
            known.living = next((v.state for v in reversed(stored.versions) if not v.state.deleted), None)
        for version, epoch in zip(stored.versions, stored.epochs, strict=True):
            if version.op in (row.op, row.assumed_op):
                known.named[version.op] = version
            if row.rev and version.version <= row.rev and epoch == 1 < self.epoch:
                known.numbered[version.version] = version
        if device is not None:
            known.last_pushed = self.db.last_pushed.get((known.id, device))

    def _ops(self, document_id: UUID) -> Iterator[UUID]:
        stored = self.db.documents.get(document_id)
        yield from (version.op for version in stored.versions) if stored else ()
        yield from (op for row, op in self.db.ledger if row == document_id)
        yield from (row.op for row in self.db.quarantine.values() if row.document_id == document_id and row.op)

    def _write(self, batch: Batch, device: int | None) -> None:
        db = self.db
        for written in batch.versions:
            stored = db.documents.setdefault(written.document_id, Stored(written.version.grid_id))
            stored.grid_id = written.version.grid_id
            stored.versions.append(written.version)
            stored.authors.append(device)
            stored.epochs.append(self.epoch)
            db.trail[written.document_id, written.version.version] += 1
        for entry in batch.ledger:
            assert device is not None
            row = Entry(entry.fingerprint, entry.outcome, device, entry.version, entry.pushed)
            if db.ledger.setdefault((entry.document_id, entry.op), row) is not row:
                raise AssertionError(f"the ledger's key is taken: {entry.document_id} {entry.op}")
            if entry.version is not None and entry.pushed is not None:
                db.last_pushed[entry.document_id, device] = (entry.pushed, entry.version)
        for known, op, conflict in batch.conflicts:
            assert device is not None
            db.conflicts.append((known.id, op, device, conflict))
        for known, entry, request in batch.requests:
            key = (known.id, entry.op, request.field)
            if db.requests.setdefault(key, request) is not request:
                raise AssertionError(f"asked twice: {key}")
        for held in batch.held:
            assert device is not None
            db.quarantine.setdefault((device, held.fingerprint), held)
        db.checks.update(core.due_checks(batch))
        self._touch(batch.touches)

    def _touch(self, touches: Sequence[Touch]) -> None:
        """As `sync.feed.touch`: the latest touch of each document, numbered without gaps."""
        latest = {(touch.grid_id, touch.document_id): touch for touch in touches}
        for grid_id, document_id in latest:
            self.db.counters[grid_id] += 1
            seq = self.db.counters[grid_id]
            first = self.db.feed.setdefault(grid_id, {}).get(document_id, (seq, seq))[1]
            self.db.feed[grid_id][document_id] = (seq, first)

    def _visible(self, document_id: UUID, held: dict[str, int]) -> Document:
        version = self.db.documents[document_id].versions[-1]
        if version.state.deleted or version.grid_id not in held:
            return tombstone(KIND, document_id, version=version.version, op=version.op)
        return to_wire(document_id, fields=version.state.fields, version=version.version, op=version.op)


@dataclass(frozen=True, slots=True)
class _Feed:
    """The feed as a device pages through it."""

    server: Server
    device: int

    def touched(self, grid_id: str, *, after: int, room: int) -> Sequence[tuple[UUID, int]]:
        """As the query of `sync.pull`."""
        rows = sorted((seq, document_id) for document_id, (seq, _) in self._of(grid_id).items() if seq > after)
        return [(document_id, seq) for seq, document_id in rows[:room]]

    def left(self, grid_id: str, *, seq: int, after: UUID, room: int) -> Sequence[UUID]:
        """As the query of `sync.pull`."""
        own = {document_id for (document_id, _), entry in self.server.db.ledger.items() if entry.device == self.device}
        grids = {*self.server.db.held.get(self.device, {}), *self.server.db.lost.get(self.device, {})} - {grid_id}
        moved = {document_id for other in grids for document_id in self._of(other)}
        rows = self._of(grid_id).items()
        ids = [document_id for document_id, (_, first) in rows if first <= seq or document_id in own | moved]
        return sorted(document_id for document_id in ids if document_id > after)[:room]

    def _of(self, grid_id: str) -> dict[UUID, tuple[int, int]]:
        return self.server.db.feed.get(grid_id, {})
