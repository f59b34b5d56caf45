"""How often one caller may call, counted in this process alone: several API processes allow several times as much.

Who is logged in is counted by session, which is one account on one device; the signature of the token is enough for
that, so no query is spent on a call that is refused. Everybody else is counted by address: the socket's, or what a
trusted proxy says (uvicorn's `--forwarded-allow-ips`). So no caller can use up what belongs to another session, and
nobody who is logged in suffers from a flood at his address. Who logs in shares his address's count with those beside
him, which is why that one is generous; wrong passwords are counted more strictly by `backend.services.login_limits`.
"""

import math
import time
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from threading import Timer
from typing import Any, NamedTuple

import jwt
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.api.problems import render
from backend.core.errors import TooManyRequests
from backend.core.settings import Settings
from backend.services.tokens import UNREADABLE, token_key

REFRESH = "/auth/v1/refresh"
LOGINS = ("/auth/v1/login", "/auth/v1/enrol")
HOOK = "/channels/wechat"
OFTEN = ("/sync/", "/media/")
SWEEP_SECONDS = 10.0
SENSITIVE = frozenset({"exports", "imports", "rejects", "search", "unmask", "access-requests", "erasures"})
"""A path with one of these words gives or takes much at once, or shows what is otherwise masked."""


class Count(NamedTuple):
    """Under which rate a call is counted, and for whom."""

    rate: str
    whose: str


class RateLimits:
    """Refuses calls beyond the rates of the settings with 429 and `Retry-After`."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._rates = rates(settings)
        self._limiter = SlidingWindowCounterRateLimiter(_Counts())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            count = counted(scope)
            rate = self._rates[count.rate]
            if not self._limiter.hit(rate, *count):
                wait = self._limiter.get_window_stats(rate, *count).reset_time - time.time()
                await render(TooManyRequests(retry_after=max(1, math.ceil(wait))))(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Sweep:
    """Forgets counts that ran out, in the call that comes first once it is due."""

    def __init__(self, sweep: Callable[[], None]) -> None:
        self._sweep = sweep
        self._due = 0.0

    def is_alive(self) -> bool:
        return time.monotonic() < self._due

    def start(self) -> None:
        self._due = time.monotonic() + SWEEP_SECONDS
        self._sweep()


class _Counts(MemoryStorage):
    """The library's counts in memory, without its timer: that one is a new thread for nearly every call."""

    @property
    def timer(self) -> Any:
        """What the library starts before it counts, where it is no longer alive."""
        return self._timer

    @timer.setter
    def timer(self, timer: Timer) -> None:
        self._timer = _Sweep(timer.function)


def rates(settings: Settings) -> dict[str, RateLimitItem]:
    """The rates by name."""
    return {
        "login": parse(settings.rate_login),
        "refresh": parse(settings.rate_refresh),
        "anonymous": parse(settings.rate_anonymous),
        "hook": parse(settings.rate_sync),
        "health": parse(settings.rate_anonymous),
        "sync": parse(settings.rate_sync),
        "sensitive": parse(settings.rate_sensitive),
        "calls": parse(settings.rate_calls),
    }


def counted(scope: Scope) -> Count:
    """Where a call is counted. Logins always by address, whatever token comes with them."""
    path, address = scope["path"], address_of(scope)
    if path == REFRESH:
        return Count("refresh", address)
    if path.startswith(LOGINS) and path != "/auth/v1/enrolment-codes":
        return Count("login", address)
    if path.startswith("/health/"):
        return Count("health", address)
    session = _session_of(Headers(scope=scope).get("authorization", ""))
    if session is None:
        return Count("hook" if path == HOOK else "anonymous", address)
    if path.startswith(OFTEN):
        return Count("sync", session)
    return Count("sensitive" if SENSITIVE.intersection(path.split("/")) else "calls", session)


def address_of(scope: Scope) -> str:
    """The caller's address. An IPv6 caller owns a /64 at least, so the whole of it counts as one."""
    host = scope["client"][0] if scope.get("client") else ""
    try:
        address = ip_address(host)
    except ValueError:
        return str(host)
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))


def _session_of(header: str) -> str | None:
    """The session a genuine access token names; none where the token is not ours.

    Whether it still stands is decided later. One that ran out is counted apart, so that an old copy of it cannot use
    up what the living session has.
    """
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        return None
    try:
        sid, ends_at = _genuine(token.strip(), token_key())
    except (*UNREADABLE, KeyError):
        return None
    return f"over:{sid}" if ends_at <= time.time() else sid


@lru_cache(maxsize=4096)
def _genuine(token: str, key: bytes) -> tuple[str, float]:
    """Session and end of a token that we signed. A token comes hundreds of times, and is read again where it counts."""
    claims = jwt.decode(token, key, algorithms=["HS256"], options={"verify_aud": False, "verify_exp": False})
    return str(claims["sid"]), float(claims["exp"])
