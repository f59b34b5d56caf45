"""Subject access: everything about one person, nothing about another, fetched once. All people are synthetic."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.core.settings import get_settings
from backend.models import AuditEntry
from backend.services import retention
from tests.rooms.test_erasure import GONE, OTHER, Town, by_identity, erase
from tests.world import World

Drain = Callable[[], int]
ADDRESS = "/life/v1/access-requests"


@pytest.fixture
def town(world: World, drain: Drain, tmp_path: Path) -> Town:
    return Town(world, drain, tmp_path)


def ask(world: World, **subject: Any) -> str:
    body = {"subject": subject, "reason": "subject_request"}
    answer = world.client.post(ADDRESS, json=body, headers=world.office("data_steward"))
    assert answer.status_code == 202, answer.text
    return f"{ADDRESS}/{answer.json()['id']}"


def files() -> list[Path]:
    return [path for path in (get_settings().state_dir / "media" / "access").rglob("*") if path.is_file()]


def test_all_that_is_held_about_somebody_and_nothing_about_others(town: Town, world: World, drain: Drain) -> None:
    address, steward = ask(world, **by_identity()), world.office("data_steward")
    early = world.client.get(f"{address}/file", headers=steward)
    assert (early.status_code, early.json()["code"]) == (409, "file_not_ready")
    drain()
    assert len(files()) == 1
    assert GONE["name"].encode() not in files()[0].read_bytes(), "sealed at rest"
    answer = world.client.get(f"{address}/file", headers=steward)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    report = json.loads(answer.content)
    assert {entry["id"] for entry in report["documents"]} == {town.person["id"], town.again["id"]}
    assert all(entry["fields"]["id_number"] == GONE["id_number"] for entry in report["documents"])
    assert len(report["versions"]) == 3
    ((home,),) = ([entry] for entry in report["named_in"])
    assert home["id"] == town.house["id"]
    assert [part["value"]["name"] for part in home["content"]] == [GONE["name"]]
    assert len(report["business_records"]) == 1
    assert {photo["id"] for photo in report["photos"]} == {str(one) for one in town.photo_ids}
    assert report["verdicts"]
    assert report["ledger"]
    assert report["audit"]
    assert any("本人登记记录：2 条" in line for line in report["summary"])
    for word in ("name", "phone", "id_number"):
        assert GONE[word] in answer.text
        assert OTHER[word] not in answer.text, "a neighbour in the same house is not his to see"


def test_a_file_is_fetched_once_and_by_who_asked(town: Town, world: World, drain: Drain) -> None:
    address, steward = ask(world, **by_identity()), world.office("data_steward")
    drain()
    assert world.client.get(f"{address}/file", headers=world.office("auditor")).status_code == 403
    assert world.client.get(f"{address}/file", headers=steward).status_code == 200
    again = world.client.get(f"{address}/file", headers=steward)
    assert (again.status_code, again.json()["code"]) == (410, "file_gone")
    view = world.client.get(address, headers=steward).json()
    assert view["state"] == "fetched"
    assert GONE["id_number"] not in json.dumps(view)
    with Session(engine_for("zw_worker")) as session:
        actions = session.exec(select(AuditEntry.action).where(AuditEntry.object_id == view["id"])).all()
    assert sorted(actions) == ["access_collected", "access_fetched", "access_requested"]


def test_the_file_goes_when_its_time_is_over(town: Town, world: World, drain: Drain) -> None:
    address = ask(world, **by_identity())
    drain()
    with transaction(engine_for("zw_worker")) as session:
        past = {"at": now() - timedelta(hours=1)}
        session.connection().execute(text("UPDATE access_request SET expires_at = :at"), past)
        run = retention.run(session, code="access_file", day=now().date())
        assert run is not None
        assert run.removed == 1
    assert files() == []
    assert world.client.get(f"{address}/file", headers=world.office("data_steward")).status_code == 410


def test_who_is_erased_leaves_no_file_behind(town: Town, world: World, drain: Drain) -> None:
    address = ask(world, **by_identity())
    drain()
    assert erase(drain, **by_identity()).report["access_file"] == 1
    assert files() == []
    assert world.client.get(f"{address}/file", headers=world.office("data_steward")).status_code == 410
