"""Who takes part in the day, and what they do one step after the other."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import backend.seed
from backend.core.enums import COLLECTED_KINDS, CaseState, Kind, Role
from backend.demo import desk, script
from backend.demo.citizens import Citizen, Wechat, some_citizens
from backend.demo.client import Json, Office, Server
from backend.demo.handheld import Handheld
from backend.demo.overview import Overview
from backend.demo.records import Register
from backend.demo.script import PUSH_ORDER, Morning
from backend.demo.steps import Steps
from backend.demo.table import Done
from backend.seed.accounts import demo_logins
from backend.seed.synthetic import COUNTS
from backend.seed.territory import DEMO_GRIDS

PHOTOS = Path(backend.seed.__file__).parent / "photos"
SMALLEST_SCALE = 0.01


@dataclass(frozen=True, slots=True)
class Plan:
    """How large the day is. The same seed draws the same people and things, under fresh ids."""

    handhelds: int = 20
    citizens: int = 40
    cases_closed: int = 5
    seed: int = field(default_factory=lambda: secrets.randbits(31))

    def random(self, part: str) -> Random:
        """What decides by chance in one part of the day."""
        return Random(f"{self.seed}/{part}")  # noqa: S311  nothing secret is drawn

    def pictures(self) -> list[bytes]:
        """The photographs that people take."""
        return [path.read_bytes() for path in sorted(PHOTOS.glob("*.jpg"))]

    def logins(self) -> list[str]:
        """The workers who take part, those of one grid next to each other."""
        workers = [entry for entry in demo_logins() if entry.role is Role.GRID_WORKER]
        workers.sort(key=lambda entry: (entry.grid_id or "", entry.login))
        return [entry.login for entry in workers[: self.handhelds]]


@dataclass
class Worker:
    """A grid worker with his handheld, and what he has entered. `number` sets the workers apart."""

    number: int
    handheld: Handheld
    entered: Morning = field(default_factory=Morning)
    beside: list[tuple[Kind, Json]] = field(default_factory=list)
    taken_back: dict[str, str] = field(default_factory=dict)
    """The use of houses that must stand in the end, by id: a change of it was taken back."""


class Day:
    """The day so far. Each method is a step; within it people act at the same time."""

    def __init__(self, server: Server, office: Office, plan: Plan, steps: Steps) -> None:
        self._server, self._office, self._plan, self._steps = server, office, plan, steps
        self._workers: list[Worker] = []
        self._citizens: list[Citizen] = []
        self._to_close: list[str] = []

    def enrol(self) -> None:
        """Every worker gets a handheld, and it downloads what is known of its grid."""
        found: dict[str, Handheld] = {}

        def take_up(login: str) -> None:
            handheld = found[login] = Handheld.enrol(self._server, self._office, login)
            handheld.pull()
            handheld.known_cases = frozenset(handheld.replicas[Kind.CASE].documents)

        logins = self._plan.logins()
        self._steps.together({"登记终端、下载网格 enrol and pull": [partial(take_up, login) for login in logins]})
        self._workers = [Worker(number, found[login]) for number, login in enumerate(logins)]

    def enter(self, before: Overview) -> None:
        """The morning's records and photos are entered and sent, and both workers of a grid see them."""
        pictures = self._plan.pictures()
        houses = before.count("business_records", "houses")
        scale = min(1.0, max(SMALLEST_SCALE, houses / COUNTS["houses"]))

        for grid_id, workers in self._grids().items():
            random = self._plan.random(grid_id)
            register = Register.of(grid_id, random, scale=scale)
            for worker in workers:
                worker.entered = script.morning(worker.handheld, register, pictures, random, number=worker.number)
        acts = [partial(_send_morning, worker) for worker in self._workers]
        self._steps.together({"晨间采集、上传 morning entries": acts})
        self._steps.together({"下载 pull": [worker.handheld.pull for worker in self._workers]})

    def edit_offline(self) -> None:
        """Nobody has a network; the two workers of a grid edit the same people and houses, and make mistakes."""
        grids = self._grids()
        for workers in grids.values():
            for first, second in zip(workers[::2], workers[1::2], strict=False):
                script.edit_together(first.handheld, second.handheld, first.entered, second.entered)
        for worker in self._workers:
            foreign = next(grid for grid in DEMO_GRIDS if grid != worker.handheld.grid_id)
            worker.beside = script.make_mistakes(worker.handheld, worker.entered, foreign_grid=foreign)

    def come_back(self, platform: Wechat | None) -> None:
        """The handhelds find a network again, all at once, while citizens report."""
        acts = {"离线修改后上传 back online": [partial(_come_back, worker) for worker in self._workers]}
        if platform is not None:
            random = self._plan.random("citizens")
            self._citizens = some_citizens(self._plan.citizens, sorted(self._grids()), random)
            acts["市民上报 citizens report"] = [
                partial(platform.play, self._server, citizen) for citizen in self._citizens
            ]
        self._steps.together(acts)

    def close_cases(self) -> None:
        """A supervisor closes some of the cases that the handhelds have learnt of, each of another grid."""
        self.catch_up()
        found = [sorted(worker.handheld.cases_of_today()) for worker in self._workers[::2]]
        self._to_close = [cases[0] for cases in found if cases][: self._plan.cases_closed]
        acts = [partial(desk.close_case, self._office, case_id) for case_id in self._to_close]
        self._steps.together({"认领、派遣、结案 a supervisor closes": acts})

    def catch_up(self) -> None:
        """Every handheld pulls."""
        self._steps.together({"下载 pull": [worker.handheld.pull for worker in self._workers]})

    def account(self, platform: Wechat | None) -> Done:
        """What was done, in numbers."""
        handhelds = [worker.handheld for worker in self._workers]
        cases: dict[str, Json] = {}
        for handheld in handhelds:
            cases |= handheld.cases_of_today()
        return Done(
            accounts=[handheld.account() for handheld in handhelds],
            photos=sum(handheld.sent_photos for handheld in handhelds)
            + sum(len(citizen.photos) for citizen in self._citizens),
            reports=len(self._citizens),
            told=len({citizen.openid for citizen in self._citizens} & platform.told()) if platform else 0,
            live=len({document_id for handheld in handhelds for document_id in _live_today(handheld)}),
            taken_back=sum(len(worker.taken_back) for worker in self._workers),
            as_before=sum(map(_as_before, self._workers)),
            unlike=sum(_unlike([worker.handheld for worker in workers]) for workers in self._grids().values()),
            cases=len(cases),
            acted=len(self._to_close),
            seen_closed=sum(cases[case_id]["state"] == CaseState.CLOSED for case_id in self._to_close),
        )

    def _grids(self) -> dict[str, list[Worker]]:
        grids: dict[str, list[Worker]] = {}
        for worker in self._workers:
            grids.setdefault(worker.handheld.grid_id, []).append(worker)
        return grids


