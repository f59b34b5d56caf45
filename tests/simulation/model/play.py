"""Plays a history: handhelds and server, with the network's faults between them, then calm until all is at rest."""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Any
from uuid import UUID

import msgspec

from backend.kinds import Document
from tests.simulation.model.handheld import Basis, Handheld, Request
from tests.simulation.model.history import GRIDS, Fault, History, Step, Verb
from tests.simulation.model.oracle import Oracle
from tests.simulation.model.server import SPEC, NoAnswer, OtherEpoch, OutOfOrder, Server
from tests.simulation.model.values import apart

MOST_ROUNDS = 40
HEAL_ROWS, HEAL_LIMIT = 3, 3


@dataclass(slots=True)
class Played:
    """What a history came to: its trace, line by line, and what was violated."""

    trace: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    faults: Counter[Fault] = field(default_factory=Counter)

    def digest(self) -> str:
        """One value for the whole trace."""
        return sha256("\n".join(self.trace).encode()).hexdigest()


@dataclass(slots=True)
class _Late:
    due: int
    device: int
    request: Request
    basis: dict[UUID, Basis]


class Play:
    """One history on its way. `make` builds the server: the tests give it worse ones.

    A page that is served while a push is under way may hold a version newer than the answer to come, and the device,
    which has unsent edits still, would skip it for ever: a client makes one call at a time for a collection.
    """

    one_call_at_a_time = True

    def __init__(self, history: History, make: Callable[..., Server] = Server) -> None:
        self.history = history
        self.server = make(history.seed, grids=GRIDS)
        self.handhelds = [Handheld(number, history.seed) for number in range(len(history.grids))]
        self.oracle = Oracle(self.server)
        self.played = Played(violations=self.oracle.violations)
        self.late: list[_Late] = []
        self.waiting: dict[int, tuple[int, Request, list[Document], int]] = {}
        self.ids = [UUID(int=Random(f"{history.seed} {place}").getrandbits(128), version=4) for place in range(64)]

    def run(self) -> Played:
        """Play all steps, then calm; gives what came of it."""
        for device, grids in enumerate(self.history.grids):
            for grid_id in grids:
                self.server.assign(device, grid_id)
        for place, step in enumerate(self.history.steps):
            self._deliver(place)
            self.played.trace.append(f"{place} {step}: {self._do(place, step)}")
        self._deliver(None)
        self._heal()
        self.server.settle()
        self.oracle.finish(self.handhelds)
        self.played.trace += [*self._state(), *self.played.violations]
        return self.played

    # --- steps

    def _do(self, place: int, step: Step) -> str:
        handheld, key = self.handhelds[step.device], self.ids[step.document]
        match step.verb:
            case Verb.CREATE:
                return self._create(handheld, key, step)
            case Verb.EDIT | Verb.MEMBER | Verb.MOVE | Verb.DELETE:
                return self._edit(handheld, key, step)
            case Verb.PUSH:
                return self._push(place, handheld, step)
            case Verb.PULL:
                return self._pull(handheld, step.number, step.fault)
            case Verb.RESTART | Verb.UPGRADE | Verb.SKEW:
                return self._change(handheld, step)
            case _:
                return self._office(key, step)

    def _change(self, handheld: Handheld, step: Step) -> str:
        """A restart loses the answer that is waited for; an upgrade is a local schema migration."""
        if step.verb is Verb.RESTART:
            self.waiting.pop(handheld.number, None)
        elif step.verb is Verb.SKEW:
            handheld.skew(5 * step.number - 12)
        else:
            handheld.upgrade()
        return "done"

    def _create(self, handheld: Handheld, key: UUID, step: Step) -> str:
        if key in handheld.documents:
            return "is there"
        handheld.write(key, {"grid_id": step.value, "address": f"synthetic address {step.document}"})
        return "done"

    def _edit(self, handheld: Handheld, key: UUID, step: Step) -> str:
        fields = handheld.live(key)
        if fields is None:
            return "not here"
        places = handheld.write(key, *_edited(fields, step))
        self.oracle.edited(handheld.number, key, apart(SPEC, fields) if step.verb is Verb.DELETE else places)
        return "done"

    def _office(self, key: UUID, step: Step) -> str:
        """What happens at the server, beside the devices' calls."""
        match step.verb:
            case Verb.ASSIGN:
                self.server.assign(step.device, step.value)
            case Verb.UNASSIGN:
                self.oracle.lose(step.device, step.value)
                self.server.unassign(step.device, step.value)
            case Verb.OFFICE:
                was = self.server.db.documents.get(key)
                if was is not None and not was.versions[-1].state.deleted and step.field in SPEC.stewarded:
                    self.oracle.owned[key, step.field] = step.value
                if self.server.office(key, step.field, step.value):
                    self.oracle.wrote[key, step.field] = None
            case Verb.BACKUP:
                self.server.backup()
                self.oracle.keep()
            case Verb.RESTORE:
                return self._restore()
        return "done"

    def _restore(self) -> str:
        before = {key: stored.versions[-1] for key, stored in self.server.db.documents.items()}
        if not self.server.restore():
            return "no backup"
        self.oracle.forget(dict(before), self.handhelds)
        return f"epoch {self.server.epoch}"

    # --- the network

    def _push(self, place: int, handheld: Handheld, step: Step) -> str:
        if handheld.number in self.waiting:
            return "waits for an answer"
        request = handheld.request(step.number)
        if request is None:
            return "nothing to push"
        self.played.faults[step.fault] += 1
        basis = {UUID(state["id"]): copy.deepcopy(handheld.basis[UUID(state["id"])]) for _, state in request.rows}
        if step.fault is Fault.REQUEST_LATE:
            self.late.append(_Late(place + 2 * step.number, handheld.number, request, basis))
        if step.fault in (Fault.REQUEST_LATE, Fault.REQUEST_LOST):
            return step.fault.value
        answer = self._process(handheld, request, basis, copies=2 if step.fault is Fault.TWICE else 1)
        return self._hear(place, handheld, step, request, answer)

    def _hear(self, place: int, handheld: Handheld, step: Step, request: Request, answer: list[Document] | None) -> str:
        if step.fault is Fault.ANSWER_LOST:
            return f"answer lost: {_shown(answer)}"
        if answer is None:
            if request.epoch is not None and request.epoch != self.server.epoch:
                handheld.start_anew()
            return "refused"
        if step.fault is Fault.ANSWER_LATE:
            self.waiting[handheld.number] = (place + 2 * step.number, request, answer, self.server.epoch)
            return f"answer late: {_shown(answer)}"
        self._take(handheld, request, answer, self.server.epoch)
        return _shown(answer)

    def _process(
        self, handheld: Handheld, request: Request, basis: dict[UUID, Basis], *, copies: int = 1
    ) -> list[Document] | None:
        """Bring a request to the server; None where it was refused, or where the server died over it."""
        was = self.oracle.before(request)
        try:
            answer = self.server.push(
                handheld.number,
                request.body(),
                epoch=request.epoch,
                order=request.order,
                sent_at=request.sent_at,
                copies=copies,
            )
        except (OtherEpoch, OutOfOrder):
            return None
        except NoAnswer:
            self.oracle.pushed(handheld.number, request, basis, was)
            return None
        self.oracle.pushed(handheld.number, request, basis, was)
        self.oracle.answered(handheld.number, answer)
        return answer

    def _take(self, handheld: Handheld, request: Request, answer: list[Document], epoch: int) -> None:
        if epoch == self.server.epoch:
            self.oracle.accept(request, handheld.written)
        handheld.answered(request, answer, epoch=epoch)

    def _pull(self, handheld: Handheld, limit: int, fault: Fault) -> str:
        if handheld.number in self.waiting and self.one_call_at_a_time:
            return "waits for an answer"
        self.played.faults[fault] += 1
        if fault is Fault.REQUEST_LOST:
            return "lost"
        checkpoint = msgspec.json.encode(handheld.checkpoint).decode()
        try:
            page = self.server.pull(handheld.number, checkpoint, limit=limit, epoch=handheld.epoch)
        except OtherEpoch:
            if fault is Fault.NONE:
                handheld.start_anew()
            return "other epoch"
        self.oracle.answered(handheld.number, page["documents"])
        if fault is Fault.ANSWER_LOST:
            return "answer lost"
        handheld.pulled(page["documents"], page["checkpoint"], epoch=self.server.epoch)
        return _shown(page["documents"])

    def _deliver(self, place: int | None) -> None:
        """Bring what is due; None brings everything."""
        due = [late for late in self.late if place is None or late.due <= place]
        self.late = [late for late in self.late if late not in due]
        for late in due:
            answer = self._process(self.handhelds[late.device], late.request, late.basis)
            self.played.trace.append(f"late request of device {late.device}: {_shown(answer)}")
        for device, (when, request, answer, epoch) in list(self.waiting.items()):
            if place is None or when <= place:
                del self.waiting[device]
                self._take(self.handhelds[device], request, answer, epoch)

    # --- the end

    def _heal(self) -> None:
        """Let everybody sync over a good network until nothing moves any more."""
        for _ in range(MOST_ROUNDS):
            before = self._state()
            for handheld in self.handhelds:
                self._sync(handheld)
            if before == self._state() and not any(handheld.dirty() for handheld in self.handhelds):
                return
        self.oracle.blame("I4", "it never comes to rest")

    def _sync(self, handheld: Handheld) -> None:
        for _ in range(MOST_ROUNDS):
            self._push(0, handheld, Step(Verb.PUSH, handheld.number, number=HEAL_ROWS))
            if not handheld.dirty():
                break
        for _ in range(MOST_ROUNDS):
            shown = self._pull(handheld, HEAL_LIMIT, Fault.NONE)
            if shown != "other epoch" and shown.count(" ") < HEAL_LIMIT:
                break

    def _state(self) -> list[str]:
        """All that the end is judged by, in writing."""
        lines = [f"epoch {self.server.epoch} feed {sorted(self.server.db.counters.items())}"]
        for key, stored in sorted(self.server.db.documents.items()):
            last = stored.versions[-1]
            lines.append(f"server {key} {last.version} {last.op} {last.state.deleted} {_json(last.state.fields)}")
        for handheld in self.handhelds:
            lines.append(f"device {handheld.number} {_json(handheld.checkpoint)}")
            lines += [f"  {key} {_json(document)}" for key, document in sorted(handheld.documents.items())]
        return lines


def _edited(fields: Document, step: Step) -> tuple[Document, bool]:
    """The fields after an edit, and whether it deletes."""
    if step.verb is Verb.DELETE:
        return fields, True
    if step.verb is Verb.MEMBER:
        return {**fields, "tenants": _with_member(fields.get("tenants", []), step)}, False
    return {**fields, step.field: step.value}, False


def _with_member(tenants: list[Document], step: Step) -> list[Document]:
    member_id = str(UUID(int=step.number + 1))
    others = [member for member in tenants if member["id"] != member_id]
    if step.field == "gone":
        return others
    mine = next((member for member in tenants if member["id"] == member_id), {"id": member_id, "name": "synthetic"})
    return [*others, {**mine, step.field: step.value}]


def _shown(answer: list[Document] | None) -> str:
    if answer is None:
        return "refused"
    return f"{len(answer)}" + "".join(f" {document['id'][:8]}@{document['rev']}" for document in answer)


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
