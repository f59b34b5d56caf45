"""The Celery app and its few tasks: wake-ups that make a worker look into the queue of record.

A message carries a job name and nothing else. Losing one, or getting it twice, changes nothing: the sweeper sends
another, and `jobs.claim` hands each row to one worker.
"""

import gc
import math
import queue
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Self

from celery import Celery
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from backend import jobs, wakeups
from backend.core.clock import CITY_TIME, now
from backend.core.db import engine_for, transaction
from backend.core.errors import ZhiwangError
from backend.core.logging import get_logger, log_context
from backend.core.settings import get_settings

BATCH = 20
TOGETHER = 100
MIXED = 250
"""Jobs that are claimed at once: one by one, where a handler takes many of one request, and many of any."""
COLLECT_EVERY = 100_000
"""Objects that are allocated and not released before the collector looks at the young ones."""
LONGEST_TURN_S = 60.0
PRUNE_EVERY_S = 3600
PRUNED_AT_ONCE = 50_000
WAKE_GAP_S = 0.5
DONE_JOBS_KEPT = timedelta(days=7)
SWEPT_EXPIRE_S, WOKEN_EXPIRE_S = 60, 60
DAILY_EVERY_S = 3600
DAILY_JOB = "life.daily"
REAP_JOB = "media.reap"
GATHER_EVERY_S = 60
GATHER_JOB = "registry.gather"

log = get_logger(__name__)


def make_celery() -> Celery:
    """The app with the settings that held under faults (runtime.md, "Celery 5.7 on Redis protocol")."""
    settings = get_settings()
    app = Celery("zhiwang", broker=settings.broker_url or "memory://")
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_time_limit=540,
        worker_hijack_root_logger=False,
        worker_concurrency=settings.worker_concurrency,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": 600,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_connect_timeout": 2,
            "socket_timeout": 5,
        },
        task_publish_retry=False,
        beat_schedule={
            "sweep": {
                "task": "zhiwang.sweep",
                "schedule": settings.sweep_seconds,
                "options": {"expires": SWEPT_EXPIRE_S},
            },
            "prune": {"task": "zhiwang.prune", "schedule": PRUNE_EVERY_S, "options": {"expires": PRUNE_EVERY_S}},
            "gather": {"task": "zhiwang.gather", "schedule": GATHER_EVERY_S, "options": {"expires": GATHER_EVERY_S}},
            "daily": {"task": "zhiwang.daily", "schedule": DAILY_EVERY_S, "options": {"expires": DAILY_EVERY_S}},
        },
        beat_max_loop_interval=5,
        timezone="Asia/Shanghai",
    )
    return app


celery = make_celery()


@celery.task(name="zhiwang.run")  # type: ignore[untyped-decorator]
def run(name: str) -> None:
    """Work through one batch of the waiting jobs of one name.

    Where it was a full one more may wait, and a fresh message takes its turn behind those of other names: a name that
    jobs are written for all the time must not keep the worker from the others. What is written later sends a message of
    its own. Jobs that were not begun when the turn has become long are given back before the task's time limit could
    end one in the middle.
    """
    wakeups.begun(name)
    end = time.monotonic() + LONGEST_TURN_S
    if run_batch(name, end=end) >= _at_once(name) or time.monotonic() > end:
        announce(name)


def announce(name: str) -> None:
    """Send a wake-up for a name, unless one is on its way. Raises where the broker is away."""
    if wakeups.take(name):
        run.apply_async((name,), expires=WOKEN_EXPIRE_S, retry=False)


@celery.task(name="zhiwang.sweep")  # type: ignore[untyped-decorator]
def sweep() -> None:
    """Send a wake-up for every name that has work: what a lost message would have done."""
    with Session(engine_for("zw_worker")) as session:
        names = jobs.waiting_names(session)
    for name in names:
        announce(name)


@celery.task(name="zhiwang.prune")  # type: ignore[untyped-decorator]
def prune() -> None:
    """Remove jobs that were done long ago. Dead ones stay until a person has seen to them."""
    if once_per_slot("prune", PRUNE_EVERY_S):
        with transaction(engine_for("zw_worker")) as session:
            pruned = jobs.prune(session, before=now() - DONE_JOBS_KEPT, limit=PRUNED_AT_ONCE)
        log.info("done jobs pruned", jobs=pruned)


