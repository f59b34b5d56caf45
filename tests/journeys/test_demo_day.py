"""The demo day, small, on running processes: its numbers add up, also where things break in the middle of it."""

import io
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
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
    assert {*counts["mutations"]} == {outcome.value for outcome in Outcome}
    assert counts["reports"] == {"submitted": 5}
    assert {"name_differs", "id_self_inconsistent", "moved", "duplicate"} <= {*counts["verdicts"]}
    for number in (*counts["mutations"].values(), counts["photos"]["processed"]):
        assert f" {number} " in screen

    code, screen = _played(city.url, Plan(handhelds=2, citizens=2, cases_closed=1))
    assert code == 0, screen


@pytest.mark.timeout(240)
def test_it_adds_up_through_a_killed_worker_a_flushed_broker_and_a_killed_api(
    city: Live, valkey: EmbeddedValkey
) -> None:
    broker = redis.Redis.from_url(valkey.redis_url())
    with ThreadPoolExecutor(1) as pool:
        playing = pool.submit(_played, city.url, Plan(handhelds=6, citizens=5, cases_closed=2))
        until(lambda: sum(_counts(city)["verdicts"].values()) > 10, what="the day is under way")
        city.kill("worker")
        broker.flushall()
        city.kill("api")
        assert not playing.done()
        city.start_api()
        city.start_worker()
        broker.flushall()
        code, screen = playing.result()
    assert code == 0, screen


def test_an_address_where_nothing_runs_is_said_at_once() -> None:
    code, screen = _played("http://127.0.0.1:9", Plan())
    assert code == 1
    assert "make run" in screen
