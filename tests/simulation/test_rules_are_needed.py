"""Each rule of the protocol switched off in turn: the histories notice (docs/sync-protocol.md, "Which test proves it").

A rule without which no history goes wrong would be ballast, or the oracle would be blind to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from backend.core.enums import Outcome
from backend.kinds import Document
from sync import checkpoints, core, rules
from sync.authority import Deferred, defer
from sync.core import Batch
from sync.known import Known, Touch, Wanted
from sync.rules import Base, Decision, State, merge_fields
from sync.schemas import to_wire
from tests.simulation.model.history import draw
from tests.simulation.model.play import Play
from tests.simulation.model.server import Server
from tests.simulation.model.shrink import shrink

MOST_SEEDS = 1500
Planted = Callable[[pytest.MonkeyPatch], type[Server]]


def first_violation(make: type[Server], first: int) -> str:
    """The first violation that some seed from `first` on finds, empty where none does."""
    for seed in range(first, first + MOST_SEEDS):
        try:
            found = Play(draw(seed), make).run().violations
        except AssertionError as error:
            return f"I2 {error}"
        if found:
            return found[0]
    return ""


class WithoutLedger(Server):
    """Rule 1: a replay is taken for a new row, and what a device pushed is not known."""

    def _fill(self, known: Known, row: Wanted, device: int | None) -> None:
        super()._fill(known, row, device)
        known.fingerprints.clear()
        known.named.pop(row.op, None)
        known.last_pushed = None

    def _write(self, batch: Batch, device: int | None) -> None:
        for entry in batch.ledger:
            self.db.ledger.pop((entry.document_id, entry.op), None)
        super()._write(batch, device)


class WithoutAnswers(Server):
    """Rule 3: a push is answered with nothing."""

    def push(self, *arguments: Any, **named: Any) -> list[Document]:
        super().push(*arguments, **named)
        return []


class WithoutConflicts(Server):
    """Rule 4: two edits meet and nobody is told."""

    def _write(self, batch: Batch, device: int | None) -> None:
        batch.conflicts.clear()
        super()._write(batch, device)


class WithoutPayload(Server):
    """Rule 6: a refused row is not kept."""

    def _write(self, batch: Batch, device: int | None) -> None:
        batch.held.clear()
        batch.ledger = [entry for entry in batch.ledger if entry.outcome is not Outcome.QUARANTINED]
        super()._write(batch, device)


class WithOldSequence(Server):
    """Rule 7: a document that is touched again keeps its number."""

    def _touch(self, touches: Sequence[Touch]) -> None:
        super()._touch([touch for touch in touches if touch.document_id not in self.db.feed.get(touch.grid_id, {})])


class WithoutOldGrid(Server):
    """Rule 8: a document that moves touches only the grid it comes to."""

    def _touch(self, touches: Sequence[Touch]) -> None:
        lies = {key: stored.grid_id for key, stored in self.db.documents.items()}
        super()._touch([touch for touch in touches if lies[touch.document_id] == touch.grid_id])


class WithoutFirstSequence(Server):
    """Rule 8: what is paged out of a lost grid is judged by the last touch."""

    def _touch(self, touches: Sequence[Touch]) -> None:
        super()._touch(touches)
        for rows in self.db.feed.values():
            rows.update({key: (seq, seq) for key, (seq, _) in rows.items()})


class WithoutScope(Server):
    """Rule 8: a page shows documents wherever they lie now."""

    def _visible(self, document_id: UUID, held: dict[str, int]) -> Document:
        version = self.db.documents[document_id].versions[-1]
        if version.state.deleted:
            return super()._visible(document_id, held)
        return to_wire(document_id, fields=version.state.fields, version=version.version, op=version.op)


class WithoutOrder(Server):
    """Rule 13: a push that was overtaken is taken."""

    def _check_order(self, device: int, order: int | None) -> None:
        pass


class WithoutEpoch(Server):
    """Restore: a device goes on as if nothing had happened."""

    def _check_epoch(self, epoch: int | None) -> None:
        pass


class WithoutNumbered(Server):
    """Restore: the version that a row without a base was made from is not looked up."""

    def _fill(self, known: Known, row: Wanted, device: int | None) -> None:
        super()._fill(known, row, device)
        known.numbered.clear()


class WithoutLiving(Server):
    """Rule 9: a record comes back as the device that edited it had it, not as it last lived."""

    def _fill(self, known: Known, row: Wanted, device: int | None) -> None:
        super()._fill(known, row, device)
        known.living = None


class WithoutChecks(Server):
    """A version asks for its cross-check twice."""

    def _write(self, batch: Batch, device: int | None) -> None:
        super()._write(batch, device)
        self.db.checks.update(core.due_checks(batch))


def claimed_base(patch: pytest.MonkeyPatch) -> type[Server]:
    """Rule 2: only the version that the client names counts, not what it pushed since."""
    patch.setattr(core, "choose_base", lambda **given: given["named"])
    return Server


def no_unheard_create(patch: pytest.MonkeyPatch) -> type[Server]:
    """Rule 2: a row that names no version has no base at all, whatever its device pushed before."""
    chosen = core._base_of

    def base_of(known: Known, row: Any) -> Base | None:
        return chosen(known, row) if row.assumed_op is not None or known.numbered else None

    patch.setattr(core, "_base_of", base_of)
    return Server


def believes_rev(patch: pytest.MonkeyPatch) -> type[Server]:
    """Restore: the version that `rev` names is taken for the one that the row was made from, wherever it is there."""
    guessed = core._is_guessed
    patch.setattr(
        core, "_is_guessed", lambda known, row: guessed(known, row) and row.wire.get("rev") not in known.numbered
    )
    return Server


def last_writer(patch: pytest.MonkeyPatch) -> type[Server]:
    """Rule 2: no merge, the row that came last stands."""

    def decide(*_: Any, mine: State, master: Any, **__: Any) -> Decision:
        return Decision(Outcome.APPLIED, mine, changed=True)

    patch.setattr(core, "decide", decide)
    return Server


def by_the_clock(patch: pytest.MonkeyPatch) -> type[Server]:
    """Rule 13: of two edits the one with the later device clock stands."""
    newest: dict[UUID, datetime] = {}
    merging = core._merge

    def merge(batch: Batch, known: Known, row: Any, fingerprint: bytes) -> None:
        said = batch.client_time or datetime.now(UTC)
        if known.master is not None and said < newest.get(known.id, said):
            row = replace(row, state=known.master.state)
        newest[known.id] = max(said, newest.get(known.id, said))
        merging(batch, known, row, fingerprint)

    patch.setattr(core, "_merge", merge)
    return Server


def without_scope_of_writes(patch: pytest.MonkeyPatch) -> type[Server]:
    """Rule 6: whoever pushes is believed."""
    patch.setattr(core, "_refusal", lambda *_: None)
    return Server


def delete_wins(patch: pytest.MonkeyPatch) -> type[Server]:
    """Rule 9: a delete stands against an edit that the deleting device has not seen."""

    def decide(spec: Any, *, mine: State, **given: Any) -> Decision:
        if mine.deleted and given["master"] is not None and not given["master"].state.deleted:
            return Decision(Outcome.APPLIED, State({}, deleted=True), changed=True)
        return rules.decide(spec, mine=mine, **given)

    patch.setattr(core, "decide", decide)
    return Server


def forgets_lost_grids(patch: pytest.MonkeyPatch) -> type[Server]:
    """Rule 8: a lost grid is not paged out."""
    patch.setattr(checkpoints, "_gone", lambda *_: [])
    return Server


def forgets_unpulled_grids(patch: pytest.MonkeyPatch) -> type[Server]:
    """Rule 8: of lost grids only those count that the checkpoint names."""
    moved = checkpoints._moved_on

    def moved_on(checkpoint: checkpoints.Checkpoint, held: Any, lost: Any) -> checkpoints.Checkpoint:
        return moved(checkpoint, held, {grid: term for grid, term in lost.items() if grid in checkpoint.held})

    patch.setattr(checkpoints, "_moved_on", moved_on)
    return Server


def without_authority(patch: pytest.MonkeyPatch) -> type[Server]:
    """Rule 5: a department's field is a field like any other."""
    patch.setattr(core, "defer", lambda mine, base, **_: Deferred(mine, base))
    return Server


