"""The API as it is, that dies at a named point when a call asks for it: only the histories start it.

`X-Fail-At` of a call names where in it the process kills itself, as the out-of-memory killer would: nothing is rolled
back, closed or answered by us.
"""

import os
import signal
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from sqlalchemy import event
from sqlmodel import Session

from backend.main import app as product
from sync import feed, store

POINTS = ("before_read", "before_write", "before_feed", "before_commit", "after_commit", "before_answer")
HEADER = b"x-fail-at"

_point: ContextVar[str] = ContextVar("fail_at", default="")


def _die_at(point: str) -> None:
    if _point.get() == point:
        os.kill(os.getpid(), signal.SIGKILL)


def _before(point: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def dying(*arguments: Any, **named: Any) -> Any:
        _die_at(point)
        return function(*arguments, **named)

    return dying


def _plant() -> None:
    for module, name, point in (
        (store, "read", "before_read"),
        (store, "write_versions", "before_write"),
        (feed, "touch", "before_feed"),
    ):
        setattr(module, name, _before(point, getattr(module, name)))
    event.listen(Session, "before_commit", lambda _: _die_at("before_commit"))
    event.listen(Session, "after_commit", lambda _: _die_at("after_commit"))


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The product behind the header."""
    if scope["type"] != "http":
        await product(scope, receive, send)
        return
    _point.set(dict(scope["headers"]).get(HEADER, b"").decode())

    async def sending(message: Any) -> None:
        _die_at("before_answer")
        await send(message)

    await product(scope, receive, sending)


_plant()
