"""Operators and supervisors see what waits and why, give it another try, and end it; a running job takes no effect."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session

from backend import jobs, tasks
from backend.core.db import engine_for, transaction
from backend.core.errors import NotFound
from tests.world import World

NAME = "tests.desk"
Headers = dict[str, str]


@pytest.fixture
def operator(world: World) -> Headers:
    return world.office("operator")


@pytest.fixture
def effects(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the handler of the tests' jobs did; a job with `fails` raises, one with `waits` is cancelled meanwhile."""
    done: list[str] = []

    def handle(session: Session, *, mark: str, fails: bool = False) -> None:
        done.append(mark)
        if fails:
            raise NotFound
        session.connection().execute(text("INSERT INTO server_state VALUES (:mark, 'x')"), {"mark": mark})

    monkeypatch.setitem(jobs._handlers, NAME, handle)
    return done


def ask(key: str, **payload: Any) -> str:
    with transaction(engine_for("zw_api")) as session:
        jobs.enqueue(session, NAME, key=key, mark=key, **payload)
        found = session.connection().execute(text("SELECT id FROM job WHERE key = :key"), {"key": key})
        return str(found.scalar_one())


def listed(world: World, headers: Headers, **query: Any) -> list[dict[str, Any]]:
    answer = world.client.get("/jobs/v1/jobs", params={"name": NAME, **query}, headers=headers)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["jobs"])


def act(world: World, headers: Headers, job_id: str, action: str) -> Any:
    return world.client.post(f"/jobs/v1/jobs/{job_id}/{action}", headers=headers)


def has_effect(mark: str) -> bool:
    with Session(engine_for("zw_worker")) as session:
        query = text("SELECT count(*) FROM server_state WHERE name = :mark")
        return bool(session.connection().execute(query, {"mark": mark}).scalar_one())


def kill_all_attempts(job_id: str) -> None:
    """As if each attempt had failed and its time to wait were over."""
    with transaction(engine_for("zw_worker")) as session:
        statement = text("UPDATE job SET attempts = max_attempts - 1 WHERE id = :id")
        session.connection().execute(statement, {"id": job_id})
    assert tasks.run_batch(NAME) == 1


def test_jobs_are_found_by_state_and_reason_page_by_page(world: World, operator: Headers, effects: list[str]) -> None:
    broken = ask("broken", fails=True)
    kill_all_attempts(broken)
    waiting = [ask(f"waiting-{number}") for number in range(3)]
    assert [job["id"] for job in listed(world, operator)] == [*waiting[::-1], broken]
    assert [job["id"] for job in listed(world, operator, limit=2, before=waiting[1])] == [waiting[0], broken]
    (dead,) = listed(world, operator, state="dead", reason="not_found")
    assert (dead["id"], dead["attempts"], dead["finished_at"] is None) == (broken, dead["max_attempts"], False)
    assert "payload" not in dead
    assert listed(world, operator, reason="somewhere") == []


def test_depth_age_and_failures_are_told_and_stay_when_the_job_is_gone(
    world: World, operator: Headers, effects: list[str]
) -> None:
    kill_all_attempts(ask("broken", fails=True))
    ask("waiting")
    depths = {
        depth["state"]: depth
        for depth in world.client.get("/jobs/v1/depths", headers=operator).json()
        if depth["name"] == NAME
    }
    assert {state: (depth["number"], depth["failures"]) for state, depth in depths.items()} == {
        "dead": (1, 1),
        "ready": (1, 1),
    }
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(text("DELETE FROM job"))
    assert f'zhiwang_job_failures{{name="{NAME}"}} 1.0' in world.client.get("/metrics").text


def test_a_dead_job_is_tried_again_and_a_done_one_is_not(world: World, operator: Headers, effects: list[str]) -> None:
    job_id = ask("later")
    assert act(world, operator, job_id, "cancel").json()["state"] == "cancelled"
    assert tasks.run_batch(NAME) == 0, "a cancelled job is not run"
    ask("later")
    assert tasks.run_batch(NAME) == 0, "nor by asking for it again"
    retried = act(world, world.office("supervisor"), job_id, "retry")
    assert (retried.json()["state"], retried.json()["attempts"], retried.json()["reason"]) == ("ready", 0, None)
    assert tasks.run_batch(NAME) == 1
    assert has_effect("later")
    for action in ("retry", "cancel"):
        refused = act(world, operator, job_id, action)
        assert (refused.status_code, refused.json()["code"], refused.json()["state"]) == (409, "job_state", "done")


def test_a_job_that_is_cancelled_while_it_runs_takes_no_effect(
    world: World, operator: Headers, effects: list[str]
) -> None:
    job_id = ask("running")
    with transaction(engine_for("zw_worker")) as session:
        (claimed,) = jobs.claim(session, NAME, limit=1)
    with transaction(engine_for("zw_worker")) as session:
        started = jobs.start(session, claimed)
    assert started is not None
    assert act(world, operator, job_id, "cancel").status_code == 200
    tasks.run_started(started)
    assert effects == ["running"]
    assert not has_effect("running"), "its worker had lost the lease"
    assert listed(world, operator)[0]["state"] == "cancelled"


def test_what_a_law_demands_is_not_cancelled_here(world: World, operator: Headers) -> None:
    with transaction(engine_for("zw_worker")) as session:
        jobs.enqueue(session, tasks.DAILY_JOB, key="day", day="2026-01-01")
        found = session.connection().execute(text("SELECT id FROM job WHERE key = 'day'")).scalar_one()
    assert act(world, operator, str(found), "cancel").json()["code"] == "job_protected"


def test_who_decided_stands_in_the_trail(world: World, operator: Headers, effects: list[str]) -> None:
    job_id = ask("audited")
    act(world, operator, job_id, "cancel")
    act(world, operator, job_id, "retry")
    with Session(engine_for("zw_worker")) as session:
        query = text("SELECT action, detail FROM audit_entry WHERE object_id = :id ORDER BY id")
        rows = session.connection().execute(query, {"id": job_id}).all()
    assert [(row.action, row.detail["name"]) for row in rows] == [("job_cancelled", NAME), ("job_retried", NAME)]