@celery.task(name="zhiwang.daily")  # type: ignore[untyped-decorator]
def daily() -> None:
    """Ask for the work of the day, in the city's time. Asked every hour, it is done once, also after a lost night.

    What is done every hour is asked for with it.
    """
    day = now().astimezone(CITY_TIME).date().isoformat()
    with transaction(engine_for("zw_worker")) as session:
        jobs.enqueue(session, DAILY_JOB, key=day, day=day)
        jobs.enqueue(session, REAP_JOB, key=slot_of(now(), DAILY_EVERY_S).isoformat())


@celery.task(name="zhiwang.gather")  # type: ignore[untyped-decorator]
def gather() -> None:
    """Ask for what departments left in the folder, and for the pulls that are due, where the settings name such."""
    settings = get_settings()
    if settings.import_folder or settings.import_sources.get_secret_value():
        with transaction(engine_for("zw_worker")) as session:
            jobs.enqueue(session, GATHER_JOB, key=slot_of(now(), GATHER_EVERY_S).isoformat())


def run_batch(name: str, *, end: float = math.inf) -> int:
    """Claim one batch, run each job in a transaction of its own, and say how many were claimed.

    Jobs that were not started by `end` (of the monotonic clock) are given back for others.
    """
    engine = engine_for("zw_worker")
    with transaction(engine) as session:
        batch = jobs.claim(session, name, limit=_at_once(name), starting=jobs.mixed_handler_of(name) is not None)
    with LeaseKeeper(batch) as keeper:
        left = run_together(name, batch) if time.monotonic() <= end else batch
        for position, job in enumerate(left):
            if time.monotonic() > end:
                with transaction(engine) as session:
                    jobs.release(session, left[position:])
                break
            with log_context(job_id=str(job.id), job=job.name, request_id=job.request_id or ""):
                run_one(job)
            keeper.let_go(job)
    return len(batch)


