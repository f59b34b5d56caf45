"""The demo day, small, on running processes: its numbers add up, also where things break in the middle of it."""

import io
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from backend.core.db import engine_for
from backend.core.enums import Outcome
from backend.demo import day
from backend.demo.people import Plan
from backend.embedded.valkey import EmbeddedValkey
from backend.seed import load
from tests.live import Live
from tests.world import until


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey of the test's own, which it may kill."""
    server = EmbeddedValkey(tmp_path / "valkey")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def wechat_port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port for WeChat, told to the product before it starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    monkeypatch.setenv("WECHAT_API_URL", f"http://127.0.0.1:{port}")
    return port


@pytest.fixture
def city(wechat_port: int, live: Live, tmp_path: Path) -> Live:
    """A running product with a few business records."""
    for dataset, path in load.write_drops(tmp_path / "drops", 0.01, lambda *_: None).items():
        load.import_file(engine_for("zw_worker"), dataset=dataset, path=path)
    return live


def _played(url: str, plan: Plan) -> tuple[int, str]:
    screen = io.StringIO()
    return day.play(url, Console(file=screen, width=120), plan), screen.getvalue()


def _counts(city: Live) -> Any:
    return httpx.get(f"{city.url}/overview/v1/counts", timeout=10).json()


@pytest.mark.timeout(240)
def test_the_day_adds_up_and_can_be_played_again(city: Live) -> None:
    code, screen = _played(city.url, Plan(handhelds=4, citizens=5, cases_closed=2, seed=1))
    assert code == 0, screen
    counts = _counts(city)
    assert {*counts["mutations"]} == {*Outcome} - {Outcome.ERASED}, "nobody is erased on this day"
    assert counts["reports"] == {"submitted": 5}
    assert {"name_differs", "id_self_inconsistent", "moved", "duplicate"} <= {*counts["verdicts"]}
    for number in (*counts["mutations"].values(), counts["photos"]["processed"]):
        assert f" {number} " in screen

    code, screen = _played(city.url, Plan(handhelds=2, citizens=2, cases_closed=1))
    assert code == 0, screen


def _kill_with_its_data(broker: EmbeddedValkey) -> None:
    """End the broker at once and remove all it has written down: every message that was on its way is gone."""
    assert broker.process is not None
    broker.process.kill()
    broker.process.wait(10)
    written = broker.data_dir / "appendonlydir"
    assert any(written.iterdir())
    shutil.rmtree(written)


@pytest.mark.timeout(240)
def test_it_adds_up_through_a_killed_worker_a_broker_that_loses_everything_and_a_killed_api(
    city: Live, valkey: EmbeddedValkey
) -> None:
    with ThreadPoolExecutor(1) as pool:
        playing = pool.submit(_played, city.url, Plan(handhelds=6, citizens=5, cases_closed=2))
        until(lambda: sum(_counts(city)["verdicts"].values()) > 10, what="the day is under way")
        city.kill("worker")
        _kill_with_its_data(valkey)
        city.kill("api")
        city.start_api()
        city.start_worker()
        valkey.start()
        before = sum(_counts(city)["verdicts"].values())
        until(lambda: sum(_counts(city)["verdicts"].values()) > before, what="the worker has found its work again")
        _kill_with_its_data(valkey)
        valkey.start()
        assert not playing.done()
        code, screen = playing.result()
    assert code == 0, screen


def test_an_address_where_nothing_runs_is_said_at_once() -> None:
    code, screen = _played("http://127.0.0.1:9", Plan())
    assert code == 1
    assert "make run" in screen
