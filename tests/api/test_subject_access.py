"""Subject access: everything about one person, nothing about another, fetched once. All people are synthetic."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.core.enums import Role
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import AccessRequest, AuditEntry, Citizen
from backend.services import erasure, retention, subject_access, subject_report
from tests.people import Staff
from tests.rooms.test_erasure import GONE, OTHER, Town, approve, by_identity, erase
from tests.rooms.test_erasure import ask as ask_erasure
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


@pytest.mark.parametrize("wall", ["gate", "traces"])
def test_who_is_erased_while_the_file_is_made_leaves_none(
    town: Town, world: World, drain: Drain, monkeypatch: pytest.MonkeyPatch, wall: str
) -> None:
    """It is seen when the file is noted; and were it not, the file would go with the traces."""
    address, erasure_id = ask(world, **by_identity()), ask_erasure(**by_identity())
    approve(erasure_id)
    real = subject_report.collect

    def slow(session: Session, target: erasure.Target) -> subject_report.Report:
        report = real(session, target)
        assert report["documents"], "everything was read before the erasure"
        with transaction(engine_for("zw_worker")) as other:
            erasure.erase(other, erasure_id=erasure_id, ledger_path=get_settings().erasure_ledger_file())
        return report

    monkeypatch.setattr(subject_report, "collect", slow)
    with transaction(engine_for("zw_worker")) as session:
        if wall == "traces":
            monkeypatch.setattr(subject_access, "erased_among", lambda *_: set())
        subject_access.collect(session, request_id=UUID(address.rsplit("/", 1)[1]))
    state = world.client.get(address, headers=world.office("data_steward")).json()["state"]
    assert state == ("expired" if wall == "gate" else "ready")
    drain()
    assert files() == []
    assert world.client.get(f"{address}/file", headers=world.office("data_steward")).status_code == 410


def test_a_fetched_file_does_not_wait_for_its_end(town: Town, world: World, drain: Drain) -> None:
    address, steward = ask(world, **by_identity()), world.office("data_steward")
    drain()
    assert world.client.get(f"{address}/file", headers=steward).status_code == 200
    with transaction(engine_for("zw_worker")) as session:
        past = {"at": now() - timedelta(hours=2)}
        session.connection().execute(text("UPDATE access_request SET fetched_at = :at"), past)
        run = retention.run(session, code="access_file", day=now().date())
        assert run is not None
        assert run.removed == 1
    assert files() == []
    assert world.client.get(address, headers=steward).json()["state"] == "fetched"


def test_what_a_citizen_asked_for_is_fetched_by_a_steward_of_the_whole_city(world: World, drain: Drain) -> None:
    who = new_id()
    with transaction(engine_for("zw_worker")) as session:
        session.add(Citizen(id=who, openid_index=who.bytes, openid=b"", created_at=now()))
        session.flush()
        subject_access.ask_for_citizen(session, citizen_id=who)
    drain()
    with Session(engine_for("zw_worker")) as session:
        (request_id,) = session.exec(select(AccessRequest.id)).all()
    staff = Staff(world)
    steward = staff.ready(Role.STEWARD, territory_code="440310")
    of_a_district = staff.headers(steward["login"], steward["password"])
    for address in (f"{ADDRESS}/{request_id}", f"{ADDRESS}/{request_id}/file"):
        assert world.client.get(address, headers=of_a_district).status_code == 404
        assert world.client.get(address, headers=world.office("data_steward")).status_code == 200
