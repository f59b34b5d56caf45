"""`make bench-trust`: what encryption, audit and authorisation cost a push and a cross-check.

Two API processes of the same product over two databases of one server: one as it is, one with the three switched off
(`bench.seams`). Handhelds push the same records to both in turns, so that whatever else the machine does meets both.
Records are persons of 600 bytes as JSON; each is created and then edited once, which opens and merges what was sealed.
Ratios are medians over rounds: 1 would mean that trust is free. `push_*` compare the time until the last answer, and
mean something on a machine that does nothing else; `cpu_*` compare the processor time of API and database together,
which others' load hardly touches.
"""

import argparse
import http.client
import json
import math
import os
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from backend.core.ids import new_id
from backend.core.settings import PROJECT_ROOT
from backend.dev import SERVER_OPTIONS
from backend.seed import synthetic
from backend.seed.accounts import demo_logins
from bench.stack import OwnStack, own_stack, run_module
from tests.world import Handheld, World, until

ROW_BYTES = 600
SCALE = 0.1
SIDES = {"with": "backend.main:app", "without": "bench.seams:app"}
Row = dict[str, Any]


@dataclass
class Side:
    """One of the two products: its database, its API, the handhelds enrolled there, and what was measured."""

    name: str
    port: int
    environment: dict[str, str]
    handhelds: list[Handheld] = field(default_factory=list)
    servers: tuple[int, ...] = ()
    rows_per_second: dict[int, list[float]] = field(default_factory=dict)
    rows_per_cpu_second: dict[int, list[float]] = field(default_factory=dict)
    checks_per_second: list[float] = field(default_factory=list)


class People:
    """An endless row of synthetic people as records of 600 bytes. Both sides get the same ones."""

    def __init__(self) -> None:
        self._next = 0

    def take(self, number: int, grid_id: str) -> list[Row]:
        """New records of people who were in no record before."""
        first, self._next = self._next, self._next + number
        return [self._record(index, grid_id) for index in range(first, first + number)]

    @staticmethod
    def _record(index: int, grid_id: str) -> Row:
        person = synthetic.person(index)
        fields = {name: value for name, value in person.items() if name not in ("house_code", "address", "grid_id")}
        row = {"id": str(new_id()), "grid_id": grid_id, **fields, "op": str(uuid4()), "_deleted": False, "remark": ""}
        return {**row, "remark": "x" * (ROW_BYTES - len(json.dumps(row, ensure_ascii=False).encode()))}


def edited(row: Row) -> Row:
    """The same record with another phone number, as its handheld would push it next."""
    return {**row, "phone": f"1{random.randrange(30, 99)}{random.randrange(10**8):08d}", "op": str(uuid4())}


def bodies(rows: Sequence[Row], size: int, before: Sequence[Row] | None = None) -> list[bytes]:
    """Push bodies of `size` rows. `before` are the versions that the rows were edited from."""
    pushed = [
        {"newDocumentState": row} | ({"assumedMasterState": before[place]} if before else {})
        for place, row in enumerate(rows)
    ]
    return [
        json.dumps({"rows": pushed[start : start + size]}, ensure_ascii=False).encode()
        for start in range(0, len(pushed), size)
    ]


