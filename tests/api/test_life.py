"""Erasures over HTTP: who asks, who approves, and what is shown of it."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.core.enums import ReportState, Role
from backend.core.ids import new_id
from backend.models import Citizen, Report
from tests.people import Staff
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


def citizen_with_report(grid: str) -> str:
    """A synthetic citizen who reported something in a grid."""
    who = new_id()
    with transaction(engine_for("zw_worker")) as session:
        session.add(Citizen(id=who, openid_index=who.bytes, openid=b"", created_at=now()))
        session.flush()
        at, state = now(), ReportState.SUBMITTED
        session.add(Report(citizen_id=who, grid_id=grid, state=state, body={}, opened_at=at, last_message_at=at))
    return str(who)


@pytest.mark.parametrize("route", ["erasures", "access-requests"])
def test_a_steward_of_a_district_names_whom_his_district_knows(world: World, route: str) -> None:
    handheld = world.handheld()
    grid = handheld.grids()[0]
    person = document(grid, name="合成甲") | IDENTITY
    handheld.push("person", person)
    subjects: list[dict[str, Any]] = [
        {"document_id": person["id"]},
        IDENTITY,
        {"citizen_id": citizen_with_report(grid)},
    ]
    staff = Staff(world)

    def answers(territory: str) -> list[int]:
        steward = staff.ready(Role.STEWARD, territory_code=territory)
        who = staff.headers(steward["login"], steward["password"])
        bodies = [{"subject": subject, "reason": "subject_request"} for subject in subjects]
        return [world.client.post(f"/life/v1/{route}", json=body, headers=who).status_code for body in bodies]

    asked = 201 if route == "erasures" else 202
    assert answers("440305") == [404] * 3, "another district learns nothing, not even by the whole number"
    assert answers(grid[:6]) == [asked] * 3
    assert answers("4403") == [asked] * 3
    handheld.pull("person")
    handheld.push("person", {**person, "op": str(uuid4()), "_deleted": True}, handheld.documents[person["id"]])
    assert answers(grid[:6])[:2] == [404] * 2, "a record that was deleted gives no reach"
    unknown = {"subject": {**IDENTITY, "id_number": "110101199003070024"}, "reason": "subject_request"}
    city = world.client.post(f"/life/v1/{route}", json=unknown, headers=world.office("data_steward"))
    assert city.status_code == asked, "who is in the base stores only is for the stewards of the city"
