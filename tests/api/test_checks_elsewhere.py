"""From a department's file to the worker's door: a dataset of its own disputes what was collected, and gives way."""

from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient

from tests.api.test_checks import detail, worker_of
from tests.rooms.crosscheck_builders import GRID, ZHANG
from tests.tables import csv_text
from tests.world import World, document

Drain = Callable[[], int]

PERMITS = {
    "code": "permits",
    "name": "居住登记（合成）",
    "department_code": "public-security",
    "legal_basis": "示例",
    "grade": "important",
    "kind": "person",
    "columns": [
        {"title": "证件种类", "field": "id_type"},
        {"title": "证件号", "field": "id_number"},
        {"title": "姓名", "field": "name"},
    ],
}


def hand_over(api: TestClient, steward: dict[str, str], name: str) -> None:
    """The department's file as it is now: it calls the person by `name`."""
    content = csv_text([["证件种类", "证件号", "姓名"], ["居民身份证", ZHANG["id_number"], name]]).encode()
    headers = {**steward, "Content-Type": "text/csv"}
    answer = api.post("/registry/v1/datasets/permits/imports", content=content, headers=headers)
    assert answer.status_code == 202, answer.text


def tried_out(api: TestClient, admin: dict[str, str], drain: Drain) -> Any:
    """What rules would change that look into no other source."""
    rules = api.get("/checks/v1/rule-sets/1", headers=admin).json()["rules"]
    draft = {"title": "不看其他来源", "rules": {**rules, "others": {}}}
    version = api.post("/checks/v1/rule-sets", json=draft, headers=admin).json()["version"]
    asked = api.post("/checks/v1/what-ifs", json={"rule_version": version}, headers=admin).json()
    drain()
    return api.get(f"/checks/v1/what-ifs/{asked['id']}", headers=admin).json()["transitions"]


def test_a_departments_dataset_disputes_an_entry_and_the_worker_is_asked(
    api: TestClient, world: World, drain: Drain
) -> None:
    steward, supervisor = world.office("data_steward"), world.office("supervisor")
    handheld, person = worker_of(world, GRID), document(GRID, **ZHANG)
    handheld.push("person", person)
    drain()
    assert detail(api, supervisor, person)["verdict"] == "accepted"

    assert api.post("/registry/v1/datasets", json=PERMITS, headers=steward).status_code == 201
    hand_over(api, steward, "李四")
    drain()
    verdicts = api.get("/checks/v1/verdicts", params={"document_id": person["id"]}, headers=supervisor).json()
    assert [one["verdict"] for one in verdicts] == ["sources_differ", "accepted"]
    found = api.get(f"/checks/v1/verdicts/{verdicts[0]['id']}", headers=supervisor).json()
    [said] = [item for item in found["evidence"] if item["finding"] == "sources_differ"]
    assert (said["field"], said["mine"], said["theirs"], said["dataset"]) == ("name", "张**", "李*", "permits")
    assert said["taken_at"] == found["snapshots"]["permits"]["taken_at"]
    [task] = [task for task in handheld.pull("task") if task["source_id"] == person["id"]]
    assert (task["task"], task["state"], task["finding"]) == ("visit", "open", "sources_differ")

    [change] = tried_out(api, world.office("system_admin"), drain)
    assert (change["before"], change["after"], change["course_after"]) == ("sources_differ", "accepted", "accepted")

    hand_over(api, steward, ZHANG["name"])
    drain()
    handheld.pull("task")
    assert (handheld.documents[task["id"]]["state"], handheld.documents[task["id"]]["result"]) == ("done", "withdrawn")
    [settlement, *_] = api.get(
        "/checks/v1/settlements", params={"document_id": person["id"]}, headers=supervisor
    ).json()
    assert (settlement["course"], settlement["reason"]) == ("accepted", "in_order")