def push(side: Side, work: Sequence[Sequence[bytes]]) -> float:
    """Let each handheld push its bodies, all at the same time; gives the seconds until the last answer."""
    failed: list[str] = []

    def one(handheld: Handheld, mine: Sequence[bytes]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", side.port, timeout=120)
        for body in mine:
            connection.request("POST", "/sync/v1/person/push", body=body, headers=handheld.headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200 or text != b"[]":
                failed.append(f"{side.name}: {answer.status} {text[:300]!r}")
        connection.close()

    threads = [threading.Thread(target=one, args=pair) for pair in zip(side.handhelds, work, strict=True)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(failed[0])
    return time.perf_counter() - began


def measure_push(sides: Sequence[Side], people: People, *, size: int, rows: int) -> None:
    """One round: the same new records and the same edits of them, to one side and then to the other."""
    devices = len(sides[0].handhelds)
    grids = [handheld.grids()[0] for handheld in sides[0].handhelds]
    created = [people.take(rows // devices, grid) for grid in grids]
    changed = [[edited(row) for row in mine] for mine in created]
    work = [bodies(new, size) + bodies(old, size, new) for new, old in zip(created, changed, strict=True)]
    for side in sides:
        before = cpu_seconds(side.servers)
        side.rows_per_second.setdefault(size, []).append(2 * rows / push(side, work))
        used = cpu_seconds(side.servers) - before
        side.rows_per_cpu_second.setdefault(size, []).append(2 * rows / used)


def cpu_seconds(servers: Sequence[int]) -> float:
    """The processor time of processes so far, with all their children, also of those that have ended. Linux only."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal():
                ticks += _ticks(int(entry.name), entry.joinpath("stat").read_text(), servers)
    return ticks / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int, stat: str, servers: Sequence[int]) -> int:
    """User and system time of a server or a child of one; of a server also that of its ended children (proc(5))."""
    fields = stat.rpartition(")")[2].split()
    parent, user, system, children_user, children_system = (int(fields[place]) for place in (1, 11, 12, 13, 14))
    if pid in servers:
        return user + system + children_user + children_system
    return user + system if parent in servers else 0


def measure_checks(sides: Sequence[Side], entries: int) -> None:
    """One round: waiting checks on either side, each in a process of its own."""
    for side in sides:
        said = json.loads(
            run_module("bench.trust_side", side.name, "check", str(entries), environment=side.environment)
        )
        side.checks_per_second.append(said["entries"] / said["seconds"])


def forget_jobs(stack: OwnStack, sides: Sequence[Side]) -> None:
    """Start each round with an empty queue and settled statistics, alike on both sides."""
    for side in sides:
        with stack.superuser(side.name) as connection:
            connection.execute("DELETE FROM job")
            connection.execute("VACUUM ANALYZE")


@contextmanager
def api(stack: OwnStack, name: str, application: str) -> Iterator[Side]:
    """A migrated and seeded database with the product, or what is left of it, in a process of its own."""
    environment = stack.environment(name, LOG_LEVEL="WARNING")
    stack.migrate(name)
    if name == "without":
        stack.policies_off(name)
    run_module("bench.trust_side", name, "seed", str(SCALE), environment=environment)
    listener = socket.create_server(("127.0.0.1", 0))
    log = (stack.folder / f"{name}.log").open("ab")
    command = [sys.executable, "-m", "uvicorn", application, "--fd", str(listener.fileno()), *SERVER_OPTIONS]
    process = subprocess.Popen(
        command, cwd=PROJECT_ROOT, env=environment, stdout=log, stderr=log, pass_fds=(listener.fileno(),)
    )
    try:
        assert stack.postgres.process
        side = Side(name, listener.getsockname()[1], environment, servers=(process.pid, stack.postgres.process.pid))
        until(lambda: _ready(side.port, process, Path(log.name)), seconds=60, what=f"API ready; see {log.name}")
        yield side
    finally:
        process.terminate()
        process.wait(20)
        listener.close()
        log.close()


def _ready(port: int, process: subprocess.Popen[bytes], log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(log.read_text()[-4000:])
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def enrol(side: Side, devices: int) -> None:
    """Handhelds of workers with grids of their own."""
    client: Any = httpx.Client(base_url=f"http://127.0.0.1:{side.port}", timeout=60)
    world = World(client)
    workers = [entry.login for entry in demo_logins() if entry.grid_id][:devices]
    side.handhelds = [world.handheld(login) for login in workers]


def ratio(after: Sequence[float], before: Sequence[float]) -> float:
    """Median over rounds of the speed with trust against the speed without it in the same round."""
    return statistics.median(a / b for a, b in zip(after, before, strict=True))


def report(after: Side, before: Side) -> dict[str, float]:
    """The ratios, each batch size by itself."""
    found = {
        f"{name}_{size}": ratio(speeds[size], others[size])
        for name, speeds, others in (
            ("push", after.rows_per_second, before.rows_per_second),
            ("cpu", after.rows_per_cpu_second, before.rows_per_cpu_second),
        )
        for size in speeds
    }
    for size in after.rows_per_second:
        speeds = [statistics.median(side.rows_per_second[size]) for side in (after, before)]
        rounds = " ".join(
            f"{a / b:.2f}" for a, b in zip(after.rows_per_second[size], before.rows_per_second[size], strict=True)
        )
        print(f"  batches of {size:>3}: {speeds[0]:,.0f} of {speeds[1]:,.0f} rows/s   rounds {rounds}")
    checks = [statistics.median(side.checks_per_second) for side in (after, before)]
    print(f"  cross-check   : {checks[0]:,.0f} of {checks[1]:,.0f} entries/s")
    return found | {"cross_check": ratio(after.checks_per_second, before.checks_per_second)}


def main() -> int:
    """Measure and print; the exit code is 1 below the limit that is set for pushes."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--rounds", type=int, default=9)
    reader.add_argument("--rows", type=int, default=2000, help="records of a round")
    reader.add_argument("--devices", type=int, default=4)
    reader.add_argument("--checks", type=int, default=300, help="cross-checks of a round")
    reader.add_argument(
        "--fsync", action="store_true", help="let PostgreSQL wait for the disk, as it does in production"
    )
    reader.add_argument("--at-least", type=float, default=0.6)
    said = reader.parse_args()
    with ExitStack() as opened:
        stack = opened.enter_context(own_stack(fsync=said.fsync))
        sides = [opened.enter_context(api(stack, name, application)) for name, application in SIDES.items()]
        for side in sides:
            enrol(side, said.devices)
        people = People()
        for round_number in range(-1, said.rounds):
            ordered = sides if round_number % 2 else sides[::-1]
            for size in (50, 500):
                measure_push(ordered, people, size=size, rows=said.rows)
                if size == 50:
                    measure_checks(ordered, said.checks)
                forget_jobs(stack, sides)
            if round_number < 0:  # The first round fills caches and is not counted.
                for side in sides:
                    side.rows_per_second.clear()
                    side.rows_per_cpu_second.clear()
                    side.checks_per_second.clear()
        found = report(*sides)
    worst = min(value for name, value in found.items() if name.startswith("push_"))
    details = " ".join(f"{name}={value:.2f}" for name, value in found.items() if name != "cross_check")
    print(f"RESULT push_after_vs_before={worst:.2f} cross_check_after_vs_before={found['cross_check']:.2f} {details}")
    return 0 if math.floor(worst * 100) >= said.at_least * 100 else 1


if __name__ == "__main__":
    sys.exit(main())
