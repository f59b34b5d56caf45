"""Verdicts over HTTP: who sees which, how personal values are shown, and counts that add up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import NullPool, create_engine, text
from sqlmodel import Session

from backend.core.db import dialect_url, engine_for
from backend.core.enums import SourceType
from backend.core.settings import get_settings
from tests.rooms.crosscheck_builders import GRID, ZHANG, Entries, business_records
from tests.world import Handheld, World, document
from workflows.crosscheck import service
from workflows.crosscheck.facts import Source

Drain = Callable[[], int]
OTHER_DISTRICT, CITY = "440303", "4403"


def worker_of(world: World, grid_id: str) -> Handheld:
    return world.handheld(next(login for login, entry in world.logins.items() if entry.grid_id == grid_id))


def worker_elsewhere(world: World) -> Handheld:
    login = next(login for login, entry in world.logins.items() if entry.grid_id not in (None, GRID))
    return world.handheld(login)


@pytest.fixture
def checked(world: World, tmp_path: Path, drain: Drain) -> dict[str, Any]:
    """A person whose name differs from the population record, pushed by a handheld and checked by the job."""
    with Session(engine_for("zw_worker")) as session:
        business_records(session, tmp_path, "population", ZHANG)
        session.commit()
    pushed = document(GRID, **(ZHANG | {"name": "李四"}))
    worker_of(world, GRID).push("person", pushed)
    drain()
    return pushed


def listed(api: TestClient, headers: dict[str, str], **query: Any) -> Any:
    return api.get("/checks/v1/verdicts", params=query, headers=headers)


def detail(api: TestClient, headers: dict[str, str], entry: dict[str, Any]) -> Any:
    (verdict,) = listed(api, headers, document_id=entry["id"]).json()
    answer = api.get(f"/checks/v1/verdicts/{verdict['id']}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def evidence_of(found: Any, name: str) -> Any:
    return next(item for item in found["evidence"] if item["field"] == name)


def move_supervisor(territory_code: str) -> None:
    """As the owner: a posting is never rewritten by the product, only ended and followed by another."""
    owner = create_engine(dialect_url(get_settings().migration_url()), poolclass=NullPool)
    with Session(owner) as session:
        moved = text(
            "UPDATE posting SET territory_code = :code FROM account "
            "WHERE account.id = posting.account_id AND account.login = 'supervisor'"
        )
        session.connection().execute(moved, {"code": territory_code})
        session.commit()


def test_a_push_becomes_a_verdict_with_evidence(api: TestClient, world: World, checked: dict[str, Any]) -> None:
    found = detail(api, world.office("supervisor"), checked)
    assert (found["verdict"], found["findings"]) == ("name_differs", ["name_differs"])
    assert (found["source_type"], found["source_version"], found["grid_id"]) == ("document", 1, GRID)
    assert found["snapshots"]["population"]["taken_at"] == evidence_of(found, "name")["taken_at"]
    assert evidence_of(found, "name")["dataset"] == "population"


def test_an_office_sees_personal_values_masked(api: TestClient, world: World, checked: dict[str, Any]) -> None:
    found = detail(api, world.office("supervisor"), checked)
    name, number = evidence_of(found, "name"), evidence_of(found, "id_number")
    assert (name["mine"], name["theirs"]) == ("李*", "张**")
    assert number["mine"] == number["theirs"] == "1101**********2316"
    assert evidence_of(found, "phone")["theirs"] == "138****1234"


def test_a_worker_sees_his_own_values_and_the_department_s_masked(
    api: TestClient, world: World, checked: dict[str, Any]
) -> None:
    found = detail(api, worker_of(world, GRID).headers, checked)
    assert (evidence_of(found, "name")["mine"], evidence_of(found, "name")["theirs"]) == ("李四", "张**")


def test_a_worker_of_another_grid_finds_nothing(api: TestClient, world: World, checked: dict[str, Any]) -> None:
    stranger, verdict = worker_elsewhere(world).headers, detail(api, world.office("supervisor"), checked)
    foreign = listed(api, stranger, document_id=checked["id"])
    unknown = listed(api, stranger, document_id=str(uuid4()))
    assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found")
    assert foreign.json().keys() == unknown.json().keys()
    assert api.get(f"/checks/v1/verdicts/{verdict['id']}", headers=stranger).status_code == 404
    assert api.get("/checks/v1/summary", headers=stranger).json()["total"] == 0


@pytest.mark.parametrize(("territory", "status"), [(CITY, 200), ("", 200), (GRID[:9], 200), (OTHER_DISTRICT, 404)])
def test_an_office_sees_its_territory_only(
    api: TestClient, world: World, checked: dict[str, Any], territory: str, status: int
) -> None:
    verdict = detail(api, world.office("data_steward"), checked)
    move_supervisor(territory)
    headers = world.office("supervisor")
    assert listed(api, headers, document_id=checked["id"]).status_code == status
    assert api.get(f"/checks/v1/verdicts/{verdict['id']}", headers=headers).status_code == status
    assert api.get("/checks/v1/summary", headers=headers).json()["total"] == (status == 200)


def test_scope_follows_the_document_when_its_worker_loses_the_grid(
    api: TestClient, world: World, checked: dict[str, Any]
) -> None:
    headers = worker_of(world, GRID).headers
    assert listed(api, headers, document_id=checked["id"]).status_code == 200
    with Session(engine_for("zw_worker")) as session:
        session.connection().execute(text("UPDATE membership SET ends_at = now() WHERE grid_id = :g"), {"g": GRID})
        session.commit()
    assert listed(api, headers, document_id=checked["id"]).status_code == 404


def test_a_report_is_shown_to_offices_and_to_no_worker(api: TestClient, world: World) -> None:
    with Session(engine_for("zw_worker")) as session:
        source = Entries(session).report()
        service.check(session, [source])
        session.commit()
    office, worker = world.office("operator"), worker_of(world, GRID).headers
    (verdict,) = listed(api, office, report_id=source.id).json()
    assert (verdict["source_type"], verdict["kind"], verdict["verdict"]) == ("report", "event", "accepted")
    assert listed(api, worker, report_id=source.id).status_code == 404
    assert api.get(f"/checks/v1/verdicts/{verdict['id']}", headers=worker).status_code == 404


@pytest.mark.parametrize(("territory", "status"), [("", 200), (CITY, 200), (GRID[:6], 404)])
def test_a_report_outside_all_grids_is_the_citys_for_verdicts_photos_and_lists_alike(
    api: TestClient, world: World, territory: str, status: int
) -> None:
    with Session(engine_for("zw_worker")) as session:
        source = Entries(session).report()
        session.connection().execute(text("UPDATE report SET grid_id = NULL WHERE id = :id"), {"id": source.id})
        service.check(session, [source])
        session.commit()
    move_supervisor(territory)
    headers, query = world.office("supervisor"), {"report_id": str(source.id)}
    assert listed(api, headers, **query).status_code == status
    assert api.get("/media/v1/completeness", params=query, headers=headers).status_code == status
    shown = api.get("/channels/v1/reports", headers=headers).json()["reports"]
    assert [report["id"] for report in shown] == ([str(source.id)] if status == 200 else [])


def test_an_entry_that_waits_for_its_check_has_no_verdict_yet(api: TestClient, world: World) -> None:
    pushed = document(GRID, **ZHANG)
    worker_of(world, GRID).push("person", pushed)
    answer = listed(api, world.office("supervisor"), document_id=pushed["id"])
    assert (answer.status_code, answer.json()) == (200, [])


def test_the_summary_counts_every_verdict_once(
    api: TestClient, world: World, drain: Drain, checked: dict[str, Any]
) -> None:
    with Session(engine_for("zw_worker")) as session:
        entries = Entries(session)
        sources: list[Source] = [entries.report(), entries.event(metres_north=10, later=5), entries.event(later=9)]
        service.check(session, sources)
        session.commit()
    assert [source.type for source in sources].count(SourceType.REPORT) == 1
    answer = api.get("/checks/v1/summary", headers=world.office("supervisor")).json()
    assert answer == {
        "total": 4,
        "by_verdict": {"name_differs": 1, "duplicate": 2, "accepted": 1},
        "by_source": {"document": 3, "report": 1},
    }


@pytest.mark.parametrize("query", [{}, {"document_id": str(uuid4()), "report_id": str(uuid4())}])
def test_exactly_one_entry_is_asked_for(api: TestClient, world: World, query: dict[str, str]) -> None:
    answer = listed(api, world.office("supervisor"), **query)
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed")


@pytest.mark.parametrize("role", ["auditor", "security_admin", "system_admin", "department_handler"])
@pytest.mark.parametrize("path", ["verdicts", f"verdicts/{UUID(int=1)}", "summary"])
def test_roles_without_business_with_verdicts_are_refused(
    untouched_api: TestClient, untouched_world: World, role: str, path: str
) -> None:
    assert untouched_api.get(f"/checks/v1/{path}", headers=untouched_world.office(role)).status_code == 403


def test_without_login_nothing_is_shown(untouched_api: TestClient) -> None:
    assert untouched_api.get("/checks/v1/summary").status_code == 401
