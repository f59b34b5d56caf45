"""The demo day, small, on running processes: its numbers add up, also where things break in the middle of it."""

import io
import socket
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import redis
from rich.console import Console

from backend.core.db import engine_for
from backend.core.enums import Outcome, QuarantineCode
from backend.demo import client, day
from backend.demo.client import Json
from backend.demo.ledger import (
    Account,
    Contest,
    Ledger,
    conflict_records,
    expected_outcomes,
    read_said,
    surprises,
    written_versions,
)
from backend.demo.people import Plan
from backend.embedded.valkey import EmbeddedValkey
from backend.seed import load
from tests.live import Live
from tests.world import until

SMALL = Plan(handhelds=4, citizens=5, cases_closed=2, seed=1)


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


def _played(city: Live, plan: Plan = SMALL) -> tuple[int, str]:
    screen = io.StringIO()
    return day.play(city.url, Console(file=screen, width=120), plan), screen.getvalue()


def _counts(city: Live) -> Json:
    counts: Json = httpx.get(f"{city.url}/overview/v1/counts", timeout=10).json()
    return counts


def test_the_day_adds_up_and_can_be_played_again(city: Live) -> None:
    code, screen = _played(city)
    assert code == 0, screen
    first = _counts(city)
    assert {*first["mutations"]} == {outcome.value for outcome in Outcome}
    assert first["reports"] == {"submitted": SMALL.citizens}
    assert {"name_differs", "id_self_inconsistent", "moved", "duplicate"} <= {*first["verdicts"]}
    for number in (*first["mutations"].values(), first["photos"]["processed"]):
        assert f" {number} " in screen

    code, screen = _played(city)
    assert code == 0, screen
    assert _counts(city)["mutations"] == {name: 2 * number for name, number in first["mutations"].items()}


def test_it_adds_up_through_a_killed_worker_a_flushed_broker_and_a_killed_api(
    city: Live, valkey: EmbeddedValkey
) -> None:
    broker = redis.Redis.from_url(valkey.redis_url())
    with ThreadPoolExecutor(1) as pool:
        playing = pool.submit(_played, city, Plan(handhelds=8, citizens=5, cases_closed=2))
        until(lambda: sum(_counts(city)["verdicts"].values()) > 10, what="the day is under way")
        city.kill("worker")
        broker.flushall()
        city.kill("api")
        city.start_api()
        assert not playing.done()
        city.start_worker()
        broker.flushall()
        code, screen = playing.result()
    assert code == 0, screen


def test_work_that_the_day_did_not_do_shows_with_both_numbers(city: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    look = day.look
    seen: list[Json] = []

    def with_one_too_many(*arguments: object) -> object:
        found = look(*arguments)  # type: ignore[arg-type]
        found.groups["verdicts"]["match"] = found.groups["verdicts"].get("match", 0) + len(seen)
        seen.append(found.groups)
        return found

    monkeypatch.setattr(day, "look", with_one_too_many)
    code, screen = _played(city, Plan(handhelds=2, citizens=1, cases_closed=1))
    (wrong,) = [line for line in screen.splitlines() if line.startswith("✗")]
    sent = int(wrong.split("≠")[0].split()[-1])
    assert code == 1
    assert wrong.endswith(f"≠ 结论 verdicts {sent + 1}")


def test_an_address_where_nothing_runs_is_said_at_once() -> None:
    screen = io.StringIO()
    assert day.play("http://127.0.0.1:9", Console(file=screen, width=200), SMALL) == 1
    assert "make run" in screen.getvalue()
