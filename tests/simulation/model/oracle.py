"""What must hold, judged from outside: from what users did and saw, never from how the merge decides.

`I1` … `I7` are the invariants of the project: no accepted mutation is lost, each is applied once, one check a version,
replicas equal the server, nothing outside the scope is sent or written, one audit entry a change.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from backend.core.enums import Hardness
from backend.kinds import Document
from sync.known import Version
from sync.rules import ABSENT, FieldConflict, same
from sync.schemas import to_wire
from tests.simulation.model.handheld import Basis, Handheld, Request, fields_of
from tests.simulation.model.server import SPEC, Server
from tests.simulation.model.values import Values, apart, changed, holds

SECOND_LINE = 2
UNIQUE = ("address", "name")
"""Fields whose values never come twice: one that was seen is the one that was replaced."""


@dataclass(slots=True)
class Forgotten:
    """A value that a restore took, and the devices that still showed it and have not overwritten it since."""

    value: Any
    witnesses: set[int]


@dataclass(slots=True)
class Oracle:
    """Watches every call of a history and gathers violations."""

    server: Server
    violations: list[str] = field(default_factory=list)
    accepted: set[tuple[UUID, UUID]] = field(default_factory=set)
    wrote: dict[tuple[UUID, str], int | None] = field(default_factory=dict)
    processed: dict[tuple[int, UUID, str, str], Any] = field(default_factory=dict)
    taken: set[tuple[UUID, UUID]] = field(default_factory=set)
    kept: tuple[dict[Any, Any], dict[Any, Any]] = field(default_factory=lambda: ({}, {}))
    cut: set[UUID] = field(default_factory=set)
    forgotten: dict[tuple[UUID, str], Forgotten] = field(default_factory=dict)
    owned: dict[tuple[UUID, str], Any] = field(default_factory=dict)
    kept_owned: dict[tuple[UUID, str], Any] = field(default_factory=dict)

    def blame(self, invariant: str, what: str) -> None:
        """Note a violation."""
        self.violations.append(f"{invariant} {what}")

    # --- around a push

    def before(self, request: Request) -> dict[UUID, Version | None]:
        """The documents of a request as they stand."""
        return {UUID(state["id"]): self._master(UUID(state["id"])) for _, state in request.rows}

    def pushed(self, device: int, request: Request, basis: dict[UUID, Basis], was: dict[UUID, Version | None]) -> None:
        """Judge what a push did. `basis` is what the user knew when the request was made."""
        for _, state in request.rows:
            key, op = UUID(state["id"]), UUID(state["op"])
            before, after = was[key], self._master(key)
            self._judge_scope(device, key, before, after)
            self._judge_authority(device, key, after)
            found = [conflict for row, of, _, conflict in self.server.db.conflicts if (row, of) == (key, op)]
            if self._is_news(key, op, before, after):
                self._judge_overwritten(device, key, before, after, basis[key], found)
                if not state["_deleted"]:
                    self._judge_edits(device, key, after, basis[key], found)
                self._judge_conflicts(device, key, basis[key], found)
                self._judge_requests(device, key, op, basis[key])
            self._remember(device, key, state, basis[key], before, after)

    def answered(self, device: int, documents: Iterable[Document]) -> None:
        """Judge an answer: only what lies in the grids held now may be in it alive (I5)."""
        held = self.server.db.held.get(device, {})
        for document in documents:
            if not document["_deleted"] and document["grid_id"] not in held:
                self.blame("I5", f"device {device} was sent {document['id']} of {document['grid_id']}")

    def accept(self, request: Request, written: set[UUID]) -> None:
        """The device got its answer: from now on it counts on every row that its user wrote."""
        rows = {(UUID(state["id"]), UUID(state["op"])) for _, state in request.rows}
        self.accepted |= {(key, op) for key, op in rows if op in written}

    def _master(self, key: UUID) -> Version | None:
        stored = self.server.db.documents.get(key)
        return stored.versions[-1] if stored else None

    def _judge_scope(self, device: int, key: UUID, before: Version | None, after: Version | None) -> None:
        if before is after or after is None:
            return
        grids = {after.grid_id, before.grid_id if before else after.grid_id}
        if not grids <= self.server.db.held.get(device, {}).keys():
            self.blame("I6", f"device {device} wrote {key} in {sorted(grids)}")

    def _judge_authority(self, device: int, key: UUID, after: Version | None) -> None:
        """What a department has written stands, whatever a device pushed, and in a record that came back too."""
        has = _values(after)
        for (owned, place), value in self.owned.items():
            if owned == key and has and not same(has.get(place, ABSENT), value):
                self.blame("I1", f"device {device} overwrote the department's {place} of {key}")

    def _judge_requests(self, device: int, key: UUID, op: UUID, basis: Basis) -> None:
        """A department is asked about what somebody entered, not about what a copy still shows. After a restore
        nobody can tell the two apart."""
        for (row, of, place), request in self.server.db.requests.items():
            unclear = key in self.cut or self._is_between_restores(key)
            if (row, of) == (key, op) and place not in basis.edits and not unclear:
                self.blame("I1", f"device {device} asked for {request.proposed!r} in {place} of {key}, unedited")

    def _asked(self, key: UUID, place: str, value: Any) -> bool:
        """Whether the department was asked about this value."""
        return any(
            (row, name) == (key, place) and same(request.proposed, value)
            for (row, _, name), request in self.server.db.requests.items()
        )

    def _is_news(self, key: UUID, op: UUID, before: Version | None, after: Version | None) -> bool:
        """Whether the row was taken now; a replay, or a row kept for review, must change nothing (I2)."""
        entry = self.server.db.ledger.get((key, op))
        if entry is not None and entry.pushed is not None and (key, op) not in self.taken:
            self.taken.add((key, op))
            return True
        if before is not after:
            self.blame("I2", f"{op} of {key} was applied again, or without the ledger")
        return False

    def _judge_overwritten(
        self,
        device: int,
        key: UUID,
        before: Version | None,
        after: Version | None,
        basis: Basis,
        found: list[FieldConflict],
    ) -> None:
        had = self._lived(key, before) if after is not before else _values(before)
        for place in changed(had, _values(after)):
            unseen = place in had and not holds(basis.shown.get(place, []), had[place])
            if unseen and not _told(found, place):
                self.blame("I1", f"device {device} overwrote {place} of {key}, which it had not seen")

    def _judge_edits(
        self,
        device: int,
        key: UUID,
        after: Version | None,
        basis: Basis,
        found: list[FieldConflict],
    ) -> None:
        has = _values(after)
        for place, value in basis.edits.items():
            taken = same(has.get(place, ABSENT), value) or _told(found, place) or _told(found, "_deleted")
            taken = taken or self._asked(key, place, value)
            # What this device pushed last was judged then; what it never changed is no edit.
            began = basis.adopted.get(place, ABSENT)
            judged = same(self.processed.get((device, key, place, basis.adopted_op), began), value)
            if not taken and not judged:
                self.blame("I1", f"the edit of {place} of {key} by device {device} is lost: {value!r}")

    def _judge_conflicts(self, device: int, key: UUID, basis: Basis, found: list[FieldConflict]) -> None:
        for conflict in found:
            if conflict.hardness is not Hardness.HARD or key in self.cut or self._is_between_restores(key):
                continue
            if self.wrote.get((key, conflict.field), -1) == device:
                self.blame("I1", f"device {device} has a conflict with itself on {conflict.field} of {key}")
            seen = [*basis.shown.get(conflict.field, []), *basis.before.get(conflict.field, [])]
            if conflict.field in UNIQUE and holds(seen, conflict.theirs):
                self.blame("I1", f"device {device} had seen what {conflict.field} of {key} conflicts with")

    def _is_between_restores(self, key: UUID) -> bool:
        """Whether a second restore came over versions of a line that the first began: their numbers tell no base."""
        return self.server.epoch > SECOND_LINE and max(self.server.db.documents[key].epochs) > 1

    def _remember(
        self,
        device: int,
        key: UUID,
        state: Document,
        basis: Basis,
        before: Version | None,
        after: Version | None,
    ) -> None:
        entry = self.server.db.ledger.get((key, UUID(state["op"])))
        if entry is not None and entry.pushed is not None:  # What is kept for review was not taken.
            values = apart(SPEC, fields_of(state))
            for place in {*values, *basis.edits}:
                self.processed[device, key, place, basis.adopted_op] = values.get(place, ABSENT)
        if before is not after:
            for place in changed(self._lived(key, before), _values(after)):
                self.wrote[key, place] = device

    def _lived(self, key: UUID, version: Version | None) -> Values:
        """The values of a version; of a delete those before it: who brings a document back wrote only what differs."""
        if version is None or not version.state.deleted:
            return _values(version)
        past = self.server.db.documents[key].versions[: version.version]
        return next((_values(one) for one in reversed(past) if not one.state.deleted), {})

    # --- around a restore

    def keep(self) -> None:
        """A backup is made: what was pushed and written so far will be known after a restore."""
        self.kept = dict(self.processed), dict(self.wrote)
        self.kept_owned = dict(self.owned)

    def forget(self, lost: dict[UUID, Version | None], handhelds: Iterable[Handheld]) -> None:
        """Note what a restore took: `lost` are the documents as they stood before it."""
        self.accepted &= {*self.server.db.ledger, *self._quarantined()}
        self.taken &= self.server.db.ledger.keys()
        self.processed, self.wrote = dict(self.kept[0]), dict(self.kept[1])
        self.owned = dict(self.kept_owned)
        devices = list(handhelds)
        for (key, place), forgotten in self.forgotten.items():  # What only a conflict told of went with it.
            forgotten.witnesses &= {one.number for one in devices if _shows(one, key, place, forgotten.value)}
        for key, version in lost.items():
            now = self._master(key)
            if version is None or (now and now.op == version.op):
                continue
            self.cut.add(key)  # From then on nobody can tell which of its versions an edit was made from.
            if version.state.deleted:
                continue
            witnesses = {one.number for one in devices if _has(one, key, version)}
            values = _values(version)
            for place in changed(_values(now), values):
                if place in values:
                    self.forgotten[key, place] = Forgotten(values[place], set(witnesses))

    def edited(self, device: int, key: UUID, places: Iterable[str]) -> None:
        """A user who edits a value is no witness any more of what it was."""
        for place in places:
            if (key, place) in self.forgotten:
                self.forgotten[key, place].witnesses.discard(device)

    def lose(self, device: int, grid_id: str) -> None:
        """Nor is a device that loses the grid."""
        for (key, _), forgotten in self.forgotten.items():
            version = self._master(key)
            if version is None or version.grid_id == grid_id:
                forgotten.witnesses.discard(device)

    # --- at the end

    def finish(self, handhelds: Iterable[Handheld]) -> None:
        """Judge the state in which everything came to rest."""
        devices = list(handhelds)
        self._judge_accepted()
        self._judge_versions()
        for handheld in devices:
            self._judge_replica(handheld)
        for (key, place), forgotten in self.forgotten.items():
            if forgotten.witnesses and not any(_lists(one, key, place, forgotten.value) for one in devices):
                self._judge_forgotten(key, place, forgotten.value)

    def _judge_accepted(self) -> None:
        kept = {*self.server.db.ledger, *self._quarantined()}
        for key, op in sorted(self.accepted - kept):
            self.blame("I1", f"{op} of {key} was accepted and is nowhere")

    def _quarantined(self) -> Iterator[tuple[UUID, UUID]]:
        for held in self.server.db.quarantine.values():
            if held.document_id and held.op and held.content:
                yield held.document_id, held.op

    def _judge_versions(self) -> None:
        db = self.server.db
        for key, stored in db.documents.items():
            for version in stored.versions:
                checks = db.checks[key, version.version]
                if checks != (not version.state.deleted):
                    self.blame("I3", f"{checks} checks of version {version.version} of {key}")
                if db.trail[key, version.version] != 1:
                    self.blame("I7", f"{db.trail[key, version.version]} audit entries of {version.version} of {key}")
            if [version.version for version in stored.versions] != list(range(1, len(stored.versions) + 1)):
                self.blame("I2", f"versions of {key} are not numbered one by one")

    def _judge_replica(self, handheld: Handheld) -> None:
        held = self.server.db.held.get(handheld.number, {})
        expected = {}
        for key, stored in self.server.db.documents.items():
            version = stored.versions[-1]
            if not version.state.deleted and version.grid_id in held:
                expected[key] = to_wire(key, fields=version.state.fields, version=version.version, op=version.op)
        mine = {key: document for key, document in handheld.documents.items() if not document["_deleted"]}
        for key in sorted({*expected, *mine}):
            left, right = mine.get(key), expected.get(key)
            if left is None or right is None or not same(_without_rev(left), _without_rev(right)):
                self.blame("I4", f"device {handheld.number} holds {key} otherwise than the server")

    def _judge_forgotten(self, key: UUID, place: str, value: Any) -> None:
        stored = self.server.db.documents.get(key)
        kept = [_values(version)[place] for version in stored.versions if place in _values(version)] if stored else []
        told = any(row == key and _covers(conflict, place) for row, _, _, conflict in self.server.db.conflicts)
        told = told or self._asked(key, place, value)
        if not (holds(kept, value) or told or key in dict(self._quarantined())):
            self.blame("I1", f"{place} of {key} was lost by the restore, and a device had it")


def _values(version: Version | None) -> Values:
    return {} if version is None or version.state.deleted else apart(SPEC, version.state.fields)


def _covers(conflict: FieldConflict, place: str) -> bool:
    return place == conflict.field or place.startswith(f"{conflict.field}[")


def _told(found: list[FieldConflict], place: str) -> bool:
    return any(_covers(conflict, place) for conflict in found)


def _without_rev(document: Document) -> Document:
    return {name: value for name, value in document.items() if name != "rev"}


def _has(handheld: Handheld, key: UUID, version: Version) -> bool:
    fields = handheld.live(key)
    in_scope = version.grid_id in handheld_grids(handheld)
    return in_scope and fields is not None and same(fields, version.state.fields)


def _lists(handheld: Handheld, key: UUID, place: str, value: Any) -> bool:
    """Whether the value stands in the device's own list of rows that were not taken as they were."""
    rows = [row for row in handheld.refused.values() if row["id"] == str(key)]
    return any(same(apart(SPEC, fields_of(row)).get(place, ABSENT), value) for row in rows)


def _shows(handheld: Handheld, key: UUID, place: str, value: Any) -> bool:
    return same(apart(SPEC, handheld.live(key) or {}).get(place, ABSENT), value)


def handheld_grids(handheld: Handheld) -> set[str]:
    """The grids that a device's checkpoint says it holds."""
    return set(handheld.checkpoint.get("g", {}))
