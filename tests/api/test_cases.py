"""The supervisor's desk over HTTP: versions, scope, refusals, and two people at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import Session, col, select

from backend.core.db import engine_for, transaction
from backend.core.enums import VerdictKind
from backend.models import Case, CaseStep, Document
from tests.rooms.case_builders import Entries
from tests.world import World, until
from workflows.cases import considering

Json = dict[str, Any]
UNIT = "urban-management"


@pytest.fixture
def case(api: TestClient) -> Case:
    """A case of Pingshan, as its job opens it."""
    return open_case()


def open_case(**event: Any) -> Case:
    with transaction(engine_for("zw_worker")) as session:
        entries = Entries(session)
        entry = entries.event(**event)
        considering.consider(session, verdict_id=entries.verdict(entry).id)
        [case] = entries.cases_of(entry)
        session.expunge(case)
    return case


@pytest.fixture
def act(api: TestClient) -> Callable[..., Any]:
    """Do an action: `act(headers, case_id, action, version, **body)`."""

    def call(headers: Json, case_id: object, action: str, version: int | None, **body: Any) -> Any:
        tag = {} if version is None else {"If-Match": f'"{version}"'}
        path = f"/cases/v1/cases/{case_id}/actions/{action}"
        return api.post(path, json=body, headers={**headers, **tag})

    return call


@pytest.fixture
def supervisor(world: World) -> Json:
    return world.office("supervisor")


def office(world: World, login: str) -> Json:
    entry = world.logins[login]
    answer = world.client.post("/auth/v1/login", json={"login": entry.login, "password": entry.password})
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_a_supervisor_lists_claims_dispatches_and_closes(
    api: TestClient, supervisor: Json, case: Case, act: Callable[..., Any]
) -> None:
    [line] = api.get("/cases/v1/cases", params={"queue": case.queue_code}, headers=supervisor).json()["cases"]
    assert (line["id"], line["state"], line["version"]) == (str(case.id), "accepted", 1)
    assert line["number"] == f"{line['number'][:8]}-{case.seq:06d}"
    assert act(supervisor, case.id, "claim", 1).status_code == 200
    dispatched = act(supervisor, case.id, "dispatch", 2, department_code=UNIT)
    assert (dispatched.status_code, dispatched.headers["ETag"]) == (200, '"3"')
    closed = act(supervisor, case.id, "close", 3, outcome="resolved", note="现场复核，垃圾已清").json()
    assert (closed["state"], closed["outcome"], closed["version"]) == ("closed", "resolved", 4)
    assert [step["action"] for step in closed["steps"]] == ["open", "claim", "dispatch", "close"]
    assert closed["steps"][3]["note"] == "现场复核，垃圾已清"
    assert closed["actions"] == []
    assert api.get("/cases/v1/cases", headers=supervisor).json()["cases"] == []


def test_the_version_is_the_etag_and_goes_along_with_every_action(
    api: TestClient, supervisor: Json, case: Case, act: Callable[..., Any]
) -> None:
    assert api.get(f"/cases/v1/cases/{case.id}", headers=supervisor).headers["ETag"] == '"1"'
    missing, stale = act(supervisor, case.id, "claim", None), act(supervisor, case.id, "claim", 7)
    assert (missing.status_code, missing.json()["code"]) == (428, "version_required")
    assert (stale.status_code, stale.json()["code"], stale.json()["version"]) == (412, "version_changed", 1)
    assert api.get(f"/cases/v1/cases/{case.id}", headers=supervisor).json()["version"] == 1


def test_of_two_supervisors_who_claim_at_once_exactly_one_succeeds(
    world: World, supervisor: Json, case: Case, act: Callable[..., Any]
) -> None:
    start, desks = Barrier(2), [supervisor, office(world, "supervisor-pingshan")]

    def claim(headers: Json) -> int:
        start.wait(timeout=10)
        return int(act(headers, case.id, "claim", 1).status_code)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(claim, desks)) == [200, 412]
    with Session(engine_for("zw_worker")) as session:
        assert len(session.exec(select(CaseStep).where(CaseStep.case_id == case.id)).all()) == 2


def test_an_unlawful_action_is_409_and_names_what_is_allowed(
    supervisor: Json, case: Case, act: Callable[..., Any]
) -> None:
    refused = act(supervisor, case.id, "close", 1, outcome="resolved")
    assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
    body = refused.json()
    assert (body["code"], body["state"], body["because"]) == ("case_action_not_allowed", "accepted", "state")
    assert body["allowed"] == ["claim", "reject"]


BAD_INPUT: list[tuple[str, Json, int, str]] = [
    ("dispatch", {}, 422, "case_action_incomplete"),
    ("dispatch", {"department_code": "no-such-unit"}, 409, "case_department_unknown"),
    ("dispatch", {"department_code": "a\u0000b"}, 422, "malformed"),
    ("dispatch", {"department": UNIT}, 422, "malformed"),
    ("reject", {"reason": "because"}, 422, "case_action_incomplete"),
    ("reject", {"note": "x" * 2001}, 422, "malformed"),
    ("explode", {}, 422, "malformed"),
    ("again", {}, 422, "malformed"),
]


def test_bad_input_has_a_stable_code_and_changes_nothing(
    api: TestClient, supervisor: Json, case: Case, act: Callable[..., Any]
) -> None:
    act(supervisor, case.id, "claim", 1)
    for action, body, status, code in BAD_INPUT:
        answer = act(supervisor, case.id, action, 2, **body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (action, body)
    assert api.get(f"/cases/v1/cases/{case.id}", headers=supervisor).json()["version"] == 2


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 201}, {"state": "gone"}, {"cursor": "%%%"}, {"queue": "a b"}, {"overdue": "x"}]
)
def test_a_bad_filter_is_malformed(untouched_world: World, query: Json) -> None:
    supervisor = untouched_world.office("supervisor")
    answer = untouched_world.client.get("/cases/v1/cases", params=query, headers=supervisor)
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed")


def test_what_lies_outside_the_scope_is_404_like_what_does_not_exist(
    api: TestClient, world: World, supervisor: Json, act: Callable[..., Any]
) -> None:
    foreign, local = open_case(district="440304"), office(world, "supervisor-pingshan")
    for case_id in (foreign.id, uuid4()):
        read, acted = (
            api.get(f"/cases/v1/cases/{case_id}", headers=local),
            act(local, case_id, "claim", 1),
        )
        assert (read.status_code, acted.status_code) == (404, 404)
        assert read.json() == acted.json()
    assert api.get("/cases/v1/cases", headers=local).json()["cases"] == []
    assert act(supervisor, foreign.id, "claim", 1).status_code == 200


def test_a_department_sees_and_handles_only_what_was_dispatched_to_it(
    api: TestClient, world: World, supervisor: Json, case: Case, act: Callable[..., Any]
) -> None:
    unit = office(world, "handler-urban")
    path = f"/cases/v1/cases/{case.id}"
    assert api.get(path, headers=unit).status_code == 404
    act(supervisor, case.id, "claim", 1)
    act(supervisor, case.id, "dispatch", 2, department_code=UNIT)
    assert [offer["action"] for offer in api.get(path, headers=unit).json()["actions"]] == ["handle", "return"]
    assert act(office(world, "handler-police"), case.id, "handle", 3).status_code == 404
    assert act(unit, case.id, "handle", 3).status_code == 200
    assert act(unit, case.id, "complete", 4).json()["state"] == "checking"
    own_check = act(unit, case.id, "close", 5, outcome="resolved")
    assert (own_check.status_code, own_check.json()["because"]) == (409, "role")


PATHS = ("/cases/v1/queues", "/cases/v1/summary", "/cases/v1/cases", f"/cases/v1/cases/{UUID(int=1)}")


@pytest.mark.parametrize("path", PATHS)
def test_others_than_desks_and_departments_have_no_access(
    untouched_api: TestClient, untouched_world: World, path: str
) -> None:
    assert untouched_api.get(path).status_code == 401
    for login in ("worker01", "steward", "auditor", "security", "admin"):
        headers = (
            untouched_world.handheld(login).headers if login.startswith("worker") else office(untouched_world, login)
        )
        assert untouched_api.get(path, headers=headers).status_code == 403


def test_queues_and_summary_count_by_state_and_add_up(
    api: TestClient, supervisor: Json, case: Case, act: Callable[..., Any]
) -> None:
    open_case(severity="urgent")
    open_case(district="440304")
    act(supervisor, case.id, "claim", 1)
    queues = {queue["code"]: queue for queue in api.get("/cases/v1/queues", headers=supervisor).json()}
    assert queues["12345-440310"]["states"] == {"registered": 2}
    assert queues["12345-440304"]["states"] == {"accepted": 1}
    summary = api.get("/cases/v1/summary", headers=supervisor).json()
    assert (summary["total"], summary["open"], summary["overdue"]) == (3, 3, 0)
    assert summary["states"] == {"registered": 2, "accepted": 1}
    assert sum(queue["total"] for queue in summary["queues"]) == 3


def test_two_verdicts_of_one_entry_considered_at_once_make_one_case(database: str) -> None:
    with transaction(engine_for("zw_worker")) as session:
        entries = Entries(session)
        entry = entries.event()
        ids = [entries.verdict(entry, rule_version=rules).id for rules in (1, 2)]
    start = Barrier(2)

    def consider(verdict_id: UUID) -> None:
        with transaction(engine_for("zw_worker")) as session:
            start.wait(timeout=10)
            considering.consider(session, verdict_id=verdict_id)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(consider, ids))
    with Session(engine_for("zw_worker")) as session:
        [case] = session.exec(select(Case)).all()
        steps = session.exec(select(CaseStep).order_by(col(CaseStep.version))).all()
        assert [step.action for step in steps] == ["open", "again"]
        assert case.version == 2


def test_a_correction_that_is_just_being_pushed_is_waited_for(database: str) -> None:
    with transaction(engine_for("zw_worker")) as session:
        entries = Entries(session)
        house = entries.house(rental_use="rented")
        house_id, verdict_id = house.id, entries.verdict(house, VerdictKind.RENTAL_HAZARD).id

    def consider() -> None:
        with transaction(engine_for("zw_worker")) as session:
            considering.consider(session, verdict_id=verdict_id)

    with ThreadPoolExecutor(1) as pool:
        with transaction(engine_for("zw_worker")) as session:
            Entries(session).edit(session.get_one(Document, house_id), rental_use="self")
            considered = pool.submit(consider)
            until(lambda: considered.done() or _somebody_waits(), what="the verdict waits for the push")
        considered.result()
    with Session(engine_for("zw_worker")) as session:
        assert session.exec(select(Case)).all() == []


def _somebody_waits() -> bool:
    with engine_for("zw_api").connect() as connection:
        return bool(connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))
