"""Failed logins are counted so that guessing is slow and nobody is ever locked out by somebody else.

Counted by address, and by address and login, never by login alone: a flood from elsewhere says nothing about the
owner. A flood from the owner's own address (an office behind one) is told from the owner by `known_client`, a string
every login gives and the next one may bring along: who has one for the account is counted by it and by nothing else.

The counts are rows of an UNLOGGED table, so all API processes share them, whichever answers; memory would multiply
every bound by the number of processes, and the broker may be lost at any time. A wrong password costs 50 ms of Argon2,
beside which one small insert is nothing, and each count holds no more rows than its bound: once full, attempts are
refused and not counted. Names and addresses are only there as keyed hashes. A right password is not counted.

Codes of the second factor are six digits, so they are also counted by account over all addresses: only who already
knows the password gets that far. The owner still gets in with a known client.
"""

import hmac
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from secrets import token_hex
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.errors import TooManyRequests
from backend.core.ids import new_id
from backend.services.tokens import mac, token_key

KEPT = timedelta(hours=1)
SWEPT_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Limit:
    """So many failures within so long."""

    name: str
    failures: int
    window: timedelta


MINUTE = timedelta(minutes=1)
PER_LOGIN = Limit("login", 30, MINUTE)
PER_ADDRESS = Limit("address", 300, MINUTE)
PER_CLIENT = Limit("client", 30, MINUTE)
PER_CODE = Limit("code", 10, timedelta(minutes=30))
PER_CHANGE = Limit("change", 10, timedelta(minutes=10))
"""A whole office may share one address, hence the second bound. `PER_CODE` leaves a guesser who knows the password
one chance in 33,000 each half hour; `PER_CHANGE` is for who holds another's access token."""

Counted = tuple[Limit, bytes]


def counted(limit: Limit, *names: str) -> Counted:
    """One count, by a keyed hash of what it is about."""
    told = "\x1f".join(("login_failure", limit.name, *names))
    return limit, hmac.digest(token_key(), told.encode(errors="replace"), "sha256")[:16]


def of_login(*, address: str, login: str, client: str | None) -> list[Counted]:
    """What a login is counted by; `client` is a known client of the account, None where there is none."""
    if client is not None:
        return [counted(PER_CLIENT, client)]
    return [counted(PER_LOGIN, address, login), counted(PER_ADDRESS, address)]


def of_code(*, account_id: UUID, client: str | None) -> list[Counted]:
    """What a code of the second factor is counted by besides."""
    return [counted(PER_CODE, client or account_id.hex)]


def check(session: Session, counts: Sequence[Counted]) -> None:
    """`TooManyRequests`, with the time to wait, where too many failed."""
    for limit, bucket in counts:
        moment = now()
        values = {"bucket": bucket, "since": moment - limit.window}
        failures, oldest = session.connection().execute(_COUNT, values).one()
        if failures >= limit.failures:
            raise TooManyRequests(retry_after=_wait(oldest + limit.window - moment))


def note(session: Session, counts: Sequence[Counted]) -> None:
    """Count a failure, committed here and now: the refusal that follows must not roll it back."""
    moment = now()
    rows = [{"id": new_id(), "bucket": bucket, "at": moment} for _, bucket in counts]
    session.connection().execute(_INSERT, rows)
    session.connection().execute(_SWEEP, {"before": moment - KEPT, "most": SWEPT_AT_ONCE})
    session.commit()


def known_client(account_id: UUID) -> str:
    """A string that says: this client has logged in to this account before. It opens nothing by itself."""
    body = f"{account_id.hex}.{token_hex(8)}"
    return f"{body}.{mac('known_client', body)}"


def knows(client: str, account_id: UUID) -> bool:
    """Whether we gave this string to a client of this account."""
    body, _, authenticator = client.rpartition(".")
    right = hmac.compare_digest(mac("known_client", body).encode(), authenticator.encode(errors="replace"))
    return right and body.startswith(f"{account_id.hex}.")


def _wait(left: timedelta) -> int:
    return max(1, math.ceil(left.total_seconds()))


_COUNT = text("SELECT count(*), min(at) FROM login_failure WHERE bucket = :bucket AND at > :since")
_INSERT = text("INSERT INTO login_failure (id, bucket, at) VALUES (:id, :bucket, :at)")
_SWEEP = text(
    """
    DELETE FROM login_failure WHERE id IN (
        SELECT id FROM login_failure WHERE at < :before LIMIT :most FOR UPDATE SKIP LOCKED)
    """
)
