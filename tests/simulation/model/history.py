"""What happens in a history, as data: drawn from a seed, played one step after the other, shrunk by leaving steps out.

A step names its device and document by number, so that it means the same when others are left out; one that has
become impossible (an edit of a document that the device does not hold) does nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Any

GRIDS = ("440310001001001", "440310001001002", "440310001001003")
UNKNOWN_GRID = "999999999999999"
FEWEST_DEVICES, MOST_DEVICES = 2, 5
FEWEST_STEPS, MOST_STEPS = 20, 60
MEMBERS = 3
REGAINED = 0.5
"""How many lost grids come back to the same device."""


class Verb(StrEnum):
    """What one step does."""

    CREATE = "create"
    EDIT = "edit"
    MEMBER = "member"
    DELETE = "delete"
    MOVE = "move"
    PUSH = "push"
    PULL = "pull"
    RESTART = "restart"
    ASSIGN = "assign"
    UNASSIGN = "unassign"
    OFFICE = "office"
    SKEW = "skew"
    UPGRADE = "upgrade"
    BACKUP = "backup"
    RESTORE = "restore"


class Fault(StrEnum):
    """What the network does to one call. A late request arrives after its sender gave it up."""

    NONE = "none"
    REQUEST_LOST = "request_lost"
    ANSWER_LOST = "answer_lost"
    TWICE = "twice"
    REQUEST_LATE = "request_late"
    ANSWER_LATE = "answer_late"


FAULTS: Mapping[Verb, tuple[tuple[Fault, int], ...]] = {
    Verb.PUSH: (
        (Fault.NONE, 6),
        (Fault.REQUEST_LOST, 1),
        (Fault.ANSWER_LOST, 3),
        (Fault.TWICE, 2),
        (Fault.REQUEST_LATE, 2),
        (Fault.ANSWER_LATE, 3),
    ),
    Verb.PULL: ((Fault.NONE, 6), (Fault.REQUEST_LOST, 1), (Fault.ANSWER_LOST, 1)),
}
WEIGHTS: Mapping[Verb, int] = {
    Verb.CREATE: 10,
    Verb.EDIT: 26,
    Verb.MEMBER: 8,
    Verb.DELETE: 4,
    Verb.MOVE: 4,
    Verb.PUSH: 26,
    Verb.PULL: 16,
    Verb.RESTART: 3,
    Verb.ASSIGN: 5,
    Verb.UNASSIGN: 4,
    Verb.OFFICE: 3,
    Verb.SKEW: 1,
    Verb.UPGRADE: 1,
    Verb.BACKUP: 2,
    Verb.RESTORE: 2,
}
FIELDS: Mapping[str, tuple[Any, ...]] = {
    "use": ("residential", "commercial", "storage"),
    "rental_use": ("rented", "vacant"),
    "area_dm2": (0, 1, 2500),
    "remark": (None, "", "synthetic"),
    "name": (),
    "address": (),
}
"""The fields that are edited, and their values. Without any, each value is one of its own."""
OWNED = "tenure"
"""The field of a house that a department owns once it has written it (`sync.authority`); each value is of its own."""
OF_OWNED: Mapping[Verb, float] = {Verb.EDIT: 0.1, Verb.OFFICE: 0.5}


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `number` is what the verb makes of it: rows of a batch, a page's limit, a delay in steps, a member."""

    verb: Verb
    device: int = 0
    document: int = 0
    field: str = ""
    value: Any = None
    fault: Fault = Fault.NONE
    number: int = 0

    def __str__(self) -> str:
        words = [self.verb.value, f"device {self.device}", f"document {self.document}"]
        words += [f"{self.field}={self.value!r}"] if self.field else []
        words += [self.fault.value] if self.fault is not Fault.NONE else []
        return " ".join([*words, str(self.number)])


@dataclass(frozen=True, slots=True)
class History:
    """A seed's devices, with the grids each holds at the start, and steps."""

    seed: int
    grids: tuple[tuple[str, ...], ...]
    steps: tuple[Step, ...]


def draw(seed: int) -> History:
    """The history of a seed: the same on every machine and in every run."""
    random = Random(seed)
    devices = random.randint(FEWEST_DEVICES, MOST_DEVICES)
    grids = tuple(tuple(sorted(random.sample(GRIDS, random.choice((1, 2, 2, 3))))) for _ in range(devices))
    verbs, weights = list(WEIGHTS), list(WEIGHTS.values())
    steps: list[Step] = []
    authority = Random(f"authority {seed}")
    documents = 0
    for place in range(random.randint(FEWEST_STEPS, MOST_STEPS)):
        verb = random.choices(verbs, weights)[0] if documents else Verb.CREATE
        step = _step(random, verb, place, devices=devices, documents=documents)
        if authority.random() < OF_OWNED.get(verb, 0):
            step = replace(step, field=OWNED, value=f"value {place}")
        steps.append(step)
        documents += verb is Verb.CREATE
        if verb is Verb.UNASSIGN and random.random() < REGAINED:
            steps += _regain(random, steps[-1])
    return History(seed, grids, tuple(steps))


def _regain(random: Random, lost: Step) -> list[Step]:
    """A grid that comes back at once, often with a push between the loss and the return, and no pull."""
    push = replace(lost, verb=Verb.PUSH, field="", value=None, number=4)
    return [*([push] if random.random() < REGAINED else []), replace(lost, verb=Verb.ASSIGN)]


def _step(random: Random, verb: Verb, place: int, *, devices: int, documents: int) -> Step:
    device, document = random.randrange(devices), random.randrange(documents) if documents else 0
    number = random.randint(1, 4)
    fault = random.choices(*zip(*FAULTS[verb], strict=True))[0] if verb in FAULTS else Fault.NONE
    match verb:
        case Verb.CREATE:
            return Step(verb, device, documents, "grid_id", _grid(random))
        case Verb.EDIT | Verb.OFFICE:
            field = random.choice(list(FIELDS))
            return Step(verb, device, document, field, random.choice(FIELDS[field] or (f"value {place}",)))
        case Verb.MEMBER:
            change = random.choice(("name", "phone", "gone"))
            return Step(verb, device, document, change, f"synthetic {place}", number=random.randrange(MEMBERS))
        case Verb.MOVE | Verb.ASSIGN | Verb.UNASSIGN:
            return Step(verb, device, document, "grid_id", _grid(random) if verb is Verb.MOVE else random.choice(GRIDS))
        case _:
            return Step(verb, device, document, fault=fault, number=number)


def _grid(random: Random) -> str:
    return random.choice((*GRIDS * 5, UNKNOWN_GRID))
