"""Splitting and merging grids: documents, terms and dates, in steps that may run twice. People are synthetic."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import Session, col, select
from typer.testing import CliRunner

from backend import jobs
from backend.commands.grids import app
from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.models import AuditEntry, Grid, Membership
from backend.seed.synthetic import point_of_grid
from backend.services import grid_changes, territory
from backend.services.grid_changes import GridChangeRefused, NewGrid
from sync import grid_moves
from tests.world import Handheld, Json, World, document, drain_jobs, edited

PLACE = {"datum": "wgs84"}


@pytest.fixture
def old(api: TestClient, world: World) -> str:
    return world.handheld().grids()[0]


def halves(grid_id: str) -> tuple[Json, Json, Json, Json]:
    """Two polygons that share out a grid, west and east of a point in it, and a place in each."""
    point = point_of_grid(grid_id, 1)
    lon, lat = point["lon"] / 10**7, point["lat"] / 10**7

    def box(left: float, right: float) -> Json:
        corners = [(left, lat - 1), (right, lat - 1), (right, lat + 1), (left, lat + 1), (left, lat - 1)]
        return {"type": "Polygon", "coordinates": [[list(corner) for corner in corners]]}

    west, east = ({**point, "lon": point["lon"] + shift, **PLACE} for shift in (-2000, 2000))
    return box(lon - 1, lon), box(lon, lon + 1), west, east


def free(grid_id: str, number: int) -> str:
    return f"{grid_id[:12]}{number}"


def change(old: list[str], targets: list[NewGrid], default: str, *, hours: float = 0, actor: str = "test") -> UUID:
    with transaction(engine_for("zw_worker")) as session:
        ends = now() + timedelta(hours=hours)
        started = grid_changes.start(session, actor=actor, sources=old, targets=targets, default=default, ends_at=ends)
        return started.id


def one(statement: str, **given: Any) -> Any:
    with Session(engine_for("zw_worker")) as session:
        return session.connection().execute(text(statement), given).scalar_one()


def wait_is_over(change_id: UUID) -> None:
    """As if the time had passed after which nobody can be writing in the old grids any more."""
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(
            text("UPDATE grid_change SET ends_at = ends_at - interval '1 day' WHERE id = :id"), {"id": change_id}
        )
        session.connection().execute(text("UPDATE job SET not_before = now() WHERE name = 'sync.move_grid'"))


def collected(handheld: Handheld, grid_id: str, west: Json, east: Json) -> dict[str, Json]:
    """Two components, one in each half, a house, and a person who lives nowhere known."""
    made = {
        name: document(
            grid_id, component_id=f"{grid_id[:6]}01010000{number:02}", class_code="0101", state="intact", location=place
        )
        for number, (name, place) in enumerate((("west", west), ("east", east)))
    }
    made["house"] = document(grid_id, address="合成路1号", location=east)
    made["person"] = document(grid_id, name="甲", house_id=made["house"]["id"])
    made["other"] = document(grid_id, name="乙")
    kinds = {"west": "component", "east": "component", "house": "house", "person": "person", "other": "person"}
    for name, record in made.items():
        assert handheld.push(kinds[name], record) == [], name
    drain_jobs()
    return made


def test_a_split_brings_each_document_where_it_belongs(world: World, old: str) -> None:
    """Two handhelds: one works the western half afterwards, the other the eastern one."""
    first, second = world.workers()[:2]
    a = world.handheld(first)
    left, right, west, east = halves(old)
    made = collected(a, old, west, east)
    for kind in ("component", "house", "person"):
        a.pull(kind)
    news = [NewGrid(free(old, 901), "西", left, [first]), NewGrid(free(old, 902), "东", right, [second])]
    change([old], news, news[0].id)
    drain_jobs()
    b = world.handheld(second)
    for handheld in (a, b):
        for kind in ("component", "house", "person"):
            handheld.pull(kind)
    lies = {name: one("SELECT grid_id FROM document WHERE id = :id", id=record["id"]) for name, record in made.items()}
    assert lies == {
        "west": news[0].id,
        "east": news[1].id,
        "house": news[1].id,
        "person": news[1].id,
        "other": news[0].id,
    }
    for name, record in made.items():
        mine, other = (a, b) if lies[name] == news[0].id else (b, a)
        assert mine.documents[record["id"]]["grid_id"] == lies[name]
        gone = other.documents.get(record["id"])
        assert gone is None or (gone["_deleted"] and "name" not in gone) or gone.get("name") == ""
    assert one("SELECT count(*) FROM document WHERE grid_id = :id AND NOT deleted", id=old) == 0


def test_dates_and_terms_follow(world: World, old: str) -> None:
    with Session(engine_for("zw_worker")) as session:
        holders = set(session.exec(select(Membership.account_id).where(Membership.grid_id == old)))
    left, right, west, _ = halves(old)
    news = [NewGrid(free(old, 903), "西", left), NewGrid(free(old, 904), "东", right)]
    change_id = change([old], news, news[0].id, hours=1)
    with Session(engine_for("zw_worker")) as session:
        moment = now()
        assert session.get_one(Grid, old).ends_at is not None
        for grid in news:
            assert session.get_one(Grid, grid.id).starts_at <= moment
            query = select(Membership.account_id).where(
                Membership.grid_id == grid.id, col(Membership.ends_at).is_(None)
            )
            assert set(session.exec(query)) == holders
        for account_id in holders:
            assert old in territory.held_grids(session, account_id, at=moment)
            assert old not in territory.held_grids(session, account_id, at=moment + timedelta(hours=2))
        territory._map = None
        assert territory.grid_at(session, west["lat"] / 10**7, west["lon"] / 10**7) == news[0].id
        entries = session.exec(select(AuditEntry).where(AuditEntry.object_id == str(change_id))).all()
        assert [entry.action for entry in entries] == ["grid_change_started"]


def test_work_that_was_not_sent_merges_while_the_old_grid_still_runs(world: World, old: str) -> None:
    a = world.handheld()
    left, right, _, east = halves(old)
    house = document(old, address="合成路1号", location=east)
    a.push("house", house)
    news = [NewGrid(free(old, 905), "西", left), NewGrid(free(old, 906), "东", right)]
    change_id = change([old], news, news[0].id, hours=1)
    drain_jobs()
    (answer,) = a.push("house", edited(house, use="commercial"), house)
    assert (answer["use"], answer["grid_id"], answer["_deleted"]) == ("commercial", news[1].id, False)
    late = document(old, address="合成路2号")
    assert a.push("house", late) == [], "a create in the old grid is taken, and moved at the end"
    wait_is_over(change_id)
    drain_jobs()
    assert one("SELECT grid_id FROM document WHERE id = :id", id=late["id"]) == news[0].id
    assert one("SELECT finished_at IS NOT NULL AND moved = 2 FROM grid_change WHERE id = :id", id=change_id)
    drain_jobs()
    assert one("SELECT count(*) FROM audit_entry WHERE action = 'grid_change_finished'") == 1


def test_a_merge_joins_the_polygons_and_brings_everything_to_one(world: World) -> None:
    workers = world.workers()
    a = world.handheld(workers[0])
    first = a.grids()[0]
    b = next(found for login in workers[1:] if (found := world.handheld(login)).grids()[0] != first)
    second = b.grids()[0]
    made = [document(grid, address=f"合成路{grid}") for grid in (first, second)]
    for handheld, house in zip((a, b), made, strict=True):
        assert handheld.push("house", house) == []
    whole = NewGrid(free(first, 907), "合并")
    change([first, second], [whole], whole.id)
    drain_jobs()
    for handheld in (a, b):
        handheld.pull("house")
        assert {handheld.documents[house["id"]]["grid_id"] for house in made} == {whole.id}
    point = point_of_grid(second, 1)
    with Session(engine_for("zw_worker")) as session:
        territory._map = None
        assert territory.grid_at(session, point["lat"] / 10**7, point["lon"] / 10**7) == whole.id


def test_a_step_may_run_twice_and_go_on_after_a_crash(world: World, old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_moves, "BATCH", 2)
    a = world.handheld()
    ids = []
    for number in range(5):
        house = document(old, address=f"合成路{number}号")
        a.push("house", house)
        ids.append(house["id"])
    drain_jobs()
    whole = NewGrid(free(old, 908), "新")
    change_id = change([old], [whole], whole.id)

    def step(number: int, fault: type[Exception] | None = None) -> None:
        with transaction(engine_for("zw_worker")) as session:
            grid_moves.run_step(session, change_id=change_id, step=number)
            if fault is not None:
                raise fault

    step(1)
    with pytest.raises(RuntimeError):
        step(2, RuntimeError)
    assert one("SELECT moved FROM grid_change WHERE id = :id", id=change_id) == 2
    step(1)
    drain_jobs()
    versions = "SELECT max(version) FROM document_version WHERE document_id = ANY(CAST(:ids AS uuid[]))"
    assert one(versions, ids=ids) == 2, "each was moved once"
    assert one("SELECT moved FROM grid_change WHERE id = :id", id=change_id) == 5


def test_a_case_goes_with_its_record(world: World, old: str) -> None:
    left, right, _, east = halves(old)
    a = world.handheld()
    event = document(old, class_code="0101", occurred_at="2026-03-02T09:30:00+08:00", description="合成", location=east)
    assert a.push("event", event) == []
    drain_jobs()
    case_id = one("SELECT id FROM case_file WHERE source_id = :id", id=event["id"])
    news = [NewGrid(free(old, 909), "西", left), NewGrid(free(old, 910), "东", right)]
    change([old], news, news[0].id)
    drain_jobs()
    assert one("SELECT grid_id FROM case_file WHERE id = :id", id=case_id) == news[1].id
    assert one("SELECT grid_id FROM document WHERE id = :id", id=case_id) == news[1].id


NO_SENSE: list[tuple[str, list[str] | None, NewGrid, str]] = [
    ("no_grids", [], NewGrid("440310001001911", "x"), "440310001001911"),
    ("source_unknown", ["440310001001999"], NewGrid("440310001001911", "x"), "440310001001911"),
    ("default_no_target", None, NewGrid("440310001001911", "x"), "440310001001912"),
    ("community_unknown", None, NewGrid("999999999999911", "x"), "999999999999911"),
    (
        "polygon_bad",
        None,
        NewGrid("440310001001911", "x", {"type": "Point", "coordinates": [1, 2]}),
        "440310001001911",
    ),
    ("polygon_bad", None, NewGrid("440310001001911", "x", {"type": "Polygon"}), "440310001001911"),
    ("worker_unknown", None, NewGrid("440310001001911", "x", None, ["nobody"]), "440310001001911"),
]


def test_a_plan_that_makes_no_sense_changes_nothing(old: str) -> None:
    for because, sources, target, default in NO_SENSE:
        with pytest.raises(GridChangeRefused) as refusal:
            change([old] if sources is None else sources, [target], default)
        assert refusal.value.extra["because"] == because
        assert one("SELECT count(*) FROM grid_change") == 0
        assert one("SELECT count(*) FROM grid WHERE id = :id", id=target.id) == 0


def test_a_grid_is_changed_once_at_a_time(old: str) -> None:
    whole = NewGrid(free(old, 912), "新")
    change([old], [whole], whole.id, hours=1)
    with pytest.raises(GridChangeRefused) as refusal:
        change([old], [NewGrid(free(old, 913), "新")], free(old, 913))
    assert refusal.value.extra == {"because": "changing_already", "what": old}
    with pytest.raises(GridChangeRefused) as refusal:
        change([whole.id], [whole], whole.id)
    assert refusal.value.extra["because"] == "target_exists"


def test_the_command_line_starts_a_change_and_tells_of_it(old: str, tmp_path: Path) -> None:
    plan = {"sources": [old], "targets": [{"id": free(old, 914), "name": "新"}], "default": free(old, 914)}
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan))
    run = CliRunner().invoke
    assert run(app, ["change", str(file), "--hours", "1"]).exit_code == 0
    again = run(app, ["change", str(file)])
    assert (again.exit_code, "changing_already" in again.output) == (1, True)
    file.write_text(json.dumps({**plan, "more": 1}))
    assert run(app, ["change", str(file)]).exit_code == 2
    assert f"['{old}'] → ['{free(old, 914)}']: 已移 moved 0" in run(app, ["status"]).output


def test_a_change_that_is_not_there_is_no_work(database: str) -> None:
    with Session(engine_for("zw_worker")) as session, pytest.raises(jobs.Discard, match="grid_change_unknown"):
        grid_moves.run_step(session, change_id=UUID(int=0), step=1)