def spare_collector() -> None:
    """Leave what is loaded by now out of the collector's rounds, and make these seldom: a batch allocates a hundred
    thousand small objects that live as long as it does, and hardly any of them in circles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 20)


def _at_once(name: str) -> int:
    if jobs.mixed_handler_of(name):
        return MIXED
    return TOGETHER if jobs.batch_handler_of(name) else BATCH


def run_together(name: str, batch: Sequence[jobs.Claimed]) -> list[jobs.Claimed]:
    """Make first attempts in one transaction for each request that asked for them, where a handler takes many; in one
    for all of them, where it takes those of any request.

    Gives the jobs that are still to be run. A job that kills its worker costs its batch-mates one attempt, once: later
    attempts are made one by one.
    """
    mixed, handler = jobs.mixed_handler_of(name), jobs.batch_handler_of(name)
    first = [job for job in batch if job.started or job.attempts == 0]
    if mixed is not None:
        if first:
            with log_context(job=name):
                _try_together(mixed, first)
    elif handler is not None:
        for request_id, asked in groupby(first, key=lambda job: job.request_id or ""):
            with log_context(job=name, request_id=request_id):
                _try_together(_of_payloads(handler), list(asked))
    else:
        return list(batch)
    return [job for job in batch if not job.started and job.attempts > 0]


def _of_payloads(handler: jobs.BatchHandler) -> jobs.MixedHandler:
    return lambda session, batch: handler(session, [job.payload for job in batch])


def _try_together(handler: jobs.MixedHandler, asked: Sequence[jobs.Claimed]) -> None:
    """In one transaction; where that fails, one by one."""
    started = list(asked)
    if not all(job.started for job in asked):
        with transaction(engine_for("zw_worker")) as session:
            started = jobs.start_many(session, asked)
    if not _done_together(handler, started):
        for job in started:
            with log_context(job_id=str(job.id), request_id=job.request_id or ""):
                run_started(job)


def _done_together(handler: jobs.MixedHandler, started: Sequence[jobs.Claimed]) -> bool:
    """Whether all are done, or dead for a reason of their own. False: nothing was changed."""
    try:
        with Session(engine_for("zw_worker")) as session:
            refused = handler(session, started)
            if not jobs.finish_many(session, [job for place, job in enumerate(started) if place not in refused]):
                return False
            for place, reason in sorted(refused.items()):
                jobs.fail(session, started[place], reason=reason, final=True)
            session.commit()
    except Exception as error:  # which of them it was shows when each is run alone
        log.warning("batch failed, running one by one", jobs=len(started), exc_info=error)
        return False
    return True


def run_one(job: jobs.Claimed) -> None:
    """Count the attempt, then run the leased job to its end; not at all where the lease was lost."""
    with transaction(engine_for("zw_worker")) as session:
        started = jobs.start(session, job)
    if started is None:
        log.warning("lease lost", attempts=job.attempts)
    else:
        run_started(started)


def run_started(job: jobs.Claimed) -> None:
    """Run a job to its end: done, put back, or dead-lettered. Never raises for a failing handler."""
    engine = engine_for("zw_worker")
    try:
        with Session(engine) as session:
            jobs.handler_of(job.name)(session, **job.payload)
            if jobs.finish(session, job):
                session.commit()
            else:
                log.warning("lease lost", attempts=job.attempts)
        return
    except jobs.Discard as error:
        reason, final = str(error), True
    except ZhiwangError as error:
        reason, final = error.code, False
    except Exception as error:  # any failure of a handler is this job's, not the worker's
        log.error("job failed", attempts=job.attempts, exc_info=error)
        reason, final = type(error).__name__, False
    with transaction(engine) as session:
        jobs.fail(session, job, reason=reason, final=final)


def slot_of(moment: datetime, seconds: int) -> datetime:
    """The start of the time slot of `seconds` that `moment` lies in."""
    return datetime.fromtimestamp(int(moment.timestamp()) // seconds * seconds, UTC)


def once_per_slot(name: str, seconds: int) -> bool:
    """True in one process only for each slot, so that a doubled beat is harmless."""
    with transaction(engine_for("zw_worker")) as session:
        return jobs.take_slot(session, name, slot_of(now(), seconds))


class LeaseKeeper:
    """Renews the leases of a batch while this process lives, so that leases can be short.

    A worker that is killed stops renewing, and its jobs go to another one within `job_lease_seconds`.
    """

    def __init__(self, batch: Sequence[jobs.Claimed]) -> None:
        self._held = {job.id: job for job in batch}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="leases", daemon=True)

    def __enter__(self) -> Self:
        if self._held:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def let_go(self, job: jobs.Claimed) -> None:
        """The job came to its end; its lease is renewed no more."""
        self._held.pop(job.id, None)

    def _work(self) -> None:
        interval = get_settings().job_lease_seconds / 3
        while not self._stopped.wait(interval):
            try:
                with transaction(engine_for("zw_worker")) as session:
                    jobs.renew(session, list(self._held.values()))
            except SQLAlchemyError as error:  # the database is away; the fence decides who finishes
                log.warning("leases not renewed", exc_info=error)


class BackgroundWaker:
    """Sends wake-ups from a thread of its own, so that a request never waits for the broker.

    Names that wait at the same time are sent once, and the next ones `WAKE_GAP_S` later at the earliest: under load a
    worker takes all that waits, and a message for each commit would cost more than most of them. While the broker is
    away wake-ups are dropped; the sweeper replaces them.
    """

    def __init__(self) -> None:
        self._closing = threading.Event()
        self._names: queue.SimpleQueue[frozenset[str] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="waker", daemon=True)
        self._thread.start()

    def __call__(self, names: frozenset[str]) -> None:
        """Take note of the names and return at once."""
        self._names.put(names)

    def close(self) -> None:
        """Send what waits and end the thread."""
        self._closing.set()
        self._names.put(None)
        self._thread.join(timeout=10)

    def _work(self) -> None:
        while True:
            names: set[str] = set()
            item: Any = self._names.get()
            while item is not None:
                names |= item
                if self._names.empty():
                    break
                item = self._names.get()
            self._send(names)
            if item is None:
                return
            self._closing.wait(WAKE_GAP_S)

    def _send(self, names: set[str]) -> None:
        for name in sorted(names):
            try:
                announce(name)
            except Exception as error:  # the broker is away; the rows are safe and the sweeper will come
                log.warning("wake-up not sent", job=name, exc_info=error)
                return