class WithoutAuthorityOverDeath(Server):
    """Rule 5: with a deletion the department's word is forgotten."""

    def _fill(self, known: Known, row: Wanted, device: int | None) -> None:
        super()._fill(known, row, device)
        if known.master is not None and known.master.state.deleted:
            known.owned.clear()


def asks_for_stale_values(patch: pytest.MonkeyPatch) -> type[Server]:
    """Rule 5: whatever differs from the department's value is taken for an edit."""
    patch.setattr(core, "defer", lambda mine, base, *, owned: replace(defer(mine, None, owned=owned), base=base))
    return Server


def drops_requests(patch: pytest.MonkeyPatch) -> type[Server]:
    """Rule 5: the department's value stands, and nobody asks it."""
    patch.setattr(core, "defer", lambda mine, base, *, owned: replace(defer(mine, base, owned=owned), requests=[]))
    return Server


def keeps_old_epoch(patch: pytest.MonkeyPatch) -> type[Server]:
    """Rule 6: a grid that was lost and regained is read on from where the device was."""
    moved = checkpoints._moved_on

    def moved_on(checkpoint: checkpoints.Checkpoint, held: Any, lost: Any) -> checkpoints.Checkpoint:
        place = moved(checkpoint, held, lost)
        place.held.update({grid: at._replace(epoch=held[grid]) for grid, at in checkpoint.held.items() if grid in held})
        return place

    patch.setattr(checkpoints, "_moved_on", moved_on)
    return Server


