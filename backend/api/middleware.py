"""Around every request: an id, one log line, a metric, an answer to any fault, and bounds on the body.

Plain ASGI, so streams stay streams.
"""

import asyncio
import re
import time
from collections.abc import MutableMapping
from typing import Any

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.api.problems import render
from backend.core.errors import TooLarge, ZhiwangError
from backend.core.ids import new_id
from backend.core.logging import get_logger, log_context

log = get_logger("backend.api")

REQUESTS = Counter("zhiwang_http_requests_total", "Answered requests", ["method", "route", "status"])
SECONDS = Histogram("zhiwang_http_request_seconds", "Time to the end of the answer", ["method", "route"])

_UUID = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""Nothing shorter: an identity card's number (18 digits) must not reach logs and audit entries this way."""


class RequestLog:
    """Gives each request an id (a UUID as `X-Request-Id` is kept), answers it back, logs and counts the request.

    The log carries the route's template and not the path, because paths hold ids of people's records.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        started, status = time.perf_counter(), 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        with log_context(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            finally:
                _note(scope, status, time.perf_counter() - started)


class BodyStalled(ZhiwangError):
    """Not for uploads, which keep what came: those have codes of their own."""

    code = "body_stalled"
    status = 408
    title_zh = "提交内容未在限定时间内送达，请检查网络后重新提交（本机数据不受影响）"
    title_en = "The body did not arrive in time; send it again"


class Faults:
    """Answers what no handler of the app took: a fault of ours. Its text stays out of answers and logs.

    The framework would answer outside of all middleware, so without the request's id, and hand the fault on to the
    server, which writes it to its log with all it quotes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            log.error("unexpected error", exc_info=error)
            await render(ZhiwangError())(scope, receive, send)


class BodyLimit:
    """Bounds bodies: over `limit` bytes 413, without a byte for `stall_s` or not whole after `whole_s` seconds 408.

    Paths under `streamed` bound size and stalls of their own streams; they are cut off after `streamed_s` seconds, as
    if the client had gone, so that what came is kept where the route keeps it.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limit: int,
        streamed: tuple[str, ...],
        stall_s: float,
        whole_s: float,
        streamed_s: float,
    ) -> None:
        self._app = app
        self._limit = limit
        self._streamed = streamed
        self._stall_s = stall_s
        self._whole_s = whole_s
        self._streamed_s = streamed_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"].startswith(self._streamed):
            body = _Body(receive, limit=None, stall_s=None, whole_s=self._streamed_s)
            await self._app(scope, body.receive, send)
        elif _declared_length(scope) > self._limit:
            await render(TooLarge(max_bytes=self._limit))(scope, receive, send)
        else:
            body = _Body(receive, limit=self._limit, stall_s=self._stall_s, whole_s=self._whole_s)
            await self._bounded(body, scope, send)

    async def _bounded(self, body: "_Body", scope: Scope, send: Send) -> None:
        started = False

        async def send_unless_refused(message: Message) -> None:
            nonlocal started
            if body.refusal is None or started:
                started = True
                await send(message)

        try:
            await self._app(scope, body.receive, send_unless_refused)
        except Exception:  # the app's complaint that its client has gone
            if body.refusal is None or started:
                raise
        if body.refusal is not None and not started:
            await render(body.refusal, headers={"Connection": "close"})(scope, body.receive, send)


class _Body:
    """A body on its way in. To the app a refused one looks like a client that has gone."""

    def __init__(self, receive: Receive, *, limit: int | None, stall_s: float | None, whole_s: float) -> None:
        self._receive = receive
        self._limit = limit
        self._stall_s = stall_s
        self._ends = time.monotonic() + whole_s
        self._seen = 0
        self._whole = False
        self.refusal: ZhiwangError | None = None

    async def receive(self) -> Message:
        if self.refusal is not None:
            return {"type": "http.disconnect"}
        if self._whole:
            return await self._receive()
        try:
            message = await self._next()
        except TimeoutError:
            self.refusal = BodyStalled()
            return {"type": "http.disconnect"}
        self._whole = not message.get("more_body", False)
        self._seen += len(message.get("body", b""))
        if self._limit is not None and self._seen > self._limit:
            self.refusal = TooLarge(max_bytes=self._limit)
            return {"type": "http.disconnect"}
        return message

    async def _next(self) -> Message:
        """The next message. Where the route bounds stalls itself, looking at the clock now and then is enough."""
        left = self._ends - time.monotonic()
        if self._stall_s is not None:
            async with asyncio.timeout(min(self._stall_s, max(0.0, left))):
                return await self._receive()
        if left <= 0:
            raise TimeoutError
        return await self._receive()


def _request_id(scope: Scope) -> str:
    given = _header(scope, b"x-request-id")
    return given if _UUID.fullmatch(given) else new_id().hex


def _declared_length(scope: Scope) -> int:
    text = _header(scope, b"content-length")
    return int(text) if text.isdecimal() else 0


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value).decode("latin-1")
    return ""


def _note(scope: MutableMapping[str, Any], status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "unknown")
    method = scope["method"] if scope["method"] in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"} else "OTHER"
    REQUESTS.labels(method, route, str(status)).inc()
    SECONDS.labels(method, route).observe(seconds)
    log.info("request", method=method, route=route, status=status, ms=round(seconds * 1000, 1))
