"""Exports: masked, marked, capped, harmless, and never of what the account may not see when the file is made."""

import csv
import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, pool, text
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.db import dialect_url, engine_for, transaction
from backend.core.enums import Kind
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import AuditEntry, Export, Grid, RetentionRun
from backend.services import retention
from sync.service import publish
from tests.world import Json, World, document

Drain = Callable[[], int]
PURPOSE = {"purpose_code": "statistics", "purpose": "合成测试用途"}


@pytest.fixture
def entries(world: World) -> list[Json]:
    """A person and a house with a name that a spreadsheet would run, in a grid of a worker and in another district."""
    handheld = world.handheld()
    grid = handheld.grids()[0]
    person = document(grid, name="张三丰", phone="13800138000")
    house = document(grid, address="=1+1", use="residential")
    handheld.push("person", person)
    handheld.push("house", house)
    with transaction(engine_for("zw_worker")) as session:
        elsewhere = session.exec(select(Grid.id).where(~col(Grid.id).startswith(grid[:6]))).first()
        assert elsewhere is not None
        fields = {"name": "李四光", "phone": "13900139000"}
        publish(session, kind=Kind.PERSON, document_id=new_id(), grid_id=elsewhere, fields=fields)
    return [person, house]


def ask(world: World, role: str, **body: Any) -> Any:
    return world.client.post("/exports/v1", json={**PURPOSE, **body}, headers=world.office(role))


def made(world: World, drain: Drain, role: str, **body: Any) -> list[list[str]]:
    """Ask for an export, have it made and fetch it: its lines."""
    asked = ask(world, role, **body)
    assert asked.status_code == 202, asked.text
    drain()
    address = f"/exports/v1/{asked.json()['id']}"
    answer = world.client.get(f"{address}/file", headers=world.office(role))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-disposition"] == f'attachment; filename="export-{asked.json()["id"]}.csv"'
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))


def people(**more: Any) -> Json:
    return {"what": "records", "filters": {"kind": "person"}, **more}


def test_personal_fields_are_masked_and_every_line_says_where_it_came_from(
    world: World, drain: Drain, entries: list[Json]
) -> None:
    mark, titles, *lines = made(world, drain, "data_steward", **people(fields=["id", "name", "phone", "remark"]))
    assert titles == ["id", "name", "phone", "remark", "export_id"]
    assert {tuple(line[1:3]) for line in lines} == {("张**", "138****8000"), ("李**", "139****9000")}
    with Session(engine_for("zw_worker")) as session:
        (export,) = session.exec(select(Export)).all()
    assert {line[-1] for line in lines} == {str(export.id)}
    assert all(word in mark[0] for word in (str(export.requested_by), "statistics", str(export.id)))
    assert "合成测试用途".encode() not in export.purpose


def test_what_looks_like_a_formula_is_made_harmless(world: World, drain: Drain, entries: list[Json]) -> None:
    houses = {"what": "records", "filters": {"kind": "house"}, "fields": ["address"]}
    _, _, *lines = made(world, drain, "data_steward", **houses)
    assert {line[0] for line in lines} == {"'=1+1"}