def lists_as_one(patch: pytest.MonkeyPatch) -> type[Server]:
    """Rule 2: a list is replaced as a whole where its two sides differ, whoever added what."""

    def merged(spec: Any, *, base: Any, mine: Document, theirs: Document) -> Any:
        fields, conflicts = merge_fields(spec, base=base, mine=mine, theirs=theirs)
        return {**fields, **({"tenants": mine["tenants"]} if "tenants" in mine else {})}, conflicts

    patch.setattr("sync.rules.merge_fields", merged)
    return Server


def planted(make: type[Server]) -> Planted:
    """A worse server as a rule to switch off."""
    return lambda _: make


CASES: Sequence[tuple[Planted, str, int]] = (
    (planted(WithoutLedger), "I", 0),
    (claimed_base, "I1", 0),
    (no_unheard_create, "I1", 0),
    (last_writer, "I1", 0),
    (without_authority, "I1", 0),
    (drops_requests, "I1", 0),
    (asks_for_stale_values, "I1", 0),
    (planted(WithoutAuthorityOverDeath), "I1", 16172),
    (lists_as_one, "I1", 170),
    (planted(WithoutAnswers), "I4", 0),
    (planted(WithoutConflicts), "I1", 0),
    (planted(WithoutPayload), "I1", 0),
    (without_scope_of_writes, "I6", 0),
    (keeps_old_epoch, "I4", 580),
    (planted(WithOldSequence), "I4", 0),
    (planted(WithoutOldGrid), "I4", 0),
    (planted(WithoutFirstSequence), "I4", 0),
    (planted(WithoutScope), "I5", 0),
    (forgets_lost_grids, "I4", 0),
    (forgets_unpulled_grids, "I4", 410),
    (delete_wins, "I1", 0),
    (planted(WithoutOrder), "I1", 690),
    (by_the_clock, "I1", 0),
    (planted(WithoutEpoch), "I", 0),
    (planted(WithoutNumbered), "I1", 270),
    (planted(WithoutLiving), "I1", 1040),
    (believes_rev, "I1", 310323),
    (planted(WithoutChecks), "I3", 0),
)


@pytest.mark.parametrize(("plant", "invariant", "first"), CASES)
def test_a_rule_switched_off_is_noticed(
    plant: Planted, invariant: str, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search begins at a seed that is known to be near one which finds it."""
    assert first_violation(plant(monkeypatch), first).startswith(invariant)


def test_a_client_that_pulls_while_its_push_is_under_way_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own rule: one call at a time for a collection."""
    monkeypatch.setattr(Play, "one_call_at_a_time", False)
    assert first_violation(Server, 650)


def test_a_violation_is_shrunk_to_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    make = delete_wins(monkeypatch)
    seed = next(seed for seed in range(MOST_SEEDS) if Play(draw(seed), make).run().violations)
    small = shrink(draw(seed), lambda history: bool(Play(history, make).run().violations))
    assert len(small.steps) <= 8
    assert Play(small, make).run().violations
