"""A bulk reconciliation as its steward sees it: killed, cancelled, read and drawn; and no value comes to rest."""

import csv
import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import polars as pl
import pytest
from sqlalchemy import text
from sqlmodel import Session

from backend.core.db import engine_for, transaction
from backend.core.enums import ReconciliationPhase
from backend.core.settings import PROJECT_ROOT
from backend.embedded.postgres import EmbeddedPostgres
from tests.conftest import administer
from tests.rooms.crosscheck_builders import GRID
from tests.rooms.reconcile_builders import Town, person, steward
from tests.world import World
from workflows.reconcile import service, steps

Drain = Callable[[], int]
RUNS = "/reconciliations/v1/runs"
VALUES = [str(person(number)[name]) for number in range(1, 9) for name in ("id_number", "phone", "registered_address")]


@pytest.fixture
def town(world: World, tmp_path: Path) -> Town:
    with transaction(engine_for("zw_worker")) as session:
        return Town(session, tmp_path).build()


def call(world: World, method: str, path: str = "", **options: Any) -> Any:
    return world.client.request(method, f"{RUNS}{path}", headers=world.office("data_steward"), **options)


def asked(world: World) -> Any:
    answer = call(world, "POST", json={"dataset": "population", "grids": [GRID]})
    assert answer.status_code == 202, answer.text
    return answer.json()


def rows(query: str) -> list[Any]:
    with Session(engine_for("zw_worker")) as session:
        return list(session.connection().execute(text(query)))


