"""A few of the model's histories on the real API with two processes, one of which is killed in the middle of a push."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.simulate_api import play
from tests.simulation.model import remote
from tests.simulation.model.history import MOST_DEVICES, draw
from tests.simulation.model.remote import Fleet

SEEDS = (1, 3)


@pytest.fixture
def fleet(database: str, tmp_path: Path) -> Iterator[Fleet]:
    running = Fleet.start(tmp_path, {**os.environ, "STATE_DIR": str(tmp_path / "state")}, devices=MOST_DEVICES)
    yield running
    running.stop()


def test_histories_on_the_real_api_keep_every_invariant(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in SEEDS:
        monkeypatch.setattr(remote, "KILLED", 0.0 if fleet.kills else 0.6)
        assert play(fleet, draw(seed))[0] == []
    assert fleet.kills > 0
