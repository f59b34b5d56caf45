"""Around every request: an id, one log line, a metric, and a bound on the body. Plain ASGI, so streams stay streams."""

import re
import time
from collections.abc import MutableMapping
from typing import Any

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.api.problems import render
from backend.core.errors import TooLarge
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


class BodyLimit:
    """Refuses bodies over `limit` bytes with 413 while they arrive. Paths under `exempt` bound their own streams."""

    def __init__(self, app: ASGIApp, *, limit: int, exempt: tuple[str, ...]) -> None:
        self._app = app
        self._limit = limit
        self._exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(self._exempt):
            await self._app(scope, receive, send)
            return
        refusal = render(TooLarge(max_bytes=self._limit))
        if _declared_length(scope) > self._limit:
            await refusal(scope, receive, send)
            return
        seen, over, started = 0, False, False

        async def counted() -> Message:
            nonlocal seen, over
            message = await receive()
            seen += len(message.get("body", b""))
            over = over or seen > self._limit
            return {"type": "http.disconnect"} if over else message

        async def send_unless_over(message: Message) -> None:
            nonlocal started
            if not over or started:
                started = True
                await send(message)

        try:
            await self._app(scope, counted, send_unless_over)
        finally:
            if over and not started:
                await refusal(scope, receive, send)


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