def test_a_run_that_is_killed_goes_on_and_nothing_personal_is_left_anywhere(
    world: World,
    drain: Drain,
    town: Town,
    database: str,
    postgres: EmbeddedPostgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for name in ("TMPDIR", "SQLITE_TMPDIR"):
        monkeypatch.setenv(name, str(scratch))
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    run = asked(world)
    assert (run["state"], run["phase"], run["waiting"]["state"]) == ("running", "keys", "ready")
    early = call(world, "GET", f"/{run['id']}/report")
    assert (early.status_code, early.json()["code"]) == (409, "reconciliation_not_done")

    victim = [sys.executable, "-m", "tests.rooms.reconcile_victim"]
    assert subprocess.run(victim, cwd=PROJECT_ROOT, check=False).returncode == -signal.SIGKILL
    (link,) = rows("SELECT count(*) FROM reconciliation_link WHERE rule = 'probable'")
    assert link[0] == 0, "what the dead worker wrote went with it"
    held = call(world, "GET", f"/{run['id']}").json()
    assert (held["phase"], held["waiting"]["state"]) == ("probable", "running")
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(text("UPDATE job SET lease_until = now() WHERE state = 'running'"))
    drain()

    answer = call(world, "GET", f"/{run['id']}/report")
    report = answer.json()
    assert report["run"]["state"] == "done"
    totals = report["totals"]
    assert [totals[name] for name in ("documents", "by_key", "by_phone", "probable", "absent")] == [6, 2, 1, 2, 1]
    assert (totals["match_rate"], totals["coverage"]) == (0.833333, 0.428571)
    assert {field["field"] for field in report["fields"] if field["differs"]} == {"id_number", "name", "phone"}
    assert [grid["grid_id"] for grid in report["grids"]] == [GRID]
    charts = [call(world, "GET", f"/{run['id']}/charts/{name}") for name in ("outcomes", "coverage", "fields")]
    for chart in charts:
        assert chart.headers["content-type"] == "image/svg+xml"
        assert ET.fromstring(chart.text).tag.endswith("svg")
    listed = call(world, "GET", params={"dataset": "population"})
    assert [one["id"] for one in listed.json()["runs"]] == [run["id"]]

    said = "".join(one.text for one in (answer, listed, *charts)) + json.dumps([run, held])
    assert not [value for value in VALUES if value in said]
    assert list(scratch.iterdir()) == []
    assert not found_on_disk(postgres, database)
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(text("INSERT INTO server_state VALUES ('leak', :it)"), {"it": VALUES[0]})
    assert found_on_disk(postgres, database) == {VALUES[0]}, "the control: a value in the database is found"


def found_on_disk(postgres: EmbeddedPostgres, database: str) -> set[str]:
    """Values of the town in the data files of the database, and in the write-ahead log of all."""
    administer(postgres, "CHECKPOINT")
    (number,) = rows(f"SELECT oid FROM pg_database WHERE datname = '{database}'")
    cluster = postgres.link.resolve()
    found: set[str] = set()
    for path in (*(cluster / "base" / str(number[0])).iterdir(), *files_of(cluster / "pg_wal")):
        content = path.read_bytes()
        found |= {value for value in VALUES if value.encode() in content}
    return found


def files_of(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_file())


def test_a_step_that_runs_while_its_run_is_cancelled_takes_no_effect(
    world: World, drain: Drain, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = steps.STEPS[ReconciliationPhase.RECORDS]

    def interrupted(work: steps.Work) -> str | None:
        cursor = made(work)
        with transaction(engine_for("zw_api")) as session:
            service.cancel(session, caller=steward(session), run_id=work.run.id)
        return cursor

    monkeypatch.setitem(steps.STEPS, ReconciliationPhase.RECORDS, interrupted)
    run = asked(world)
    drain()
    ended = call(world, "GET", f"/{run['id']}").json()
    assert (ended["state"], ended["phase"], ended["waiting"]) == ("cancelled", "records", None)
    assert [tuple(row) for row in rows("SELECT sum(documents), sum(records) FROM reconciliation_grid")] == [(6, 0)]
    assert rows("SELECT 1 FROM job WHERE name = 'workflows.reconcile' AND state <> 'done'") == []
    again = call(world, "POST", f"/{run['id']}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "reconciliation_not_running")
    actions = {row.action for row in rows("SELECT action FROM audit_entry WHERE object_type = 'reconciliation'")}
    assert actions == {"reconciliation_requested", "reconciliation_cancelled"}


def exported(world: World, drain: Drain, **body: Any) -> Any:
    """Ask for an export, have it made and fetch it."""
    headers, why = world.office("data_steward"), {"purpose_code": "quality", "purpose": "合成测试用途"}
    asked_for = world.client.post("/exports/v1", json={**why, **body}, headers=headers)
    if asked_for.status_code != 202:
        return asked_for
    drain()
    return world.client.get(f"/exports/v1/{asked_for.json()['id']}/file", headers=headers)


def test_what_a_run_found_leaves_as_csv_and_as_parquet_under_a_purpose(world: World, drain: Drain, town: Town) -> None:
    run = asked(world)
    links = {"what": "reconciliation_links", "filters": {"reconciliation_id": run["id"]}}
    early = exported(world, drain, **links)
    assert (early.status_code, early.json()["code"]) == (404, "not_found"), "it is not done"
    drain()
    table = exported(world, drain, **links)
    assert table.headers["content-type"].startswith("text/csv")
    mark, titles, *lines = csv.reader(io.StringIO(table.content.decode("utf-8-sig")))
    assert titles == ["grid_id", "document_id", "outcome", "score", "differs", "export_id"]
    outcomes = {line[1]: (line[2], line[4]) for line in lines}
    named = {name: outcomes[str(key)] for name, key in town.documents.items()}
    assert named["exact"] == ("key", "[]")
    assert named["probable"] == ("probable", '["id_number","phone"]')
    assert named["absent"] == ("absent", "")

    file = exported(world, drain, **links, format="parquet")
    assert file.headers["content-type"] == "application/vnd.apache.parquet"
    assert file.headers["content-disposition"].endswith('.parquet"')
    frame = pl.read_parquet(io.BytesIO(file.content))
    assert (frame.columns, frame.height) == (titles, len(lines))
    assert frame.schema["score"] == pl.Float64
    assert pl.read_parquet_metadata(io.BytesIO(file.content))["zhiwang"].startswith(mark[0][:40])
    grids = exported(world, drain, what="reconciliation_grids", filters=links["filters"], format="parquet")
    (counted,) = pl.read_parquet(io.BytesIO(grids.content)).to_dicts()
    assert (counted["grid_id"], counted["documents"], counted["records_linked"]) == (GRID, 6, 3)
    content = table.content + file.content + grids.content
    assert not [value for value in VALUES if value.encode() in content]


@pytest.mark.parametrize(
    "body", [{"what": "reconciliation_links"}, {"what": "cases", "filters": {"reconciliation_id": GRID}}]
)
def test_a_run_is_named_for_reconciliations_and_for_nothing_else(untouched_world: World, body: dict[str, Any]) -> None:
    answer = exported(untouched_world, int, **body)
    assert answer.status_code == 422
