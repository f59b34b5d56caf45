"""The reference client dies by kill -9 in the middle of everything, again and again, and nothing is lost."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import httpx
import pytest

from backend.core.settings import PROJECT_ROOT
from sync.client import Client
from tests.devices import code_for
from tests.live import Live
from tests.world import World

SEED = 20261126
MOMENTS = (
    "sending /sync/v1/house/push",
    "sending /sync/v1/house/pull",
    "answered",
    "wrote",
    "sending",
    "sending /sync/v1/house/push",
)
"""What the device says just before it dies."""

MOST_TIMES = 4


@pytest.fixture
def server(database: str, tmp_path: Path) -> Iterator[Live]:
    """The API as a process. No jobs run: sync needs none."""
    stack = Live(tmp_path, {**os.environ, "STATE_DIR": str(tmp_path / "state"), "RATE_SYNC": "100000/minute"})
    try:
        stack.start_api()
        yield stack
    finally:
        stack.stop()


def live_and_die(command: list[str], moment: str, times: int) -> list[str]:
    """Run the device until it has said something so many times, and kill it there; gives all that it said."""
    said: list[str] = []
    with subprocess.Popen(
        command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        while sum(line.startswith(moment) for line in said) < times:
            line = child.stdout.readline()
            assert line, child.stderr.read()
            said.append(line.strip())
        os.kill(child.pid, signal.SIGKILL)
        return said + [line.strip() for line in child.stdout if line.endswith("\n")]


def note(said: list[str], written: dict[str, set[str]]) -> None:
    """Take down what each document says. A write that had begun when the device died may be there or not."""
    for verb, *words in map(str.split, said):
        if verb == "wrote":
            written[words[0]] = {words[1]}
        elif verb == "writing":
            written[words[0]].add(words[1])


def test_killed_at_any_moment_a_device_loses_nothing(server: Live, tmp_path: Path) -> None:
    file, other_file = tmp_path / "device.sqlite", tmp_path / "other.sqlite"
    with httpx.Client(base_url=server.url, timeout=30) as office:
        world = World(office)  # type: ignore[arg-type]
        login = world.workers()[0]
        with Client(file, server.url) as device:
            device.enrol(code_for(world, login), "synthetic handheld")
            grid = device.grids()[0]
        draw = Random(SEED)
        written: dict[str, set[str]] = {}
        for moment in MOMENTS:
            command = [sys.executable, "-m", "tests.journeys.hurried_device", str(file), server.url, grid]
            note(live_and_die(command, moment, draw.randint(1, MOST_TIMES)), written)
        with (
            Client(file, server.url, kinds=("house",)) as device,
            Client(other_file, server.url, kinds=("house",)) as other,
        ):
            other.enrol(code_for(world, login), "synthetic handheld")
            device.sync()
            other.sync()
            held = {one["id"]: one["address"] for one in device.store.documents("house")}
            assert held.keys() >= written.keys()
            assert [key for key, possible in written.items() if held[key] not in possible] == []
            assert device.store.documents("house") == other.store.documents("house")
            assert device.store.refused() == []
            assert [entry for entry in device.store.outcomes() if entry["outcome"] == "conflict"] == []
            assert (device.differing(), other.differing()) == ([], [])
            assert device.receipt().safe
            assert other.receipt().safe
