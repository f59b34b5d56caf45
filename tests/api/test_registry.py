"""Handing over a dataset by HTTP: from the upload to the current snapshot, and everything that may go wrong."""

import csv
import io
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import Session

from backend.core.db import engine_for
from backend.core.settings import Settings, get_settings
from backend.seed import synthetic
from backend.seed.drops import flat
from backend.services import registry
from backend.services.registry_specs import SPECS
from backend.tasks import celery
from tests.world import World

Drain = Callable[[], int]


def drop(dataset: str, count: int, *, spoil: bool = False) -> bytes:
    """A file of the first records; `spoil` adds one with an unknown grid."""
    spec = SPECS[dataset]
    lines = [[column.title for column in spec.columns]]
    lines += [flat(spec, synthetic.MAKERS[dataset](index)) for index in range(count)]
    if spoil:
        lines.append([*flat(spec, synthetic.MAKERS[dataset](count))[:-1], "440399999999999"])
    file = io.StringIO()
    csv.writer(file).writerows(lines)
    return file.getvalue().encode()


def hand_over(world: World, dataset: str, content: bytes, *, role: str = "data_steward") -> Any:
    return world.client.post(
        f"/registry/v1/datasets/{dataset}/imports",
        content=content,
        headers={**world.office(role), "Content-Type": "text/csv"},
    )


def current(dataset: str) -> registry.CurrentSnapshot | None:
    with Session(engine_for("zw_worker")) as session:
        return registry.current_snapshots(session).get(dataset)


def test_a_file_that_is_handed_over_becomes_the_current_snapshot(world: World, drain: Drain) -> None:
    answer = hand_over(world, "population", drop("population", 40, spoil=True))
    assert (answer.status_code, answer.json()["state"]) == (202, "loading")
    drain()
    steward = world.office("data_steward")
    found = world.client.get(f"/registry/v1/imports/{answer.json()['snapshot_id']}", headers=steward).json()
    assert (found["state"], found["accepted"], found["rejected"]) == ("current", 40, 1)
    assert found["reasons"] == [{"line": 42, "column": "网格编码", "code": "unknown_grid", "text": "网格编码不存在"}]
    listed = world.client.get("/registry/v1/datasets", headers=steward).json()["datasets"]
    assert {one["code"]: one["current"] for one in listed}["population"] == found


def test_the_steward_reads_the_refused_rows_and_that_is_audited(world: World, drain: Drain) -> None:
    snapshot_id = hand_over(world, "population", drop("population", 3, spoil=True)).json()["snapshot_id"]
    drain()
    steward = world.office("data_steward")
    answer = world.client.get(f"/registry/v1/imports/{snapshot_id}/rejects", headers=steward)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    _, row = csv.reader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert row[0] == "5"
    assert synthetic.person(3)["id_number"] in row
    with Session(engine_for("zw_worker")) as session:
        actions = session.connection().execute(
            text("SELECT action FROM audit_entry WHERE object_id = :id ORDER BY at"), {"id": snapshot_id}
        )
        assert [action for (action,) in actions] == ["dataset_import_requested", "dataset_imported", "rejects_read"]


def test_a_dataset_says_what_its_files_look_like(world: World) -> None:
    listed = world.client.get("/registry/v1/datasets", headers=world.office("data_steward")).json()["datasets"]
    [components] = [one for one in listed if one["code"] == "components"]
    assert components["current"] is None
    assert components["columns"][0] == {
        "title": "部件标识码",
        "alias": None,
        "name": "component_id",
        "required": True,
        "shape": "text",
        "public": True,
        "choices": [],
    }
    states = {column["name"]: column["choices"] for column in components["columns"]}["state"]
    assert states == ["完好", "破损", "丢失", "废弃"]


def test_a_department_registers_a_dataset_and_hands_it_over(world: World, drain: Drain) -> None:
    steward = world.office("data_steward")
    definition = {
        "code": "elevators",
        "name": "电梯登记",
        "department_code": "market-regulation",
        "legal_basis": "示例",
        "grade": "general",
        "refresh_days": 30,
        "key": "device_no",
        "columns": [{"title": "设备代码", "field": "device_no", "public": True}, {"title": "备注", "field": None}],
    }
    answer = world.client.post("/registry/v1/datasets", json=definition, headers=steward)
    assert (answer.status_code, answer.json()["base"], answer.json()["ignored"]) == (201, False, ["备注"])
    hand_over(world, "elevators", "设备代码,备注\r\nD-1,x\r\n".encode())
    drain()
    wanted = {name: definition[name] for name in ("name", "department_code", "legal_basis", "columns")}
    changed = world.client.put(
        "/registry/v1/datasets/elevators", json={**wanted, "grade": "important", "refresh_days": 7}, headers=steward
    ).json()
    assert (changed["grade"], changed["current"]["accepted"]) == ("important", 1)
    due = datetime.fromisoformat(changed["due_at"]) - datetime.fromisoformat(changed["current"]["taken_at"])
    assert due == timedelta(days=7)
    with Session(engine_for("zw_worker")) as session:
        query = text("SELECT action FROM audit_entry WHERE object_id = 'elevators' ORDER BY at")
        assert session.connection().execute(query).scalars().all() == ["dataset_registered", "dataset_changed"]


