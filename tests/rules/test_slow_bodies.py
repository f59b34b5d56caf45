"""Bodies that stall or drip end with 408; the clock stops once a body is whole."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from backend.api.middleware import BodyLimit, Faults

STREAMED = ("/streamed",)


async def _reads_all(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


async def _keeps_what_came(scope: Scope, receive: Receive, send: Send) -> None:
    kept = 0
    try:
        async for part in Request(scope, receive).stream():
            kept += len(part)
    except ClientDisconnect:
        await PlainTextResponse(f"cut off after {kept}", status_code=408)(scope, receive, send)


def _call(app: Any, path: str, pieces: Iterator[tuple[float, bytes]], **bounds: float) -> tuple[int, bytes]:
    """Send pieces, each after a pause in seconds; then nothing more, without an end."""
    sent: list[Message] = []

    async def receive() -> Message:
        for pause, piece in pieces:
            await asyncio.sleep(pause)
            return {"type": "http.request", "body": piece, "more_body": piece != b"."}
        await asyncio.sleep(60)
        raise AssertionError("waited for ever")

    async def send(message: Message) -> None:
        sent.append(message)

    limited = BodyLimit(app, limit=100, streamed=STREAMED, **{"stall_s": 9, "whole_s": 9, "streamed_s": 9, **bounds})
    scope: Scope = {"type": "http", "method": "POST", "path": path, "headers": []}
    asyncio.run(Faults(limited)(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


def _drip(pause: float) -> Iterator[tuple[float, bytes]]:
    while True:
        yield pause, b"x"


def test_a_body_that_stalls_is_refused() -> None:
    status, body = _call(_reads_all, "/whole", iter([(0, b"{")]), stall_s=0.05)
    assert status == 408
    assert b'"body_stalled"' in body


def test_a_body_that_drips_is_refused_in_the_end() -> None:
    status, body = _call(_reads_all, "/whole", _drip(0.01), whole_s=0.1)
    assert status == 408
    assert b'"body_stalled"' in body


def test_a_body_that_grows_beyond_the_limit_is_refused() -> None:
    status, body = _call(_reads_all, "/whole", _drip(0))
    assert status == 413
    assert b'"too_large"' in body


def test_the_clock_stops_once_the_body_is_whole() -> None:
    async def slow_work(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        await asyncio.sleep(0.2)
        await PlainTextResponse("done")(scope, receive, send)

    assert _call(slow_work, "/whole", iter([(0, b".")]), stall_s=0.05, whole_s=0.05) == (200, b"done")


def test_a_streamed_body_is_cut_off_as_if_the_client_had_gone() -> None:
    status, body = _call(_keeps_what_came, "/streamed/x", _drip(0.01), streamed_s=0.1, whole_s=0.01)
    assert status == 408
    assert body.startswith(b"cut off after ")
    assert body != b"cut off after 0"


@pytest.mark.parametrize("path", ["/whole", "/streamed/x"])
def test_an_honest_body_passes(path: str) -> None:
    assert _call(_reads_all, path, iter([(0.01, b"abc"), (0.01, b".")])) == (200, b"4")
