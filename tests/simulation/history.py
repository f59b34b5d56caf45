"""Random histories: clients that write, lose their network, die and start again while their scope changes."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from backend.core.ids import new_id
from tests.simulation.audit import Replica, Written, breaches
from tests.simulation.node import NodeProcess
from tests.simulation.town import Town
from tests.world import Handheld

FAULTS = {
    "lost_request": 0.06,
    "lost_answer": 0.10,
    "twice": 0.08,
    "repeated_later": 0.08,
    "slow_request": 0.10,
    "slow_answer": 0.12,
}
"""How often each fault happens to a request; the rest arrives as it should."""

FIELDS = {"house": ("address", "name", "use", "remark"), "person": ("name", "phone", "employer", "remark")}
OPERATIONS = {
    "insert": 20,
    "patch": 45,
    "move": 4,
    "remove": 5,
    "settle": 8,
    "restart": 4,
    "migrate": 2,
    "offline": 5,
    "online": 6,
    "withdraw": 3,
    "assign": 4,
    "resubmit": 2,
}
POKED = 0.6
"""How often an operation is followed by a poke of some client, as the server sends one after a commit."""

GRIDS = 3
MAX_ROUNDS = 20


@dataclass
class Client:
    """One handheld of a history, as the driver sees it."""

    name: str
    node: NodeProcess
    worker: int
    enrolled: Handheld
    offline: bool = False
    migrated: bool = False


@dataclass
class History:
    """One history of a town. `seed` draws everything but the timing, which belongs to the processes."""

    town: Town
    storage: str
    seed: int
    clients: list[Client] = field(default_factory=list)
    documents: list[tuple[str, str]] = field(default_factory=list)
    written: Written = field(default_factory=Written)
    operations: int = 0
    faults: int = 0
    accepted: int = 0
    found: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.storage} {self.seed}")

    def begin(self, nodes: Sequence[NodeProcess], *, rates: dict[str, float] = FAULTS, **options: Any) -> None:
        """Two or three clients; the first two share a grid, everyone holds at least one."""
        for place in range(self.random.choice((2, 3))):
            for grid in {0, 1} if place < 2 else {1, 2}:
                self.town.assign(place, grid)
            enrolled = self.town.enrol(place)
            client = Client(f"{self.storage}{self.seed}n{place}", nodes[place], place, enrolled)
            self.clients.append(client)
            client.node.call(
                "open",
                name=client.name,
                storage=self.storage,
                url=self.town.url,
                token=enrolled.tokens["access_token"],
                seed=self.random.getrandbits(32),
                rates=rates,
                **options,
            )

    def run(self, operations: int) -> None:
        """Draw and do operations, each on one client, without waiting for the network unless it is drawn."""
        kinds, weights = list(OPERATIONS), list(OPERATIONS.values())
        for _ in range(operations):
            operation = self.random.choices(kinds, weights)[0]
            act: Callable[[Client], None] = getattr(self, f"_{operation}")
            act(self.random.choice(self.clients))
            self.operations += 1
            if self.random.random() < POKED:
                self.random.choice(self.clients).node.call("poke")

    def end(self) -> None:
        """All faults stop, every client syncs until none has anything to say; `found` is what does not hold then."""
        for client in self.clients:
            client.node.call("faults", rates={})
            client.node.call("offline", offline=False)
        for _ in range(MAX_ROUNDS):
            begun = [(client, client.node.begin("settle")) for client in self.clients]
            if sum(client.node.finish(number) for client, number in begun) == 0:
                break
        else:
            self.found = [f"not idle after {MAX_ROUNDS} rounds"]
            return
        for client in self.clients:
            client.node.call("outcomes")
        self.found = breaches(self.town, [self._replica(client) for client in self.clients], self.written)

    def close(self) -> None:
        """Close the clients, whatever state they are in, so that their processes can hold others."""
        for client in self.clients:
            client.node.call("close")

    def _replica(self, client: Client) -> Replica:
        dump, report = client.node.call("dump"), client.node.call("report")
        self.faults += sum(report["faults"].values())
        self.accepted += len(report["accepted"])
        refused = client.node.call("refused")
        return Replica(
            client.name,
            client.enrolled,
            dump["living"],
            dump["deleted"],
            refused,
            report["accepted"],
            report["pushed"],
            report["alarms"],
        )

    def _insert(self, client: Client) -> None:
        kind = self.random.choice(list(FIELDS))
        held = self.town.held(client.worker)
        grid = self.random.choice(sorted(held)) if held and self.random.random() < 0.9 else self.random.randrange(GRIDS)
        document = {"id": str(new_id()), "grid_id": self.town.grids[grid], "op": str(uuid4())}
        document |= {name: self._value(client) for name in FIELDS[kind][: self.random.randint(1, 4)]}
        client.node.call("insert", kind=kind, document=document)
        self.documents.append((kind, document["id"]))

    def _patch(self, client: Client) -> None:
        for kind, one in self._some(3):
            names = self.random.sample(FIELDS[kind], self.random.randint(1, 2))
            fields = {name: self._value(client) for name in names}
            if client.node.call("patch", kind=kind, id=one, fields=fields):
                return

    def _move(self, client: Client) -> None:
        for kind, one in self._some(1):
            grid = self.town.grids[self.random.randrange(GRIDS)]
            client.node.call("patch", kind=kind, id=one, fields={"grid_id": grid})

    def _remove(self, client: Client) -> None:
        for kind, one in self._some(1):
            client.node.call("remove", kind=kind, id=one)

    def _settle(self, client: Client) -> None:
        if not client.offline:
            client.node.call("settle")

    def _restart(self, client: Client) -> None:
        client.node.call("restart")

    def _migrate(self, client: Client) -> None:
        if not client.migrated:
            client.migrated = True
            client.node.call("restart", migrate=True)

    def _offline(self, client: Client) -> None:
        self._switch(client, offline=True)

    def _online(self, client: Client) -> None:
        self._switch(client, offline=False)

    def _switch(self, client: Client, *, offline: bool) -> None:
        client.offline = offline
        client.node.call("offline", offline=offline)

    def _withdraw(self, client: Client) -> None:
        held = self.town.held(client.worker)
        if held:
            self.town.withdraw(client.worker, self.random.choice(sorted(held)))

    def _assign(self, client: Client) -> None:
        free = set(range(GRIDS)) - self.town.held(client.worker)
        if free:
            self.town.assign(client.worker, self.random.choice(sorted(free)))

    def _resubmit(self, client: Client) -> None:
        """A refused row, corrected: it goes to a grid that the worker holds now. First he reads what became of it."""
        held = self.town.held(client.worker)
        if not held or client.offline:
            return
        client.node.call("outcomes")
        refused = [row for row in client.node.call("refused") if row["code"] and not row["row"].get("_deleted")]
        if refused:
            fields = {"grid_id": self.town.grids[min(held)]}
            client.node.call("resubmit", op=self.random.choice(refused)["op"], fields=fields)

    def _some(self, most: int) -> list[tuple[str, str]]:
        """Some documents, the newer ones more likely, because edits should meet."""
        recent = self.documents[-6:]
        return self.random.sample(recent, min(most, len(recent)))

    def _value(self, client: Client) -> str:
        return self.written.new(client.name, str(self.seed))
