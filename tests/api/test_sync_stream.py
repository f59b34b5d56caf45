"""The stream, over real API processes: who is told what, across processes, and when it ends."""

import asyncio
import os
import queue
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest
from sqlalchemy import Engine, text

from backend.core.clock import now
from backend.core.db import make_engine
from backend.core.ids import new_id
from backend.core.settings import get_settings
from sync.streams import LEAST_GAP_S, Follower, Signal, Stream, Streams, StreamsFull
from tests.live import Live
from tests.world import Handheld, World, document, until

HEARTBEAT_S = 0.5
SOON_S = 20.0
FEW = 8
"""Heartbeats in which a word has to come where no network lies between: two seconds."""
QUIET = 2
"""Heartbeats in a row after which all is said that is said at the beginning."""


@dataclass(frozen=True)
class Pair:
    """Two API processes over one database, with a quick heartbeat and room for two streams each."""

    one: Live
    two: Live
    engine: Engine

    def scalar(self, statement: str, **values: Any) -> Any:
        with self.engine.begin() as connection:
            return connection.execute(text(statement), values).scalar_one_or_none()


@pytest.fixture(scope="module")
def pair(module_database: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    settings = {
        **module_database,
        "STATE_DIR": str(tmp_path_factory.mktemp("state")),
        "STREAM_HEARTBEAT_SECONDS": str(HEARTBEAT_S),
        "STREAM_SECONDS": "600",
        "MAX_STREAMS": "2",
    }
    engine = make_engine(module_database["WORKER_DATABASE_URL"], role="zw_worker")
    one, two = (Live(tmp_path_factory.mktemp("api"), settings) for _ in range(2))
    try:
        with ThreadPoolExecutor() as starters:
            list(starters.map(Live.start_api, (one, two)))
        yield Pair(one, two, engine)
    finally:
        for stack in (one, two):
            stack.stop()
        engine.dispose()


@contextmanager
def world_of(stack: Live) -> Iterator[World]:
    with httpx.Client(base_url=stack.url, timeout=30) as client:
        yield World(client)  # type: ignore[arg-type]  # the same calls as the test client's


@dataclass
class Listener:
    """A stream that is read in a thread, line by line. `ended` is set when the server closes it."""

    url: str
    headers: dict[str, str]
    lines: "queue.Queue[str]" = field(default_factory=queue.Queue)
    ended: threading.Event = field(default_factory=threading.Event)
    status: int = 0
    answer: Any = None

    def __post_init__(self) -> None:
        self._client = httpx.Client(timeout=SOON_S)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            with self._client.stream("GET", f"{self.url}/sync/v1/stream", headers=self.headers) as answer:
                self.status, self.answer = answer.status_code, answer
                if answer.status_code != httpx.codes.OK:
                    answer.read()
                for line in answer.iter_lines():
                    self.lines.put(line)
        except httpx.TransportError:
            pass
        finally:
            self.ended.set()

    def hears(self, wanted: str) -> bool:
        """Whether the line comes soon; what comes before it is dropped."""
        while True:
            try:
                if self.lines.get(timeout=SOON_S) == wanted:
                    return True
            except queue.Empty:
                return False

    def settle(self) -> None:
        """Read until a heartbeat: nothing is due any more."""
        assert self.hears("event: resync"), "the first word"
        assert self.hears(": heartbeat")

    def close(self) -> None:
        self._client.close()
        self._thread.join(SOON_S)


@contextmanager
def listening(stack: Live, handheld: Handheld) -> Iterator[Listener]:
    listener = Listener(stack.url, handheld.headers)
    try:
        yield listener
    finally:
        listener.close()


def test_a_push_to_one_process_pokes_the_streams_of_another(pair: Pair) -> None:
    with world_of(pair.one) as world, world_of(pair.two) as elsewhere:
        one, other = world.handheld(), elsewhere.handheld()
        with listening(pair.two, other) as listener:
            listener.settle()
            written = document(one.grids()[0], name="合成")
            one.push("person", written)
            assert listener.hears("event: resync")
            assert listener.hears("data: {}"), "and no document"
            assert listener.answer.headers["content-type"].startswith("text/event-stream")
            assert [entry["id"] for entry in other.pull("person")] == [written["id"]]


def test_a_push_that_rolls_back_or_lies_elsewhere_pokes_nobody(pair: Pair) -> None:
    with world_of(pair.one) as world:
        one = world.handheld()
        others = map(world.handheld, world.workers()[1:])
        stranger = next(device for device in others if set(device.grids()).isdisjoint(one.grids()))
        with listening(pair.two, stranger) as listener:
            listener.settle()
            one.push("person", document(one.grids()[0], name="合成"))
            one.push("person", document("000000000000000", name="合成"))
            assert listener.hears(": heartbeat")
            assert listener.hears(": heartbeat")
            assert "event: resync" not in list(listener.lines.queue)


def test_a_word_that_was_lost_comes_with_the_next_look(pair: Pair) -> None:
    with world_of(pair.one) as world:
        handheld = world.handheld()
        with listening(pair.two, handheld) as listener:
            listener.settle()
            with pair.engine.begin() as connection:  # as if the process had ended between its commit and its word
                changed = "UPDATE feed_counter SET seq = seq + 1 WHERE grid_id = :grid"
                connection.execute(text(changed), {"grid": handheld.grids()[0]})
            assert listener.hears("event: resync")


def test_many_touches_are_few_words_and_nothing_piles_up_for_who_does_not_read(pair: Pair) -> None:
    with world_of(pair.one) as world:
        one = world.handheld()
        with listening(pair.two, world.handheld()) as listener:
            listener.settle()
            started = now()
            for number in range(15):
                one.push("person", document(one.grids()[0], name=str(number)))
            assert listener.hears(": heartbeat")
            passed = (now() - started).total_seconds()
            said = sum(line == "event: resync" for line in listener.lines.queue)
            assert said <= passed / LEAST_GAP_S + 2


def test_a_stream_ends_when_its_device_is_revoked_in_another_process(pair: Pair) -> None:
    with world_of(pair.one) as world:
        handheld = world.handheld()
        with listening(pair.two, handheld) as listener:
            listener.settle()
            path = f"/devices/v1/devices/{handheld.tokens['device_id']}/revoke"
            assert world.client.post(path, headers=world.office("supervisor")).status_code == 200
            assert listener.ended.wait(SOON_S)


def test_a_newer_stream_of_a_device_ends_the_older_and_a_process_has_room_for_a_few(pair: Pair) -> None:
    with world_of(pair.one) as world:
        devices = [world.handheld() for _ in range(3)]
        with listening(pair.one, devices[0]) as first, listening(pair.one, devices[1]) as second:
            first.settle()
            second.settle()
            with listening(pair.one, devices[0]) as again:
                assert first.ended.wait(SOON_S)
                again.settle()
                refused = httpx.get(f"{pair.one.url}/sync/v1/stream", headers=devices[2].headers)
                assert (refused.status_code, refused.json()["code"]) == (503, "streams_full")
                assert int(refused.headers["Retry-After"]) > 0
                with listening(pair.two, devices[2]) as elsewhere:
                    elsewhere.settle()
            until(lambda: _opens(pair.one, devices[2]), seconds=SOON_S, what="room again after a client has gone")


def _opens(stack: Live, handheld: Handheld) -> bool:
    with listening(stack, handheld) as listener:
        return listener.hears("event: resync")


FREE = "SELECT id FROM grid WHERE id NOT IN (SELECT grid_id FROM membership) ORDER BY id LIMIT 1"


def listening_connections(pair: Pair) -> list[int]:
    query = (
        "SELECT array_agg(pid) FROM pg_stat_activity WHERE application_name = :name AND datname = current_database()"
    )
    return list(pair.scalar(query, name="zhiwang-streams"))


def test_who_gets_a_grid_is_told_and_one_connection_listens_for_all(pair: Pair) -> None:
    with world_of(pair.one) as world:
        one, other, third = (world.handheld(login) for login in world.workers()[:3])
        with (
            listening(pair.one, one) as listener,
            listening(pair.one, other) as beside,
            listening(pair.two, third) as elsewhere,
        ):
            for stream in (listener, beside, elsewhere):
                stream.settle()
            assert len(listening_connections(pair)) == len((pair.one, pair.two)), "one a process"
            pair.scalar(
                "INSERT INTO membership (id, account_id, grid_id, epoch, starts_at)"
                f" SELECT gen_random_uuid(), :account, ({FREE}), 1, now() RETURNING grid_id",
                account=one.tokens["account_id"],
            )
            assert listener.hears("event: resync")


def test_a_lost_listening_connection_comes_back_and_pokes_everybody(pair: Pair) -> None:
    with world_of(pair.one) as world, listening(pair.one, world.handheld()) as listener:
        listener.settle()
        for process in listening_connections(pair):
            os.kill(process, signal.SIGTERM)
        assert listener.hears("event: resync")


def test_a_stopping_server_does_not_wait_for_its_streams(pair: Pair) -> None:
    with world_of(pair.one) as world, listening(pair.one, world.handheld()) as listener:
        listener.settle()
        process = pair.one.processes["api"]
        process.terminate()
        process.wait(SOON_S)
        assert listener.ended.wait(SOON_S)
    pair.one.start_api()


def test_only_a_handheld_of_this_line_of_history_may_listen(world: World) -> None:
    assert world.client.get("/sync/v1/stream").status_code == 401
    assert world.client.get("/sync/v1/stream", headers=world.office("supervisor")).status_code == 403
    stale = {**world.handheld().headers, "X-Sync-Epoch": "another"}
    assert world.client.get("/sync/v1/stream", headers=stale).json()["code"] == "epoch"


# The signals by themselves.


async def hears_soon(stream: Stream) -> bool:
    """Whether the stream is poked within a few heartbeats."""
    for _ in range(FEW):
        if await stream.next() is Signal.RESYNC:
            return True
    return False


def test_a_push_pokes_who_holds_its_grid(world: World) -> None:
    """Listening, without a network between: the commit of a push is heard within a few heartbeats."""
    one, other = world.handheld(), world.handheld()
    claims = jwt.decode(other.tokens["access_token"], options={"verify_signature": False})

    async def listen() -> bool:
        streams = Streams(get_settings().database_url, limit=1, heartbeat_s=HEARTBEAT_S / 2)
        try:
            follows = Follower(UUID(claims["sid"]), UUID(other.tokens["device_id"]), now() + timedelta(minutes=5))
            stream = streams.open(follows)
            quiet = 0
            while quiet < QUIET or not stream.grids:
                quiet = quiet + 1 if await stream.next() is Signal.HEARTBEAT else 0
            await asyncio.to_thread(one.push, "person", document(one.grids()[0], name="合成"))
            return await hears_soon(stream)
        finally:
            await streams.shut()

    assert asyncio.run(listen()), "no word of the push"


def follower(seconds: float = 60.0) -> Follower:
    return Follower(new_id(), new_id(), now() + timedelta(seconds=seconds))


def test_a_stream_says_resync_first_then_heartbeats_and_ends_with_its_token() -> None:
    async def listen() -> list[Signal]:
        stream = Stream(follower(0.3), heartbeat_s=0.1)
        said: list[Signal] = []
        while (word := await stream.next()) is not Signal.END:
            said.append(word)
        return said

    said = asyncio.run(listen())
    assert said[0] is Signal.RESYNC
    assert set(said[1:]) == {Signal.HEARTBEAT}


def test_ten_thousand_pokes_are_one_flag() -> None:
    async def listen() -> list[Signal]:
        stream = Stream(follower(), heartbeat_s=0.05)
        for _ in range(10_000):
            stream.poke()
        said = [await stream.next(), await stream.next()]
        stream.end()
        return [*said, await stream.next()]

    assert asyncio.run(listen()) == [Signal.RESYNC, Signal.HEARTBEAT, Signal.END]


def test_a_full_process_takes_no_further_stream(database: str) -> None:
    async def fill() -> None:
        streams = Streams(get_settings().database_url, limit=1, heartbeat_s=1.0)
        try:
            first = streams.open(follower())
            with pytest.raises(StreamsFull):
                streams.open(follower())
            streams.close(first)
            streams.open(follower())
            assert len(streams) == 1
        finally:
            await streams.shut()

    asyncio.run(fill())
