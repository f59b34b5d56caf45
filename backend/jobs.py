"""Durable jobs: the row is written with the data it is about, and is all that counts.

A worker claims rows in batches under a lease and a fencing token, and counts an attempt when it starts one of them,
so that a job which kills its worker uses up its own attempts and nobody else's. A handler runs in one transaction
together with `finish`, so its effects and the end of the job commit or vanish together. Jobs take ids, read again and
can run twice; what makes a second run harmless is a unique constraint on each effect, never the message that woke it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.db import after_commit
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.core.statements import execute

Handler = Callable[..., None]
BatchHandler = Callable[[Session, Sequence[Mapping[str, Any]]], Mapping[int, str]]
MixedHandler = Callable[[Session, "Sequence[Claimed]"], Mapping[int, str]]
Waker = Callable[[frozenset[str]], None]

FIRST_BACKOFF = timedelta(seconds=2)
LONGEST_BACKOFF = timedelta(minutes=10)


class Discard(Exception):
    """Raised by a handler for a job that can never succeed: dead-lettered at once, with this reason code."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A leased job: what to do, and the fence that proves the lease. `started`: its attempt was counted with the
    lease."""

    id: UUID
    name: str
    payload: dict[str, Any]
    attempts: int
    max_attempts: int
    fence: int
    request_id: str | None
    started: bool = False


_handlers: dict[str, Handler] = {}
_batch_handlers: dict[str, BatchHandler] = {}
_mixed_handlers: dict[str, MixedHandler] = {}
_waker: Waker | None = None


def handler(name: str) -> Callable[[Handler], Handler]:
    """Register a function as the handler of jobs called `name`. It is called as `function(session, **payload)`."""

    def register(function: Handler) -> Handler:
        if name in _handlers:
            raise ValueError(f"two handlers for {name}")
        _handlers[name] = function
        return function

    return register


def batch_handler(name: str) -> Callable[[BatchHandler], BatchHandler]:
    """Register what takes many jobs called `name` in one transaction, beside the handler of one.

    It is called with their payloads, and gives the reason of each that can never succeed, by position. Only first
    attempts are made together; where one fails, all of them are made one by one by the handler.
    """

    def register(function: BatchHandler) -> BatchHandler:
        if name in _batch_handlers:
            raise ValueError(f"two batch handlers for {name}")
        _batch_handlers[name] = function
        return function

    return register


def mixed_handler(name: str) -> Callable[[MixedHandler], MixedHandler]:
    """Register what takes many jobs called `name` in one transaction, whichever requests they come from.

    As a batch handler else. It is given the jobs themselves, and sees to it that what it writes to the trail, and the
    jobs it asks for, carry the request of the job that they come from.
    """

    def register(function: MixedHandler) -> MixedHandler:
        if name in _mixed_handlers:
            raise ValueError(f"two mixed handlers for {name}")
        _mixed_handlers[name] = function
        return function

    return register


def mixed_handler_of(name: str) -> MixedHandler | None:
    """The function registered for many jobs of a name from many requests, None where there is none."""
    return _mixed_handlers.get(name)


def batch_handler_of(name: str) -> BatchHandler | None:
    """The function registered for many jobs of a name, None where they are made one by one."""
    return _batch_handlers.get(name)


def handler_of(name: str) -> Handler:
    """The function registered for `name`; `KeyError` where no room of this process has one."""
    return _handlers[name]


def handler_names() -> list[str]:
    """All registered names, sorted."""
    return sorted(_handlers)


def set_waker(waker: Waker | None) -> None:
    """What tells workers, after a commit, that jobs of these names wait. It must return at once and never raise."""
    global _waker  # noqa: PLW0603  one waker a process, set by its composition root
    _waker = waker


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be written. `key` is unique per name: asking for the same thing twice does it once.

    `request_id` is that of the context where nothing is said.
    """

    name: str
    key: str
    payload: dict[str, Any]
    priority: int = 100
    delay: timedelta = timedelta(0)
    request_id: str | None = None


def enqueue(session: Session, name: str, *, key: str, priority: int = 100, **payload: Any) -> None:
    """Write one job in the caller's transaction. Payload values are ids, numbers and codes (JSON), never data."""
    enqueue_many(session, [NewJob(name, key, payload, priority)])


def enqueue_many(session: Session, jobs: Sequence[NewJob]) -> None:
    """Write jobs with one statement and wake the workers after the commit."""
    if not jobs:
        return
    moment, attempts = now(), get_settings().job_max_attempts
    request_id = structlog.contextvars.get_contextvars().get("request_id") or None
    execute(
        session,
        _INSERT,
        {
            "ids": [new_id() for _ in jobs],
            "names": [job.name for job in jobs],
            "keys": [job.key for job in jobs],
            "payloads": [msgspec.json.encode(job.payload).decode() for job in jobs],
            "priorities": [job.priority for job in jobs],
            "starts": [moment + job.delay for job in jobs],
            "max_attempts": attempts,
            "requests": [job.request_id or request_id for job in jobs],
            "now": moment,
        },
    )
    names = frozenset(job.name for job in jobs)
    after_commit(session, lambda: wake(names))


