"""Passwords: Argon2 tuned to about 50 ms, and never more than a few at once.

The library's default takes five times as long, which makes a flood of logins a denial of service; the semaphore
bounds what a flood can take from everybody else (runtime.md, "Dependencies and locks").
"""

import threading
from functools import lru_cache

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from backend.core.errors import TooManyRequests

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


def password_matches(password: str, stored: str | None) -> bool:
    """Whether the password is right. An unknown account costs the same time as a wrong password.

    `TooManyRequests` where the server is busy with other logins for longer than a person would wait.
    """
    if not _slots.acquire(timeout=LONGEST_WAIT_S):
        raise TooManyRequests(retry_after=5)
    try:
        right = _hasher().verify(password, stored or _decoy())
    finally:
        _slots.release()
    return right and stored is not None
