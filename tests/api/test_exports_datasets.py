"""Datasets of departments leave as exports: of general data, masked, harmless, and below the account's territory."""

from typing import Any

import pytest

from backend.core.db import engine_for, transaction
from backend.seed.territory import grids
from backend.services.sealing import destroy_keys, human
from tests.api.test_exports import Drain, ask, made, narrow
from tests.rooms.crosscheck_builders import GRID, LI, ZHANG
from tests.tables import csv_text
from tests.world import World

COLUMNS = {
    "id_type": "证件种类",
    "id_number": "证件号",
    "name": "姓名",
    "grid_id": "网格",
    "permit": "证号",
    "note": "备注",
}
PERMITS: dict[str, Any] = {
    "name": "居住登记（合成）",
    "department_code": "public-security",
    "legal_basis": "示例",
    "grade": "general",
    "columns": [{"title": title, "field": field, "public": field == "permit"} for field, title in COLUMNS.items()],
}


def far_away() -> str:
    return next(grid.id for grid in grids() if grid.id[:6] != GRID[:6])


@pytest.fixture
def permits(world: World, drain: Drain) -> World:
    """People of two districts, and one who lies in no grid; the number of the first permit looks like a formula."""
    steward = world.office("data_steward")
    registered = {**PERMITS, "code": "permits", "kind": "person"}
    assert world.client.post("/registry/v1/datasets", json=registered, headers=steward).status_code == 201
    lines = [list(COLUMNS.values())]
    lines.append(["居民身份证", ZHANG["id_number"], "张三丰", GRID, "=1+1", "合成"])
    lines.append(["居民身份证", LI["id_number"], "李梅", far_away(), "P-2", ""])
    lines.append(["护照", "E00000000", "王五", "", "P-3", ""])
    path = "/registry/v1/datasets/permits/imports"
    headers = {**steward, "Content-Type": "text/csv"}
    assert world.client.post(path, content=csv_text(lines).encode(), headers=headers).status_code == 202
    drain()
    return world


def table(**more: Any) -> dict[str, Any]:
    return {"what": "dataset", "filters": {"dataset": "permits", **more}}


def test_a_dataset_leaves_masked_and_harmless(permits: World, drain: Drain) -> None:
    _, titles, *lines = made(permits, drain, "data_steward", **table())
    assert titles == [*COLUMNS, "export_id"]
    assert sorted(line[:-1] for line in lines) == [
        ["citizen_id", "1101**********1249", "李*", far_away(), "P-2", ""],
        ["citizen_id", "1101**********2316", "张**", GRID, "'=1+1", "***"],
        ["passport", "E0*****00", "王*", "", "P-3", ""],
    ]


def test_only_what_is_of_the_accounts_territory_leaves(permits: World, drain: Drain) -> None:
    one = made(permits, drain, "data_steward", **table(grid_prefix=GRID), fields=["permit"])[2:]
    assert [line[0] for line in one] == ["'=1+1"]
    asked = ask(permits, "data_steward", **table())
    for territory, expected in ((GRID[:4], {GRID, far_away(), ""}), (GRID[:6], {GRID})):
        narrow(asked.json()["requested_by"], territory)
        here = made(permits, drain, "data_steward", **table(), fields=["grid_id"])[2:]
        assert {line[0] for line in here} == expected


def test_who_was_erased_is_left_out(permits: World, drain: Drain) -> None:
    with transaction(engine_for("zw_worker")) as session:
        destroy_keys(session, [human(LI["id_type"], LI["id_number"])])
    assert len(made(permits, drain, "data_steward", **table())[2:]) == 2


def test_important_data_do_not_leave(permits: World, drain: Drain) -> None:
    asked = ask(permits, "data_steward", **table()).json()
    steward = permits.office("data_steward")
    graded = {**PERMITS, "grade": "important"}
    assert permits.client.put("/registry/v1/datasets/permits", json=graded, headers=steward).status_code == 200
    answer = ask(permits, "data_steward", **table())
    assert (answer.status_code, answer.json()["code"], answer.json()["grade"]) == (409, "export_grade", "important")
    drain()
    done = permits.client.get(f"/exports/v1/{asked['id']}", headers=steward).json()
    assert (done["state"], done["rows"]) == ("ready", 0), "what was asked before is made by the grade of now"
    base = ask(permits, "data_steward", what="dataset", filters={"dataset": "population"})
    assert base.json()["code"] == "export_grade"


def test_who_looks_no_record_up_exports_none(untouched_world: World) -> None:
    for role, status in (("supervisor", 403), ("department_handler", 403), ("data_steward", 404)):
        answer = ask(untouched_world, role, what="dataset", filters={"dataset": "no-such-set"})
        assert answer.status_code == status, (role, answer.text)
    for wrong in ({"what": "dataset"}, {"what": "verdicts", "filters": {"dataset": "permits"}}):
        assert ask(untouched_world, "data_steward", **wrong).json()["code"] == "malformed"