def wake(names: frozenset[str]) -> None:
    """Tell the workers; a wake-up that is lost is replaced by the sweeper."""
    if _waker is not None and names:
        _waker(names)


def claim(session: Session, name: str, *, limit: int, starting: bool = False) -> list[Claimed]:
    """Lease up to `limit` waiting jobs, also those whose lease ran out. No attempt is counted before `start`, but with
    `starting` the first ones are: for who makes these together at once, and spares a statement.

    A job that used up its attempts without ever reporting back (it kills its worker) is dead-lettered here. Among
    jobs of one priority those with fewer attempts come first, so that such a job runs after its batch-mates.
    """
    moment = now()
    if buried := session.connection().execute(_BURY, {"name": name, "now": moment}).rowcount:
        session.connection().execute(_TALLY, {"name": name, "number": buried})
    given = {"name": name, "now": moment, "limit": limit, "lease": _lease(moment), "starting": starting}
    return [Claimed(*row) for row in session.connection().execute(_CLAIM, given)]


def start(session: Session, job: Claimed) -> Claimed | None:
    """Count an attempt and lengthen the lease, in a transaction of its own that outlives the worker.

    None: the lease went to another worker, so the job is not to be run here.
    """
    row = session.connection().execute(_START, {"id": job.id, "fence": job.fence, "lease": _lease(now())}).first()
    return replace(job, attempts=row.attempts) if row else None


def start_many(session: Session, batch: Sequence[Claimed]) -> list[Claimed]:
    """`start` for many with one statement; those whose lease went to another worker are left out."""
    given = {**_named(batch), "lease": _lease(now())}
    attempts = {row.id: row.attempts for row in session.connection().execute(_START_MANY, given)}
    return [replace(job, attempts=attempts[job.id]) for job in batch if job.id in attempts]


def finish_many(session: Session, batch: Sequence[Claimed]) -> bool:
    """`finish` for many with one statement. False where any lease went to another worker, so roll back."""
    done = session.connection().execute(_FINISH_MANY, {**_named(batch), "now": now()})
    return done.rowcount == len(batch)


def _named(batch: Sequence[Claimed]) -> dict[str, Any]:
    return {"ids": [job.id for job in batch], "fences": [job.fence for job in batch]}


def release(session: Session, held: Sequence[Claimed]) -> None:
    """Put leased jobs that were not run back, to be claimed at once by whoever comes."""
    given = [{"id": job.id, "fence": job.fence, "counted": int(job.started)} for job in held]
    if given:
        session.connection().execute(_RELEASE, given)


def renew(session: Session, held: Sequence[Claimed]) -> None:
    """Lengthen the leases of jobs that are being worked on. Those that went to another worker stay there."""
    if not held:
        return
    lease = _lease(now())
    session.connection().execute(_RENEW, [{"id": job.id, "fence": job.fence, "lease": lease} for job in held])


def _lease(moment: datetime) -> datetime:
    return moment + timedelta(seconds=get_settings().job_lease_seconds)


def finish(session: Session, job: Claimed) -> bool:
    """Mark done in the handler's own transaction. False: the lease went to another worker, so roll back."""
    done = session.connection().execute(_FINISH, {"id": job.id, "fence": job.fence, "now": now()})
    return bool(done.rowcount)


def fail(session: Session, job: Claimed, *, reason: str, final: bool = False) -> None:
    """Put the job back with a growing delay, or dead-letter it after its last attempt. `reason` is a code."""
    dead = final or job.attempts >= job.max_attempts
    delay = min(FIRST_BACKOFF * 2 ** (job.attempts - 1), LONGEST_BACKOFF)
    failed = session.connection().execute(
        _FAIL,
        {
            "id": job.id,
            "fence": job.fence,
            "state": "dead" if dead else "ready",
            "not_before": now() + delay,
            "reason": reason[:500],
            "finished": now() if dead else None,
        },
    )
    if failed.rowcount:
        session.connection().execute(_TALLY, {"name": job.name, "number": 1})


def revive(session: Session, name: str, *, since: datetime | None = None) -> int:
    """Put dead-lettered jobs of a name back with all their attempts; gives how many. The sweeper wakes a worker."""
    revived = session.connection().execute(_REVIVE, {"name": name, "now": now(), "since": since})
    return revived.rowcount


def prune(session: Session, *, before: datetime, limit: int) -> int:
    """Remove up to `limit` jobs done or cancelled before a moment, and time slots as old; gives how many jobs."""
    session.connection().execute(_PRUNE_SLOTS, {"before": before})
    return session.connection().execute(_PRUNE, {"before": before, "limit": limit}).rowcount