def test_nothing_foreign_leaves_although_the_worker_sees_everything(
    world: World, drain: Drain, entries: list[Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(world, "data_steward", **people(fields=["grid_id"]))
    whole = made(world, drain, "data_steward", **people(fields=["grid_id"]))[2:]
    assert len(whole) == 2, "the control: there is something foreign"
    grid = str(entries[0]["grid_id"])
    narrow(asked.json()["requested_by"], grid[:6])
    here = made(world, drain, "data_steward", **people(fields=["grid_id"]))[2:]
    assert [line[0] for line in here] == [grid]


def test_the_scope_is_the_one_at_the_time_of_the_run(world: World, drain: Drain, entries: list[Json]) -> None:
    asked = ask(world, "data_steward", **people(fields=["grid_id"])).json()
    narrow(asked["requested_by"], "999999")
    drain()
    done = world.client.get(f"/exports/v1/{asked['id']}", headers=world.office("data_steward")).json()
    assert (done["state"], done["rows"]) == ("ready", 0)


def test_who_may_no_longer_export_gets_nothing(world: World, drain: Drain, entries: list[Json]) -> None:
    asked = ask(world, "data_steward", **people()).json()
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(
            text("UPDATE account SET active = false WHERE id = :id"), {"id": asked["requested_by"]}
        )
    drain()
    with Session(engine_for("zw_worker")) as session:
        (export,) = session.exec(select(Export)).all()
    assert (export.state.value, export.object_key) == ("refused", None)


def test_more_rows_than_may_leave_are_cut_off_and_said_to_be(
    world: World, drain: Drain, entries: list[Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPORT_MAX_ROWS", "1")
    get_settings.cache_clear()
    assert len(made(world, drain, "data_steward", **people())) == 3
    page = world.client.get("/exports/v1", headers=world.office("data_steward")).json()
    assert [(entry["rows"], entry["truncated"]) for entry in page["exports"]] == [(1, True)]


@pytest.mark.parametrize("day", [0, 20261101, "0", "2026-11-01T00:00:00", "2026-13-01", True])
def test_a_day_is_written_as_a_day(untouched_world: World, day: Any) -> None:
    asked = {"what": "cases", "filters": {"until": day}, "purpose_code": "statistics", "purpose": "合成测试用途"}
    answer = untouched_world.client.post("/exports/v1", json=asked, headers=untouched_world.office("supervisor"))
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed")


def test_roles_export_what_they_may_read_only(world: World, drain: Drain) -> None:
    assert ask(world, "data_steward", what="cases").status_code == 403
    assert ask(world, "supervisor", what="cases").status_code == 202
    assert ask(world, "auditor", what="cases").status_code == 403
    drain()
    unknown = ask(world, "supervisor", what="cases", fields=["password_hash"])
    assert (unknown.status_code, unknown.json()["code"]) == (422, "export_field_unknown")
    assert ask(world, "supervisor", what="records").status_code == 422


def test_an_export_is_its_makers_only_and_ends(world: World, drain: Drain, entries: list[Json]) -> None:
    asked = ask(world, "data_steward", **people()).json()
    address = f"/exports/v1/{asked['id']}"
    steward = world.office("data_steward")
    early = world.client.get(f"{address}/file", headers=steward)
    assert (early.status_code, early.json()["code"]) == (409, "file_not_ready")
    drain()
    assert world.client.get(f"{address}/file", headers=world.office("supervisor")).status_code == 404
    assert world.client.get(address, headers=world.office("auditor")).status_code == 200
    assert world.client.get(f"{address}/file", headers=world.office("auditor")).status_code == 403
    assert world.client.get(f"{address}/file", headers=steward).status_code == 200
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(text("UPDATE export SET expires_at = :at"), {"at": now() - timedelta(hours=1)})
        run = retention.run(session, code="export_file", day=now().date())
        assert isinstance(run, RetentionRun)
        assert run.removed == 1
    gone = world.client.get(f"{address}/file", headers=steward)
    assert (gone.status_code, gone.json()["code"]) == (410, "file_gone")
    assert not [path for path in (get_settings().state_dir / "media" / "exports").rglob("*") if path.is_file()]
    with Session(engine_for("zw_worker")) as session:
        actions = session.exec(select(AuditEntry.action).where(AuditEntry.object_id == asked["id"])).all()
    assert sorted(actions) == ["export_fetched", "export_made", "export_requested"]


def test_the_file_is_sealed_at_rest(world: World, drain: Drain, entries: list[Json]) -> None:
    made(world, drain, "data_steward", **people())
    files = [path for path in (get_settings().state_dir / "media" / "exports").rglob("*") if path.is_file()]
    assert len(files) == 1
    assert "张".encode() not in files[0].read_bytes()


def narrow(account_id: str, territory: str) -> None:
    """Give an account a smaller territory. Postings are not rewritten by any role of the product, so by the owner."""
    owner = create_engine(dialect_url(get_settings().migration_url()), poolclass=pool.NullPool)
    with transaction(owner) as session:
        session.connection().execute(
            text("UPDATE posting SET territory_code = :territory WHERE account_id = :id"),
            {"territory": territory, "id": account_id},
        )
