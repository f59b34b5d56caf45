"""Engines and sessions. One request or task is one transaction, committed at the edge.

Each process runs under a database role of its own, whatever login its address names: the API as `zw_api`, the
worker as `zw_worker`. Neither owns a table nor passes row-level security; only Alembic logs in as an owner.
"""

import select
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Literal

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import Session as BaseSession
from sqlalchemy.pool import ConnectionPoolEntry
from sqlmodel import Session

from backend.core import statements
from backend.core.settings import get_settings

Role = Literal["zw_api", "zw_worker"]
AfterCommit = Callable[[], None]

LONG_REST_SECONDS = 15.0

_RESTS_SINCE = "zhiwang_rests_since"
_AFTER_COMMIT = "zhiwang_after_commit"
_ACTING = "zhiwang_acting_as"


def dialect_url(address: str) -> str:
    """A `postgresql://` address with the psycopg 3 driver named."""
    return make_url(address).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def make_engine(address: str, *, role: Role) -> Engine:
    """An engine whose every connection runs as `role`, in UTC, with bounded waits.

    A statement may take 60 s and a lock 10 s: longer means a fault, and the caller is told to come again.
    """
    start = f"-c role={role} -c timezone=UTC -c statement_timeout=60s -c lock_timeout=10s"
    engine = create_engine(
        dialect_url(address),
        connect_args={"options": start, "application_name": f"zhiwang-{role}"},
        pool_size=10,
        max_overflow=10,
        pool_timeout=10,
    )
    event.listen(engine, "checkin", _note_rest)
    event.listen(engine, "checkout", _check_rested)
    return engine


def _note_rest(_: object, record: ConnectionPoolEntry) -> None:
    record.info[_RESTS_SINCE] = time.monotonic()


def _check_rested(driver: Any, record: ConnectionPoolEntry, _: object) -> None:
    """Hand out no connection that broke while it rested; the pool then makes another.

    A server that goes says so, and its farewell waits in the socket: looking there costs nothing. A question and its
    answer before each transaction would cost more than most transactions; it is asked after a longer rest only, in
    which a firewall may have forgotten the connection without a word.
    """
    rested = time.monotonic() - record.info.get(_RESTS_SINCE, time.monotonic())
    if driver.closed or rested > LONG_REST_SECONDS or _has_something_to_say(driver.fileno()):
        try:
            driver.execute("SELECT")
            driver.rollback()
        except psycopg.Error as error:
            raise DisconnectionError from error


def _has_something_to_say(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


@lru_cache(maxsize=2)
def engine_for(role: Role) -> Engine:
    """The engine of this process for one role, made on first use."""
    settings = get_settings()
    return make_engine(settings.database_url if role == "zw_api" else settings.worker_url(), role=role)


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """A session that commits when the block ends well and rolls back when it raises."""
    with Session(engine) as session:
        yield session
        session.commit()


def after_commit(session: BaseSession, action: AfterCommit) -> None:
    """Call `action` once if and when this session's transaction commits. It must not touch the session or raise."""
    session.info.setdefault(_AFTER_COMMIT, []).append(action)


def act_as(session: BaseSession, settings: Mapping[str, str]) -> None:
    """Tell the database's row policies for whom this session works, until the session ends.

    The settings (`zw.account` and so on, see migration 0007) hold for one transaction, so that a pooled connection
    never carries them to another caller; each further transaction of this session is told again. Without them the
    API's role sees no synced rows and no cases at all.
    """
    session.info[_ACTING] = {**session.info.get(_ACTING, {}), **settings}
    _tell(session.connection(), session.info[_ACTING])


def _tell(connection: Connection, settings: Mapping[str, str]) -> None:
    calls = ", ".join(f"set_config('zw.{name}', %({name})s, true)" for name in settings)
    statements.execute_on(connection, f"SELECT {calls}", settings)


@event.listens_for(BaseSession, "after_begin")
def _tell_again(session: BaseSession, _: object, connection: Connection) -> None:
    if settings := session.info.get(_ACTING):
        _tell(connection, settings)


@event.listens_for(BaseSession, "after_commit")
def _run_after_commit(session: BaseSession) -> None:
    """The event also comes when a savepoint is released, which commits nothing yet."""
    if session.in_nested_transaction():
        return
    for action in session.info.pop(_AFTER_COMMIT, []):
        action()


@event.listens_for(BaseSession, "after_rollback")
def _forget_after_commit(session: BaseSession) -> None:
    if session.in_nested_transaction():
        return
    session.info.pop(_AFTER_COMMIT, None)
