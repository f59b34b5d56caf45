"""Passwords: Argon2 tuned to about 50 ms, never more than a few at once, and few wrong ones from one address.

The library's default takes five times as long, which makes a flood of logins a denial of service; the turns bound
what a flood can take from everybody else.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from backend.core.errors import TooManyRequests

FAILED_PER_LOGIN = 30
FAILED_PER_ADDRESS = 300
"""In a minute. A whole office may share one address."""

AT_ONCE = 2
LONGEST_WAIT_S = 5.0

_slots = threading.BoundedSemaphore(AT_ONCE)


@lru_cache(maxsize=1)
def _hasher() -> PasswordHash:
    return PasswordHash((Argon2Hasher(time_cost=2, memory_cost=19_456, parallelism=1),))


@lru_cache(maxsize=1)
def _decoy() -> str:
    return _hasher().hash("no account has this password")


def hash_password(password: str) -> str:
    """The stored form of a password."""
    return _hasher().hash(password)


@contextmanager
def password_turn() -> Iterator[None]:
    """Wait for one of the few turns; taken before the first query, so that who waits holds no connection.

    `TooManyRequests` where the server is busy with other logins for longer than a person would wait.
    """
    if not _slots.acquire(timeout=LONGEST_WAIT_S):
        raise TooManyRequests(retry_after=5)
    try:
        yield
    finally:
        _slots.release()


def password_matches(password: str, stored: str | None) -> bool:
    """Whether the password is right, to be asked within a turn.

    An account without a password, or none at all, costs the same time as a wrong password.
    """
    right = _hasher().verify(password, stored or _decoy())
    return right and stored is not None


class FailedLogins:
    """Wrong passwords of the last minute, counted in this process by address, and by address and login.

    Never by login alone: that would let anybody lock another person out. Right passwords are not counted.
    """

    def __init__(self, *, per_login: int, per_address: int) -> None:
        self._per_login = RateLimitItemPerMinute(per_login)
        self._per_address = RateLimitItemPerMinute(per_address)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def check(self, address: str, login: str) -> None:
        """`TooManyRequests`, with the time to wait, where too many failed."""
        for limit, *names in self._counted(address, login):
            if not self._limiter.test(limit, *names):
                reset = self._limiter.get_window_stats(limit, *names).reset_time
                raise TooManyRequests(retry_after=max(1, math.ceil(reset - time.time())))

    def note(self, address: str, login: str) -> None:
        """Count a wrong password."""
        for limit, *names in self._counted(address, login):
            self._limiter.hit(limit, *names)

    def _counted(self, address: str, login: str) -> tuple[tuple[RateLimitItem, str, str], tuple[RateLimitItem, str]]:
        return (self._per_login, address, login), (self._per_address, address)


failed_logins = FailedLogins(per_login=FAILED_PER_LOGIN, per_address=FAILED_PER_ADDRESS)
