"""Server-sent events: one open stream as an answer that lasts (docs/sync-protocol.md, "Stream").

It ends when the token ends, when the session or device is revoked, when the client goes, and when the server stops. A
client that does not read is sent a few bytes in a quarter of a minute and waited for: nothing is queued for it.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from backend.api.problems import render
from backend.core.errors import ZhiwangError
from sync.streams import Follower, Signal, Stream, Streams

LASTING = "zhiwang.lasting"
"""Marks the scope of a call whose answer has no end of its own: a server that stops does not wait for it."""

RETRY_MS = 5000
"""After which a client opens a stream that ended again."""

WORDS = {Signal.RESYNC: b"event: resync\ndata: {}\n\n", Signal.HEARTBEAT: b": heartbeat\n\n"}


EVENT: dict[str, Any] = {
    "type": "object",
    "properties": {"event": {"const": "resync"}, "data": {"const": "{}"}, "retry": {"type": "integer"}},
}
"""One event, as the API's description shows it."""


class EventStream(Response):
    """The stream of one follower. `StreamsFull` is answered in the ordinary way."""

    media_type = "text/event-stream"

    def __init__(self, streams: Streams, follower: Follower, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(headers={**(headers or {}), "Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["Content-Length"]
        self._streams = streams
        self._follower = follower

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            stream = self._streams.open(self._follower)
        except ZhiwangError as refusal:
            await render(refusal)(scope, receive, send)
            return
        scope[LASTING] = True
        gone = asyncio.create_task(_end_when_gone(stream, receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await _tell(stream, send)
        finally:
            self._streams.close(stream)
            gone.cancel()


async def _tell(stream: Stream, send: Send) -> None:
    await send({"type": "http.response.body", "body": b"retry: %d\n\n" % RETRY_MS, "more_body": True})
    while (signal := await stream.next()) is not Signal.END:
        await send({"type": "http.response.body", "body": WORDS[signal], "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _end_when_gone(stream: Stream, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.end()