def _send_morning(worker: Worker) -> None:
    """Photos before the records or after them: either may come first. Some answers are lost on the way."""
    handheld, photos_first = worker.handheld, worker.number % 2 == 0
    if photos_first:
        handheld.send_photos()
    for kind in PUSH_ORDER:
        if worker.number % 3 == 0:
            handheld.push(kind, answer_lost=True)
        handheld.push(kind)
    handheld.send_photos()


def _come_back(worker: Worker) -> None:
    """After hours without a network the access token has run out; then everything that waits is sent."""
    handheld = worker.handheld
    handheld.renew()
    if worker.number % 2 and len(worker.entered.houses) > 2:
        script.edit_own_house(handheld, worker.entered.houses[-1], remark="第一次修改")
        handheld.push(Kind.HOUSE, answer_lost=True)
        script.edit_own_house(handheld, worker.entered.houses[-1], remark="第二次修改")
    elif len(worker.entered.houses) > 2:
        house_id = worker.entered.houses[-1]
        worker.taken_back[house_id] = script.change_use(handheld, house_id, "storage")
        handheld.push(Kind.HOUSE, answer_lost=True)
        script.change_use(handheld, house_id, worker.taken_back[house_id])
    for kind in PUSH_ORDER:
        handheld.push(kind)
    for kind, row in worker.beside:
        handheld.push_rows(kind, [row])
    handheld.pull()


def _as_before(worker: Worker) -> int:
    """How many houses have the use again that they had before a change of it was taken back."""
    houses = worker.handheld.replicas[Kind.HOUSE].documents
    return sum(houses[house_id]["use"] == use for house_id, use in worker.taken_back.items())


def _live_today(handheld: Handheld) -> Iterator[str]:
    """Ids of the records that were sent by this handheld today and that it now holds."""
    sent = {entry.id for entry in handheld.ledger.sent}
    for kind in COLLECTED_KINDS:
        yield from sent & handheld.replicas[kind].live().keys()


def _unlike(handhelds: list[Handheld]) -> int:
    """How many documents the handhelds of one grid do not hold alike."""
    first, *others = handhelds
    number = 0
    for kind, replica in first.replicas.items():
        mine = replica.live()
        for other in others:
            theirs = other.replicas[kind].live()
            number += sum(mine.get(key) != theirs.get(key) for key in mine.keys() | theirs.keys())
    return number