@pytest.mark.parametrize("role", ["operator", "supervisor", "system_admin", "auditor", "department_handler"])
def test_only_the_data_steward_reads_refused_rows(world: World, drain: Drain, role: str) -> None:
    snapshot_id = hand_over(world, "components", drop("components", 3, spoil=True)).json()["snapshot_id"]
    drain()
    answer = world.client.get(f"/registry/v1/imports/{snapshot_id}/rejects", headers=world.office(role))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("role", ["operator", "supervisor", "auditor", "department_handler"])
def test_other_roles_may_not_hand_over_data(untouched_world: World, role: str) -> None:
    answer = hand_over(untouched_world, "components", drop("components", 1), role=role)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_a_worker_may_not_hand_over_data(untouched_world: World) -> None:
    device = untouched_world.handheld()
    answer = untouched_world.client.post(
        "/registry/v1/datasets/components/imports", content=b"x", headers=device.headers
    )
    assert answer.status_code == 403


def test_an_unknown_dataset_and_an_unknown_import_are_not_found(untouched_world: World) -> None:
    steward = untouched_world.office("data_steward")
    assert hand_over(untouched_world, "vehicles", b"x").status_code == 404
    assert untouched_world.client.get(f"/registry/v1/imports/{uuid4()}", headers=steward).status_code == 404
    assert untouched_world.client.get(f"/registry/v1/imports/{uuid4()}/rejects", headers=steward).status_code == 404


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", "姓名,年龄\n张三,3\n".encode(), "部件".encode("gbk")])
def test_a_wrong_file_fails_and_the_records_there_were_stay(world: World, drain: Drain, content: bytes) -> None:
    hand_over(world, "components", drop("components", 5))
    drain()
    before = current("components")
    answer = hand_over(world, "components", content)
    assert answer.status_code == 202
    drain()
    steward = world.office("data_steward")
    found = world.client.get(f"/registry/v1/imports/{answer.json()['snapshot_id']}", headers=steward).json()
    assert (found["state"], found["failure"], found["accepted"]) == ("failed", "import_header", 0)
    assert before is not None
    assert current("components") == before


def test_a_file_over_the_limit_is_refused_while_it_comes_in(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = world.office("data_steward")
    monkeypatch.setenv("MAX_IMPORT_BYTES", "2048")
    get_settings.cache_clear()
    answer = world.client.post(
        "/registry/v1/datasets/components/imports", content=drop("components", 40), headers=headers
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert current("components") is None


def test_running_the_import_twice_does_it_once(world: World, drain: Drain) -> None:
    snapshot_id = hand_over(world, "components", drop("components", 5)).json()["snapshot_id"]
    drain()
    with Session(engine_for("zw_worker")) as session:
        registry.run_import(session, UUID(snapshot_id))
        session.commit()
        assert session.connection().execute(text("SELECT count(*) FROM business_record")).scalar_one() == 5


@pytest.mark.parametrize(("content", "state"), [(drop("components", 5), "current"), (b"not a table", "failed")])
def test_an_upload_is_kept_until_its_load_has_ended_and_no_longer(
    world: World, drain: Drain, content: bytes, state: str
) -> None:
    snapshot_id = hand_over(world, "components", content).json()["snapshot_id"]
    [upload] = Path(get_settings().state_dir).rglob(f"imports/{snapshot_id}")
    assert upload.is_file()
    drain()
    found = world.client.get(f"/registry/v1/imports/{snapshot_id}", headers=world.office("data_steward")).json()
    assert found["state"] == state
    assert not upload.exists()


def test_an_upload_outlives_a_load_that_broke_off_and_is_loaded_by_the_retry(
    world: World, monkeypatch: pytest.MonkeyPatch, drain: Drain
) -> None:
    snapshot_id = hand_over(world, "components", drop("components", 5)).json()["snapshot_id"]
    with monkeypatch.context() as broken, Session(engine_for("zw_worker")) as session:
        broken.setattr(registry, "load_snapshot", _breaks_off)
        with pytest.raises(ConnectionError):
            registry.run_import(session, UUID(snapshot_id))
    drain()
    found = current("components")
    assert found is not None
    assert found.snapshot_id == UUID(snapshot_id)


def _breaks_off(*_: object, **__: object) -> None:
    raise ConnectionError


def test_the_largest_file_can_be_loaded_before_the_worker_is_ended() -> None:
    bytes_a_second = 1.9e6  # measured on two cores of 2026
    assert Settings.model_fields["max_import_bytes"].default / bytes_a_second < celery.conf.task_time_limit / 2


def test_an_upload_is_never_readable_on_disk(world: World, api: TestClient) -> None:
    hand_over(world, "population", drop("population", 20, spoil=True))
    files = [path for path in Path(get_settings().state_dir).rglob("*") if path.is_file()]
    assert files
    number = synthetic.person(3)["id_number"].encode()
    assert not [path for path in files if number in path.read_bytes()]