def waiting_names(session: Session) -> list[str]:
    """Names that have jobs to be run now: waiting ones and those whose lease ran out."""
    rows = session.connection().execute(_WAITING, {"now": now()})
    return [row.name for row in rows]


def take_slot(session: Session, name: str, slot: Any) -> bool:
    """Take a time slot of a scheduled job. False where another beat took it already."""
    taken = session.connection().execute(_SLOT, {"name": name, "slot": slot})
    return bool(taken.rowcount)


_INSERT = """
    INSERT INTO job (id, name, key, payload, state, priority, not_before, attempts, max_attempts, fence,
                     request_id, created_at)
    SELECT id, name, key, CAST(payload AS json), 'ready', priority, not_before, 0, %(max_attempts)s::integer, 0,
           request_id, %(now)s
    FROM unnest(%(ids)b::uuid[], %(names)b::text[], %(keys)b::text[], %(payloads)b::text[], %(priorities)b::integer[],
                %(starts)b::timestamptz[], %(requests)b::text[])
         AS row (id, name, key, payload, priority, not_before, request_id)
    ON CONFLICT (name, key) DO NOTHING
"""
_WAITING_CONDITION = """
    (state = 'ready' AND not_before <= :now OR state = 'running' AND lease_until < :now)
"""
_BURY = text(
    """
    UPDATE job SET state = 'dead', reason = 'worker_lost', finished_at = :now, lease_until = NULL
    WHERE name = :name AND state = 'running' AND lease_until < :now AND attempts >= max_attempts
    """
)
_CLAIM = text(
    f"""
    WITH waiting AS (
        SELECT id, attempts = 0 AND :starting AS started FROM job WHERE name = :name AND {_WAITING_CONDITION}
        ORDER BY priority, attempts, not_before LIMIT :limit FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE job SET state = 'running', fence = fence + 1, lease_until = :lease,
                       attempts = attempts + CAST(waiting.started AS integer)
        FROM waiting WHERE job.id = waiting.id
        RETURNING job.*, waiting.started
    )
    SELECT id, name, payload, attempts, max_attempts, fence, request_id, started
    FROM claimed ORDER BY priority, attempts, not_before
    """
)
_TALLY = text(
    """
    INSERT INTO job_tally (name, failures) VALUES (:name, :number)
    ON CONFLICT (name) DO UPDATE SET failures = job_tally.failures + excluded.failures
    """
)
_START = text(
    """
    UPDATE job SET attempts = attempts + 1, lease_until = :lease
    WHERE id = :id AND fence = :fence AND state = 'running'
    RETURNING attempts
    """
)
_MINE = """
    FROM unnest(CAST(:ids AS uuid[]), CAST(:fences AS bigint[])) AS mine (id, fence)
    WHERE job.id = mine.id AND job.fence = mine.fence AND job.state = 'running'
"""
_START_MANY = text(
    f"UPDATE job SET attempts = attempts + 1, lease_until = :lease {_MINE} RETURNING job.id, job.attempts"
)
_FINISH_MANY = text(f"UPDATE job SET state = 'done', finished_at = :now, lease_until = NULL {_MINE}")
_RELEASE = text(
    """
    UPDATE job SET state = 'ready', lease_until = NULL, attempts = attempts - :counted
    WHERE id = :id AND fence = :fence AND state = 'running'
    """
)
_RENEW = text("UPDATE job SET lease_until = :lease WHERE id = :id AND fence = :fence AND state = 'running'")
_FINISH = text(
    """
    UPDATE job SET state = 'done', finished_at = :now, lease_until = NULL
    WHERE id = :id AND fence = :fence AND state = 'running'
    """
)
_FAIL = text(
    """
    UPDATE job SET state = :state, not_before = :not_before, reason = :reason, finished_at = :finished,
                   lease_until = NULL
    WHERE id = :id AND fence = :fence AND state = 'running'
    """
)
_REVIVE = text(
    """
    UPDATE job SET state = 'ready', attempts = 0, not_before = :now, finished_at = NULL, reason = NULL
    WHERE name = :name AND state = 'dead' AND (CAST(:since AS timestamptz) IS NULL OR finished_at >= :since)
    """
)
_PRUNE = text(
    """
    DELETE FROM job
    WHERE id IN (SELECT id FROM job WHERE state IN ('done', 'cancelled') AND finished_at < :before
                 LIMIT :limit FOR UPDATE SKIP LOCKED)
    """
)
_PRUNE_SLOTS = text("DELETE FROM beat_slot WHERE slot < :before")
_WAITING = text(f"SELECT DISTINCT name FROM job WHERE {_WAITING_CONDITION}")
_SLOT = text("INSERT INTO beat_slot (name, slot) VALUES (:name, :slot) ON CONFLICT DO NOTHING")
