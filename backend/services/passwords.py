"""Passwords: Argon2 tuned to about 50 ms, never more than a few at once, and the policy by setting.

The library's default takes five times as long, which makes a flood of logins a denial of service; the turns bound
what a flood can take from everybody else.
"""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import lru_cache

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlmodel import Session, col, delete, select

from backend.core.clock import now
from backend.core.errors import TooManyRequests, ZhiwangError
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import Account, PastPassword
from backend.services.password_rules import Weakness, weakness

AT_ONCE = 2
LONGEST_WAIT_S = 5.0
CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""For what people type from a screen or a sheet: no characters that look alike."""

_slots = threading.BoundedSemaphore(AT_ONCE)


class PasswordTooShort(ZhiwangError):
    """`min_length` is what `PASSWORD_MIN_LENGTH` asks for."""

    code = "password_too_short"
    status = 422
    title_zh = "密码过短"
    title_en = "The password is too short"


class PasswordRefused(ZhiwangError):
    """The policy does not take this password; `because` is one of `password_rules.Weakness`."""

    code = "password_refused"
    status = 422
    title_zh = "密码过于简单、含有姓名或账号，或近期使用过，请另选一个"
    title_en = "The password is too easy to guess, holds a name, or was used before; choose another"


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
    """Wait for one of the few turns; at a login taken before the first query, so that who waits holds no connection.

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


def rehashed(password: str, stored: str) -> str | None:
    """The hash under today's parameters, None where it has them already. The password is known to be right."""
    hasher = _hasher().current_hasher
    return hasher.hash(password) if hasher.check_needs_rehash(stored) else None


def check_policy(password: str, *, names: tuple[str, ...]) -> None:
    """`PasswordTooShort` or `PasswordRefused` where the policy does not take this password of a person."""
    shortest = get_settings().password_min_length
    if len(password) < shortest:
        raise PasswordTooShort(min_length=shortest)
    if found := weakness(password, names=names):
        raise PasswordRefused(because=found.value)


def set_password(session: Session, account: Account, password: str) -> None:
    """Give an account the password its owner chose, to be called within a turn; the old one joins the history."""
    check_policy(password, names=(account.login, account.display_name))
    past = _newest_past(session, account)
    if any(password_matches(password, stored) for stored in [account.password_hash, *past] if stored):
        raise PasswordRefused(because=Weakness.USED_BEFORE.value)
    _keep_as_past(session, account)
    account.password_hash = hash_password(password)
    account.password_temporary, account.password_set_at = False, now()


def give_temporary(session: Session, account: Account) -> str:
    """A password made here, for the person to change at once; to be called within a turn."""
    _keep_as_past(session, account)
    password = "-".join("".join(secrets.choice(CODE_ALPHABET) for _ in range(5)) for _ in range(4))
    account.password_hash = hash_password(password)
    account.password_temporary, account.password_set_at = True, now()
    return password


def is_due(set_at: datetime | None) -> bool:
    """Whether a password is older than `PASSWORD_MAX_AGE_DAYS`; without that setting none ever is."""
    days = get_settings().password_max_age_days
    return days > 0 and set_at is not None and set_at + timedelta(days=days) <= now()


def is_stale(account: Account) -> bool:
    """Whether a temporary password was not changed in time: it opens nothing any more."""
    if not account.password_temporary or account.password_set_at is None:
        return False
    return account.password_set_at + timedelta(hours=get_settings().temporary_password_hours) <= now()


def _newest_past(session: Session, account: Account) -> list[str]:
    """The current password counts as one of the last `PASSWORD_HISTORY`."""
    newest = select(PastPassword.password_hash).where(PastPassword.account_id == account.id)
    kept = max(get_settings().password_history - 1, 0)
    return list(session.exec(newest.order_by(col(PastPassword.at).desc(), col(PastPassword.id).desc()).limit(kept)))


def _keep_as_past(session: Session, account: Account) -> None:
    """The password of today becomes a past one, if its owner chose it; those beyond the history are forgotten."""
    if account.password_hash is None or account.password_temporary:
        return
    session.add(PastPassword(id=new_id(), account_id=account.id, password_hash=account.password_hash, at=now()))
    session.flush()
    mine = select(PastPassword.id).where(PastPassword.account_id == account.id)
    older = mine.order_by(col(PastPassword.at).desc(), col(PastPassword.id).desc())
    older = older.offset(max(get_settings().password_history - 1, 0))
    session.exec(delete(PastPassword).where(col(PastPassword.id).in_(older)))
