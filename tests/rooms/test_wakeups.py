"""A name has one wake-up on its way at most, and is never silent for long."""

from pathlib import Path

import pytest
import redis

from backend import tasks, wakeups
from backend.core.settings import get_settings
from backend.embedded.valkey import EmbeddedValkey


def speak_to(monkeypatch: pytest.MonkeyPatch, broker_url: str) -> None:
    monkeypatch.setenv("BROKER_URL", broker_url)
    get_settings.cache_clear()


@pytest.fixture
def marks(valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> redis.Redis:
    speak_to(monkeypatch, valkey.celery_url())
    client = redis.Redis.from_url(valkey.redis_url())
    client.flushall()
    return client


@pytest.mark.usefixtures("marks")
def test_a_name_is_announced_once_until_its_wake_up_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(tasks.run, "apply_async", lambda args, **_: sent.append(args[0]))
    for name in ("a", "a", "b", "a"):
        tasks.announce(name)
    assert sent == ["a", "b"]

    def written_meanwhile(name: str, *, end: float) -> int:
        assert end
        tasks.announce(name)
        return 0

    monkeypatch.setattr(tasks, "run_batch", written_meanwhile)
    tasks.run("a")
    assert sent == ["a", "b", "a"], "what is written while a batch is claimed is announced anew"


def test_a_mark_runs_out_by_itself(marks: redis.Redis) -> None:
    assert wakeups.take("a")
    assert 0 < marks.pttl(wakeups.PREFIX + "a") <= wakeups.LASTS_S * 1000
    marks.flushall()
    assert wakeups.take("a"), "nor does it outlive the messages"


@pytest.mark.parametrize("broker", ["redis+socket://{folder}/nobody", "memory://", "redis://host:port/0"])
def test_where_nothing_can_be_told_every_wake_up_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broker: str
) -> None:
    speak_to(monkeypatch, broker.format(folder=tmp_path))
    assert [wakeups.take("a"), wakeups.take("a")] == [True, True]
    wakeups.begun("a")
