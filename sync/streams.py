"""Who is to be told that there is something to pull: the open streams of one process (rule 14).

One connection listens for the whole process, however many streams are open; PostgreSQL tells it of each grid that was
touched, after the commit. A stream holds one flag and no queue, so a client that does not read costs no memory, and a
hundred touches in a row are one "resync". Streams never carry documents: those would move the client's checkpoint.

Every heartbeat one query for all streams looks at who may still be told, which grids he holds now and how far their
feeds have come; the end of a session is told at once. So a word that was lost, with the process that had to say it or
with the connection, comes a heartbeat late.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.core.errors import Unavailable
from backend.core.logging import get_logger
from backend.services.feed import CHANNEL
from backend.services.sessions import ENDED_CHANNEL
from sync.standing import standing

log = get_logger(__name__)

LEAST_GAP_S = 1.0
"""Between two "resync" to one client: each makes it pull."""
RETRY_S = 1.0
"""Before the listening connection is opened again."""
BUSY_S = 5
"""After which a client turned away comes again."""


class StreamsFull(Unavailable):
    """This process has as many open streams as it may have. The client pulls at intervals meanwhile."""

    code = "streams_full"
    title_zh = "实时提醒连接数已满，稍后自动重试（不影响同步）"
    title_en = "No room for another stream; pull at intervals and try again later"


class Signal(Enum):
    """What a stream says next."""

    RESYNC = "resync"
    HEARTBEAT = "heartbeat"
    END = "end"


@dataclass(frozen=True, slots=True)
class Follower:
    """For whom a stream is open, and until when it may be at the latest."""

    session_id: UUID
    device_id: UUID
    ends_at: datetime


@dataclass(eq=False, slots=True)
class Stream:
    """One open stream. `grids` are those its worker holds and how far the feed of each had come, as last seen."""

    follower: Follower
    heartbeat_s: float
    grids: Mapping[str, int] = field(default_factory=dict)
    ended: bool = False
    _due: bool = True
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _last: float = -math.inf

    def poke(self) -> None:
        """Have it say "resync", once, however often it is poked before it can."""
        self._due = True
        self._woken.set()

    def end(self) -> None:
        """Have it end."""
        self.ended = True
        self._woken.set()

    async def next(self) -> Signal:
        """Wait for what to say: "resync" where it was poked, a heartbeat where nothing happens, or that it ends."""
        clock = asyncio.get_running_loop().time
        heartbeat_at = clock() + self.heartbeat_s
        while True:
            left = (self.follower.ends_at - now()).total_seconds()
            if self.ended or left <= 0:
                return Signal.END
            wait = (self._last + LEAST_GAP_S if self._due else heartbeat_at) - clock()
            if wait <= 0:
                return self._resync(clock()) if self._due else Signal.HEARTBEAT
            self._woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait, left)):
                    await self._woken.wait()

    def _resync(self, at: float) -> Signal:
        self._due, self._last = False, at
        return Signal.RESYNC


class Streams:
    """The open streams of this process. All methods belong to the event loop's thread."""

    def __init__(self, address: str, *, limit: int, heartbeat_s: float) -> None:
        """Nothing is opened before the first stream."""
        self._conninfo = make_url(address).set(drivername="postgresql").render_as_string(hide_password=False)
        self._limit = limit
        self._heartbeat_s = heartbeat_s
        self._open: dict[UUID, Stream] = {}
        self._review = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def open(self, follower: Follower) -> Stream:
        """A new stream, whose first word is "resync". An older one of the same device ends: the device has only lost
        sight of it. `StreamsFull` where this process has no room."""
        before = self._open.pop(follower.device_id, None)
        if before is not None:
            before.end()
        if len(self._open) >= self._limit:
            raise StreamsFull(retry_after=BUSY_S)
        stream = Stream(follower, self._heartbeat_s)
        self._open[follower.device_id] = stream
        self._review.set()
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._keep_reviewing())]
        return stream

    def close(self, stream: Stream) -> None:
        """Forget a stream that its client or we have left."""
        stream.end()
        if self._open.get(stream.follower.device_id) is stream:
            del self._open[stream.follower.device_id]

    async def shut(self) -> None:
        """End all streams and stop listening."""
        for stream in list(self._open.values()):
            stream.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def __len__(self) -> int:
        return len(self._open)

    async def _listen(self) -> None:
        """Pass on what PostgreSQL tells, over one connection that is opened again whenever it is lost."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True, **WIRE) as connection:
                    for channel in (CHANNEL, ENDED_CHANNEL):
                        await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                    self._poke(lambda _: True)
                    async for told in connection.notifies():
                        self._take(told)
            except psycopg.Error as error:
                log.warning("streams: the listening connection is lost", error=type(error).__name__)
            await asyncio.sleep(RETRY_S)

    def _take(self, told: psycopg.Notify) -> None:
        if told.channel == ENDED_CHANNEL:
            self._review.set()
        else:
            self._poke(lambda stream: told.payload in stream.grids)

    def _poke(self, concerns: Callable[[Stream], bool]) -> None:
        for stream in self._open.values():
            if concerns(stream):
                stream.poke()

    async def _keep_reviewing(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_s):
                    await self._review.wait()
            self._review.clear()
            await self._look_who_stands()

    async def _look_who_stands(self) -> None:
        """End the streams of sessions that stand no more; who holds other grids, or whose grids changed, pulls once."""
        asked = list(self._open.values())
        if not asked:
            return
        try:
            held = await asyncio.to_thread(_standing, [stream.follower.session_id for stream in asked])
        except Exception as error:  # noqa: BLE001  a database that is away for a moment ends no stream
            log.warning("streams: who stands is not known", error=type(error).__name__)
            return
        for stream in asked:
            grids = held.get(stream.follower.session_id)
            if grids is None:
                stream.end()
            elif grids != stream.grids:
                stream.grids = grids
                stream.poke()


def _standing(session_ids: list[UUID]) -> dict[UUID, Mapping[str, int]]:
    with transaction(engine_for("zw_api")) as session:
        return standing(session, session_ids)


WIRE: dict[str, Any] = {
    "application_name": "zhiwang-streams",
    "options": "-c role=zw_api",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""A database host that vanished is noticed within a minute or two."""
