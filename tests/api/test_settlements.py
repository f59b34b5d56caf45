"""From a difference to the worker's door and back: a look on site as a task, its answer, and why it came to a case."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from sqlmodel import Session

from backend.core.db import engine_for
from tests.api.test_checks import worker_elsewhere, worker_of
from tests.rooms.crosscheck_builders import ADDRESS, GRID, HOUSE_CODE, OTHER_CODE, ZHANG, business_records
from tests.world import Handheld, Json, World, document

Drain = Callable[[], int]


def taken_back_and_asked_again(
    api: TestClient, office: dict[str, str], settlement: Json, drain: Drain, handheld: Handheld, task_id: str
) -> tuple[Json, Json]:
    """A supervisor accepts the value instead, and then has the worker asked after all: the last settlement and task."""
    for instead, reason in (("accepted", "department_outdated"), ("visit", "needs_a_look")):
        body = {"instead": instead, "reason": reason, "note": "合成说明"}
        path = f"/checks/v1/settlements/{settlement['id']}/undo"
        answer = api.post(path, json=body, headers=office)
        assert answer.status_code == 200, answer.text
        assert api.post(path, json=body, headers=office).json()["code"] == "settlement_replaced"
        settlement = answer.json()
        drain()
        handheld.pull("task")
        if instead == "accepted":
            assert handheld.documents[task_id]["result"] == "withdrawn"
    why = api.get(f"/checks/v1/settlements/{settlement['id']}", headers=office).json()
    assert (why["note"], why["visit_state"]) == ("合成说明", "open")
    assert why["visit_id"] != task_id
    return settlement, handheld.documents[why["visit_id"]]


def test_a_difference_about_a_home_goes_to_the_worker_before_it_becomes_a_case(
    api: TestClient, world: World, drain: Drain, tmp_path: Path
) -> None:
    with Session(engine_for("zw_worker")) as session:
        business_records(session, tmp_path, "population", ZHANG | {"house_code": HOUSE_CODE})
        session.commit()
    handheld = worker_of(world, GRID)
    house = document(GRID, house_code=OTHER_CODE, address=ADDRESS)
    person = document(GRID, **ZHANG, house_id=house["id"])
    for kind, entry in (("house", house), ("person", person)):
        handheld.push(kind, entry)
        drain()
    (task,) = [task for task in handheld.pull("task") if task["source_id"] == person["id"]]
    assert (task["task"], task["state"], task["finding"]) == ("visit", "open", "moved")

    office = world.office("supervisor")
    (settlement,) = api.get("/checks/v1/settlements", params={"document_id": person["id"]}, headers=office).json()
    assert (settlement["course"], settlement["visit_id"], settlement["case_id"]) == ("visit", task["id"], None)

    settlement, task = taken_back_and_asked_again(api, office, settlement, drain, handheld, task["id"])
    path = f"/checks/v1/visits/{task['id']}/answer"
    said = {"result": "confirmed", "note": "合成说明"}
    assert api.post(path, json=said, headers=worker_elsewhere(world).headers).status_code == 404
    for _ in range(2):
        answer = api.post(path, json=said, headers=handheld.headers)
        assert (answer.status_code, answer.json()["state"]) == (200, "done"), answer.text
    drain()
    handheld.pull("task")
    assert handheld.documents[task["id"]]["result"] == "confirmed"

    found = api.get("/checks/v1/settlements", params={"document_id": person["id"]}, headers=office).json()
    assert [(one["course"], one["superseded_at"] is None) for one in found] == [
        ("case", True),
        ("visit", False),
        ("accepted", False),
        ("visit", False),
    ]
    why: dict[str, Any] = api.get(f"/checks/v1/settlements/{found[0]['id']}", headers=office).json()
    assert (why["reason"], why["routing_rule_id"], why["decided_by"] is None) == ("rule", 200, False)
    assert why["routing_rule"].startswith("人口")
    assert (why["verdict"]["verdict"], why["verdict"]["rule_version"]) == ("moved", 1)
    moved = next(item for item in why["verdict"]["evidence"] if item["finding"] == "moved")
    assert (moved["dataset"], moved["taken_at"] is not None, moved["mine"]) == ("population", True, "440310" + "*" * 19)
    assert {one["field"]: one["stands"] for one in why["standing"]}["name"] == "grid"
    assert api.get(f"/cases/v1/cases/{why['case_id']}", headers=office).json()["reason"] == "moved"

    refused = api.post(
        f"/checks/v1/settlements/{found[0]['id']}/undo",
        json={"instead": "accepted", "reason": "seen_on_site", "note": "合成说明"},
        headers=office,
    )
    assert (refused.status_code, refused.json()["because"]) == (409, "case_open")
