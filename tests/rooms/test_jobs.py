"""Durable jobs: written with the data, leased with a fence, dead-lettered with a reason, never lost or doubled."""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session

from backend import jobs, tasks
from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.core.errors import NotFound
from backend.core.logging import log_context
from backend.core.settings import get_settings
from tests.world import until

NAME = "tests.job"


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A registered handler whose behaviour a test sets; notes the payloads it saw."""
    seen: dict[str, Any] = {"payloads": [], "raises": None}

    def handle(session: Session, **payload: Any) -> None:
        session.connection().execute(text("INSERT INTO server_state VALUES ('effect', 'x') ON CONFLICT DO NOTHING"))
        seen["payloads"].append(payload)
        if seen["raises"] is not None:
            raise seen["raises"]

    monkeypatch.setitem(jobs._handlers, NAME, handle)
    return seen


def _enqueue(key: str = "k", **payload: Any) -> None:
    with transaction(engine_for("zw_api")) as session:
        jobs.enqueue(session, NAME, key=key, **payload)


def _claim(limit: int = 10) -> list[jobs.Claimed]:
    with transaction(engine_for("zw_worker")) as session:
        return jobs.claim(session, NAME, limit=limit)


def _start(job: jobs.Claimed) -> jobs.Claimed | None:
    with transaction(engine_for("zw_worker")) as session:
        return jobs.start(session, job)


def _states() -> dict[str, tuple[str, int]]:
    with Session(engine_for("zw_worker")) as session:
        rows = session.connection().execute(text("SELECT * FROM job WHERE name = :n"), {"n": NAME})
        return {row.key: (row.state, row.attempts) for row in rows}


def _row() -> Any:
    with Session(engine_for("zw_worker")) as session:
        return session.connection().execute(text("SELECT * FROM job WHERE name = :n"), {"n": NAME}).one()


def _effects() -> int:
    with Session(engine_for("zw_worker")) as session:
        return int(
            session.connection().execute(text("SELECT count(*) FROM server_state WHERE name='effect'")).scalar_one()
        )


def _pass_time(by: timedelta) -> None:
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(
            text("UPDATE job SET lease_until = lease_until - :by, not_before = not_before - :by"), {"by": by}
        )


def test_asking_twice_does_it_once(database: str, handled: dict[str, Any]) -> None:
    _enqueue(a=1)
    _enqueue(a=1)
    assert tasks.run_batch(NAME) == 1
    assert tasks.run_batch(NAME) == 0
    assert handled["payloads"] == [{"a": 1}]
    assert _row().state == "done"


def test_a_job_of_a_transaction_that_rolls_back_does_not_exist(database: str) -> None:
    woken: list[frozenset[str]] = []
    jobs.set_waker(woken.append)
    try:
        with Session(engine_for("zw_api")) as session:
            jobs.enqueue(session, NAME, key="k")
            session.rollback()
        assert woken == []
        _enqueue()
        assert woken == [frozenset({NAME})]
    finally:
        jobs.set_waker(None)
    assert len(_claim()) == 1


def test_a_savepoint_wakes_nobody_before_the_commit(database: str) -> None:
    woken: list[frozenset[str]] = []
    jobs.set_waker(woken.append)
    try:
        with Session(engine_for("zw_api")) as session:
            with session.begin_nested():
                jobs.enqueue(session, NAME, key="kept")
            with pytest.raises(NotFound), session.begin_nested():
                raise NotFound
            assert woken == []
            session.commit()
        assert woken == [frozenset({NAME})]
    finally:
        jobs.set_waker(None)


def test_a_claimed_job_is_nobody_elses_until_its_lease_runs_out(database: str) -> None:
    _enqueue()
    (first,) = _claim()
    assert _claim() == []
    _pass_time(timedelta(hours=1))
    (second,) = _claim()
    assert (second.id, second.fence) == (first.id, first.fence + 1)


def test_an_attempt_is_counted_when_it_starts_and_never_without_the_lease(database: str) -> None:
    _enqueue()
    (first,) = _claim()
    assert _row().attempts == 0
    _pass_time(timedelta(hours=1))
    (second,) = _claim()
    assert _start(first) is None
    started = _start(second)
    assert started is not None
    assert started.attempts == _row().attempts == 1
    assert _row().lease_until > now(), "a job that starts has a whole lease before it"


def test_a_worker_that_lost_its_lease_can_not_finish_or_fail_the_job(database: str) -> None:
    _enqueue()
    (late,) = _claim()
    _pass_time(timedelta(hours=1))
    (current,) = _claim()
    with transaction(engine_for("zw_worker")) as session:
        assert not jobs.finish(session, late)
        jobs.fail(session, late, reason="late")
    assert _row().state == "running"
    with transaction(engine_for("zw_worker")) as session:
        assert jobs.finish(session, current)


def test_the_effects_of_a_lost_lease_are_rolled_back(database: str, handled: dict[str, Any]) -> None:
    _enqueue()
    (claimed,) = _claim()
    late = _start(claimed)
    assert late is not None
    _pass_time(timedelta(hours=1))
    _claim()
    tasks.run_started(late)
    assert len(handled["payloads"]) == 1, "the control: the handler did run"
    assert _effects() == 0
    tasks.run_one(late)
    assert len(handled["payloads"]) == 1, "a job whose lease is lost is not even started"


def test_a_failing_job_comes_back_later_and_is_dead_after_its_last_attempt(
    database: str, handled: dict[str, Any]
) -> None:
    handled["raises"] = RuntimeError("绝密")
    _enqueue()
    for attempt in range(1, 6):
        assert tasks.run_batch(NAME) == 1
        assert tasks.run_batch(NAME) == 0, "it waits before it is tried again"
        assert _row().attempts == attempt
        _pass_time(timedelta(hours=1))
    row = _row()
    assert (row.state, row.reason) == ("dead", "RuntimeError")
    assert _effects() == 0


def test_reasons_are_codes_and_never_texts_of_exceptions(database: str, handled: dict[str, Any]) -> None:
    for raised, reason in ((NotFound("绝密"), "not_found"), (jobs.Discard("no_such_row"), "no_such_row")):
        handled["raises"] = raised
        _enqueue(key=reason)
        tasks.run_batch(NAME)
        with Session(engine_for("zw_worker")) as session:
            found = session.connection().execute(text("SELECT reason FROM job WHERE key = :k"), {"k": reason})
            assert found.scalar_one() == reason


def test_a_job_that_kills_its_worker_every_time_is_buried(database: str) -> None:
    _enqueue()
    for _ in range(5):
        (job,) = _claim()
        assert _start(job) is not None
        _pass_time(timedelta(hours=1))
    assert _claim() == []
    assert (_row().state, _row().reason) == ("dead", "worker_lost")


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch, handled: dict[str, Any]) -> list[int]:
    """The sizes of the batches that a batch handler of the same jobs took; `refuses` of a payload is its reason."""
    sizes: list[int] = []

    def handle_many(session: Session, payloads: Sequence[Mapping[str, Any]]) -> Mapping[int, str]:
        sizes.append(len(payloads))
        for payload in payloads:
            jobs.handler_of(NAME)(session, **payload)
        return {place: payload["refuses"] for place, payload in enumerate(payloads) if "refuses" in payload}

    monkeypatch.setitem(jobs._batch_handlers, NAME, handle_many)
    return sizes


def test_first_attempts_of_one_request_are_made_together(
    database: str, handled: dict[str, Any], together: list[int]
) -> None:
    for request_id, number in (("one", 3), ("two", 2)):
        with log_context(request_id=request_id):
            for place in range(number):
                _enqueue(key=f"{request_id}-{place}")
    assert tasks.run_batch(NAME) == 5
    assert together == [3, 2], "each with the id of its own request in the trail"
    assert set(_states().values()) == {("done", 1)}


def test_jobs_of_many_requests_are_made_together_where_the_handler_sees_to_it(
    database: str, handled: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    def handle_mixed(session: Session, batch: Sequence[jobs.Claimed]) -> Mapping[int, str]:
        seen.extend(job.request_id for job in batch)
        jobs.enqueue_many(session, [jobs.NewJob("next", str(job.id), {}, request_id=job.request_id) for job in batch])
        return {place: "no_such_row" for place, job in enumerate(batch) if job.request_id == "two"}

    monkeypatch.setitem(jobs._mixed_handlers, NAME, handle_mixed)
    for request_id in ("one", "two", "three"):
        with log_context(request_id=request_id):
            _enqueue(key=request_id)
    assert tasks.run_batch(NAME) == 3
    assert seen == ["one", "two", "three"], "one call for all"
    with Session(engine_for("zw_worker")) as session:
        rows = session.connection().execute(text("SELECT name, key, state, request_id FROM job")).all()
    assert {row.key: row.state for row in rows if row.name == NAME} == {"one": "done", "two": "dead", "three": "done"}
    assert sorted(row.request_id for row in rows if row.name == "next") == ["one", "three", "two"]


@pytest.fixture
def mixed(monkeypatch: pytest.MonkeyPatch, handled: dict[str, Any]) -> None:
    """Jobs of the name are made together, whoever asked for them."""

    def handle_mixed(session: Session, batch: Sequence[jobs.Claimed]) -> Mapping[int, str]:
        for job in batch:
            jobs.handler_of(NAME)(session, **job.payload)
        return {}

    monkeypatch.setitem(jobs._mixed_handlers, NAME, handle_mixed)


@pytest.mark.usefixtures("database", "mixed")
def test_jobs_that_are_made_together_are_started_with_their_lease(handled: dict[str, Any]) -> None:
    for number in range(3):
        _enqueue(key=str(number), number=number)
    assert tasks.run_batch(NAME, end=time.monotonic() - 1) == 3
    assert set(_states().values()) == {("ready", 0)}, "what was not run has used up nothing"
    handled["raises"] = _WorkerKilled()
    with pytest.raises(_WorkerKilled):
        tasks.run_batch(NAME)
    handled["raises"] = None
    _enqueue(key="new", number=3)
    _pass_time(timedelta(hours=1))
    assert tasks.run_batch(NAME) == 4
    assert set(_states().values()) == {("done", 2), ("done", 1)}


def test_of_a_batch_only_what_can_never_succeed_dies(
    database: str, handled: dict[str, Any], together: list[int]
) -> None:
    _enqueue(key="good")
    _enqueue(key="bad", refuses="no_such_row")
    assert tasks.run_batch(NAME) == 2
    assert _states() == {"good": ("done", 1), "bad": ("dead", 1)}
    assert together == [2]


def test_a_batch_that_fails_is_made_one_by_one_and_keeps_nothing(
    database: str, handled: dict[str, Any], together: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_for_poison(session: Session, **payload: Any) -> None:
        session.connection().execute(text("INSERT INTO server_state VALUES (:key, 'x')"), {"key": payload["key"]})
        if payload["key"] == "poison":
            raise RuntimeError

    monkeypatch.setitem(jobs._handlers, NAME, fail_for_poison)
    for key in ("good", "poison", "late"):
        with transaction(engine_for("zw_api")) as session:
            jobs.enqueue_many(session, [jobs.NewJob(NAME, key, {"key": key})])
    assert tasks.run_batch(NAME) == 3
    assert together == [3]
    assert _states() == {"good": ("done", 1), "poison": ("ready", 1), "late": ("done", 1)}
    with Session(engine_for("zw_worker")) as session:
        kept = session.connection().execute(text("SELECT name FROM server_state WHERE value = 'x'")).scalars().all()
    assert sorted(kept) == ["good", "late"]


def test_a_batch_whose_lease_went_elsewhere_is_not_finished(
    database: str, handled: dict[str, Any], together: list[int]
) -> None:
    for key in ("a", "b"):
        _enqueue(key=key)
    batch = _claim()
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(text("UPDATE job SET fence = fence + 1 WHERE key = 'a'"))
        assert [job.id for job in jobs.start_many(session, batch)] == [batch[1].id]
        assert not jobs.finish_many(session, batch)


def test_a_batch_that_kills_its_worker_costs_each_one_attempt(
    database: str, handled: dict[str, Any], together: list[int]
) -> None:
    for number in range(3):
        _enqueue(key=str(number), number=number)
    handled["raises"] = _WorkerKilled()
    with pytest.raises(_WorkerKilled):
        tasks.run_batch(NAME)
    handled["raises"] = None
    _pass_time(timedelta(hours=1))
    assert tasks.run_batch(NAME) == 3
    assert together == [3], "later attempts are made one by one"
    assert set(_states().values()) == {("done", 2)}


class _WorkerKilled(BaseException):
    """What ends a worker in the middle of a job: nothing after it runs, not even `fail`."""


def test_a_job_that_kills_its_worker_takes_none_of_its_batch_with_it(
    database: str, handled: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_started = tasks.run_started

    def kill_at_number_0(job: jobs.Claimed) -> None:
        if job.payload["number"] == 0:
            raise _WorkerKilled
        run_started(job)

    monkeypatch.setattr(tasks, "run_started", kill_at_number_0)
    for number in range(tasks.BATCH):
        _enqueue(key=str(number), number=number)
    for _ in range(5):
        with pytest.raises(_WorkerKilled):
            tasks.run_batch(NAME)
        _pass_time(timedelta(hours=1))
    assert tasks.run_batch(NAME) == 0
    expected = {str(number): ("done", 1) for number in range(1, tasks.BATCH)}
    assert _states() == {**expected, "0": ("dead", 5)}


def test_workers_that_are_killed_before_a_job_starts_cost_it_nothing(database: str, handled: dict[str, Any]) -> None:
    _enqueue()
    for _ in range(6):
        assert len(_claim()) == 1
        _pass_time(timedelta(hours=1))
    assert tasks.run_batch(NAME) == 1
    assert _states() == {"k": ("done", 1)}


def test_a_turn_that_is_over_gives_back_what_it_did_not_start(database: str, handled: dict[str, Any]) -> None:
    for key in ("a", "b"):
        _enqueue(key=key)
    assert tasks.run_batch(NAME, end=time.monotonic() - 1) == 2
    assert handled["payloads"] == []
    assert _states() == {"a": ("ready", 0), "b": ("ready", 0)}
    assert tasks.run_batch(NAME) == 2


def test_what_beat_sends_expires_so_that_it_does_not_pile_up_while_workers_are_away() -> None:
    for entry in tasks.celery.conf.beat_schedule.values():
        assert 0 < entry["options"]["expires"] <= 3600


def test_a_poison_job_does_not_hold_up_others(database: str, handled: dict[str, Any]) -> None:
    _enqueue(key="poison")
    handled["raises"] = RuntimeError()
    tasks.run_batch(NAME)
    handled["raises"] = None
    _enqueue(key="good", n=1)
    assert tasks.run_batch(NAME) == 1
    assert handled["payloads"][-1] == {"n": 1}


def test_dead_jobs_can_be_revived(database: str, handled: dict[str, Any]) -> None:
    handled["raises"] = jobs.Discard("gone")
    _enqueue()
    tasks.run_batch(NAME)
    handled["raises"] = None
    with transaction(engine_for("zw_worker")) as session:
        assert jobs.revive(session, NAME, since=now() + timedelta(days=1)) == 0
        assert jobs.revive(session, NAME) == 1
    assert tasks.run_batch(NAME) == 1
    assert _row().state == "done"


def test_old_done_jobs_are_pruned_once_a_slot_and_dead_ones_kept(database: str, handled: dict[str, Any]) -> None:
    for key in ("old", "fresh"):
        _enqueue(key=key)
    tasks.run_batch(NAME)
    handled["raises"] = jobs.Discard("gone")
    _enqueue(key="dead")
    tasks.run_batch(NAME)
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(
            text("UPDATE job SET finished_at = finished_at - interval '8 days' WHERE key IN ('old', 'dead')")
        )
    tasks.prune()
    with Session(engine_for("zw_worker")) as session:
        kept = set(session.connection().execute(text("SELECT key FROM job WHERE name = :n"), {"n": NAME}).scalars())
    assert kept == {"fresh", "dead"}
    assert not tasks.once_per_slot("prune", tasks.PRUNE_EVERY_S)


def test_urgent_jobs_come_first_then_the_oldest(database: str, handled: dict[str, Any]) -> None:
    with transaction(engine_for("zw_api")) as session:
        for key, priority in (("a", 100), ("b", 100), ("urgent", 10), ("c", 100)):
            jobs.enqueue(session, NAME, key=key, priority=priority, key_seen=key)
    tasks.run_batch(NAME)
    assert [payload["key_seen"] for payload in handled["payloads"]] == ["urgent", "a", "b", "c"]


def test_a_time_slot_is_taken_once(database: str) -> None:
    moment = tasks.slot_of(now(), 3600)
    taken = []
    for _ in range(2):
        with transaction(engine_for("zw_worker")) as session:
            taken.append(jobs.take_slot(session, "hourly", moment))
    assert taken == [True, False]


def test_wake_ups_survive_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def apply_async(args: tuple[str], **_: Any) -> None:
        if not sent:
            sent.append("refused")
            raise ConnectionError
        sent.append(args[0])

    monkeypatch.setattr(tasks.run, "apply_async", apply_async)
    waker = tasks.BackgroundWaker()
    waker(frozenset({"lost"}))
    waker.close()
    again = tasks.BackgroundWaker()
    again(frozenset({"b", "a"}))
    again.close()
    assert sent == ["refused", "a", "b"]


@pytest.mark.parametrize(("claimed", "longest", "sent"), [(20, 60, 1), (19, 60, 0), (0, 60, 0), (3, -1, 1)])
def test_a_turn_is_one_batch_and_asks_for_another_where_work_may_be_left(
    monkeypatch: pytest.MonkeyPatch, claimed: int, longest: int, sent: int
) -> None:
    asked: list[tuple[str]] = []
    monkeypatch.setattr(tasks, "run_batch", lambda *_, **__: claimed)
    monkeypatch.setattr(tasks, "LONGEST_TURN_S", longest)
    monkeypatch.setattr(tasks.run, "apply_async", lambda args, **_: asked.append(args))
    tasks.run(NAME)
    assert asked == [(NAME,)] * sent


def test_a_lease_is_renewed_while_its_worker_lives(
    database: str, monkeypatch: pytest.MonkeyPatch, handled: dict[str, Any]
) -> None:
    monkeypatch.setenv("JOB_LEASE_SECONDS", "3")
    get_settings.cache_clear()
    _enqueue()
    (job,) = _claim()
    first = _row().lease_until
    with tasks.LeaseKeeper([job]) as keeper:
        until(lambda: _row().lease_until > first, what="lease renewed")
        keeper.let_go(job)
    _pass_time(timedelta(hours=1))
    (successor,) = _claim()
    lease = _row().lease_until
    with transaction(engine_for("zw_worker")) as session:
        jobs.renew(session, [job])
    assert _row().lease_until == lease, "a lost lease is not renewed"
    assert successor.fence == job.fence + 1
