"""Erasures over HTTP: who asks, who approves, and what is shown of it."""

from collections.abc import Callable
from uuid import uuid4

from tests.world import World, document

IDENTITY = {"id_type": "citizen_id", "id_number": "110101199003070016"}
"""A number with a right check digit, nobody's."""


def test_a_steward_asks_a_security_administrator_approves_and_the_report_counts(
    world: World, drain: Callable[[], int]
) -> None:
    handheld = world.handheld()
    person = document(handheld.grids()[0], name="合成甲")
    person |= IDENTITY
    handheld.push("person", person)
    handheld.pull("person")
    steward, guard = world.office("data_steward"), world.office("security_admin")
    body = {"subject": IDENTITY, "reason": "subject_request"}
    asked = world.client.post("/life/v1/erasures", json=body, headers=steward)
    assert asked.status_code == 201, asked.text
    assert IDENTITY["id_number"] not in asked.text
    address = f"/life/v1/erasures/{asked.json()['id']}"
    assert asked.json()["state"] == "requested"
    assert world.client.post(f"{address}/approve", headers=steward).status_code == 403
    assert world.client.post(f"{address}/approve", headers=guard).json()["state"] == "approved"
    assert world.client.post(f"{address}/approve", headers=guard).json()["code"] == "erasure_decided"
    drain()
    report = world.client.get(address, headers=world.office("auditor")).json()
    assert (report["state"], report["report"]["document"], report["report"]["devices"]) == ("done", 1, 1)
    (tombstone,) = handheld.pull("person")
    assert tombstone["_deleted"]
    page = world.client.get("/life/v1/erasures", params={"limit": 1}, headers=guard).json()
    assert [entry["id"] for entry in page["erasures"]] == [asked.json()["id"]]


def test_a_subject_is_named_in_exactly_one_way_and_a_number_is_never_sent_back(world: World) -> None:
    steward = world.office("data_steward")
    wrong = [{}, {"id_number": IDENTITY["id_number"]}, {**IDENTITY, "citizen_id": str(uuid4())}]
    for subject in wrong:
        body = {"subject": subject, "reason": "subject_request"}
        answer = world.client.post("/life/v1/erasures", json=body, headers=steward)
        assert (answer.status_code, answer.json()["code"]) == (422, "malformed")
        assert IDENTITY["id_number"] not in answer.text
    for subject in ({"document_id": str(uuid4())}, {"citizen_id": str(uuid4())}):
        body = {"subject": subject, "reason": "subject_request"}
        assert world.client.post("/life/v1/erasures", json=body, headers=steward).status_code == 404
