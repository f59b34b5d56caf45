"""Auditors search the trail, page by page; nobody else does, and whoever reads leaves an entry."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import Session

from backend.core.db import engine_for, transaction
from backend.core.ids import new_id
from backend.services import audit, audit_sealing
from tests.world import World

Json = dict[str, Any]


def write(number: int, **detail: int) -> list[str]:
    ids = [str(new_id()) for _ in range(number)]
    with transaction(engine_for("zw_worker")) as session:
        for thing in ids:
            audit.record(session, actor="tests", action="written", object_type="thing", object_id=thing, **detail)
    return ids


def entries(world: World, headers: dict[str, str], **query: Any) -> Json:
    answer = world.client.get("/audit/v1/entries", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    page: Json = answer.json()
    return page


def test_entries_are_found_by_what_they_name_the_newest_first(world: World) -> None:
    auditor = world.office("auditor")
    ids = write(3, version=7)
    found = entries(world, auditor, actor="tests")["entries"]
    assert [entry["object_id"] for entry in found] == ids[::-1]
    assert found[0]["detail"] == {"version": 7}
    assert found[0]["batch"] is None
    with transaction(engine_for("zw_worker")) as session:
        audit_sealing.seal_waiting(session)
    only = entries(world, auditor, object_type="thing", object_id=ids[1], action="written")["entries"]
    assert [(entry["object_id"], entry["batch"]) for entry in only] == [(ids[1], 1)]
    assert entries(world, auditor, actor="tests", action="login")["entries"] == []


def test_pages_follow_each_other_without_gap_or_repetition(world: World) -> None:
    auditor = world.office("auditor")
    ids = write(7)
    seen, cursor = [], None
    while True:
        page = entries(world, auditor, actor="tests", limit=3, **({"cursor": cursor} if cursor else {}))
        seen += [entry["object_id"] for entry in page["entries"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == ids[::-1]


def test_a_time_span_can_be_asked_for(world: World) -> None:
    auditor = world.office("auditor")
    write(1)
    at = entries(world, auditor, actor="tests")["entries"][0]["at"]
    assert len(entries(world, auditor, actor="tests", **{"from": at})["entries"]) == 1
    assert entries(world, auditor, actor="tests", to=at)["entries"] == []
    assert entries(world, auditor, actor="tests", to="1970-01-01T00:00:00Z")["entries"] == []


@pytest.mark.parametrize("cursor", ["x", "1", "1.x", "9" * 40 + ".01900000-0000-7000-8000-000000000001x", "."])
def test_a_cursor_of_nobodys_is_malformed(untouched_world: World, cursor: str) -> None:
    answer = untouched_world.client.get(
        "/audit/v1/entries", params={"cursor": cursor}, headers=untouched_world.office("auditor")
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed")


def test_reading_leaves_an_entry_with_the_filters_and_not_their_values(world: World) -> None:
    auditor = world.office("auditor")
    entries(world, auditor, actor="somebody", object_id="13800000000")
    world.client.get("/audit/v1/status", headers=auditor)
    with Session(engine_for("zw_worker")) as session:
        told = session.connection().execute(
            text("SELECT object_id, detail FROM audit_entry WHERE action = 'audit_read' ORDER BY at, id")
        )
        assert [tuple(row) for row in told] == [("entries", {"filters": "actor,object_id", "found": 0}), ("status", {})]


def test_the_status_tells_how_much_waits(world: World) -> None:
    auditor = world.office("auditor")
    write(4)
    with transaction(engine_for("zw_worker")) as session:
        audit_sealing.seal_waiting(session)
    write(5)
    seen = world.client.get("/audit/v1/status", headers=auditor).json()
    assert (seen["batches"], seen["unsealed"], seen["anchored_batches"]) == (1, 5, 0)
    assert "zhiwang_audit_unanchored 1.0" in world.client.get("/metrics").text


def test_the_metric_counts_what_waits(api: TestClient) -> None:
    write(5)
    assert "zhiwang_audit_unsealed 5.0" in api.get("/metrics").text


@pytest.mark.parametrize("role", ["supervisor", "data_steward", "security_admin", "system_admin", "operator"])
@pytest.mark.parametrize("path", ["entries", "status"])
def test_only_auditors_read_the_trail(untouched_world: World, role: str, path: str) -> None:
    assert untouched_world.client.get(f"/audit/v1/{path}", headers=untouched_world.office(role)).status_code == 403
