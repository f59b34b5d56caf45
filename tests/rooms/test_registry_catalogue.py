"""Datasets that departments register: described, loaded, found and erased as the base ones are."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import text
from sqlmodel import Session, select

from backend.core.enums import ImportState
from backend.core.errors import NotFound
from backend.kinds import identity_of
from backend.models import BusinessRecord, Recheck
from backend.seed import synthetic
from backend.services import records, registry, registry_catalogue
from backend.services.registry_catalogue import DatasetDefinitionUnfit, DatasetExists, DatasetInUse
from backend.services.registry_schemas import DatasetChange, DatasetDefinition
from backend.services.sealing import destroy_keys, human
from tests.tables import csv_text

Columns = list[dict[str, Any]]

ELEVATORS: Columns = [
    {"title": "设备代码", "field": "device_no", "public": True},
    {"title": "下次检验", "field": "next_check", "shape": "date", "public": True},
    {"title": "层数", "field": "floors", "shape": "integer"},
    {"title": "状态", "field": "state", "choices": {"在用": "used", "停用": "stopped"}},
    {"title": "安全管理员", "field": "keeper"},
    {"title": "备注", "field": None},
]
PERMITS: Columns = [
    {"title": "证件种类", "field": "id_type"},
    {"title": "证件号", "field": "id_number"},
    {"title": "姓名", "field": "name"},
    {"title": "电话", "field": "phone"},
    {"title": "居住证签发", "field": "issued", "shape": "date"},
]


def described(columns: Columns, **other: Any) -> dict[str, Any]:
    return {
        "name": "电梯登记",
        "department_code": "market-regulation",
        "legal_basis": "示例",
        "grade": "general",
        "columns": columns,
        **other,
    }


def register(session: Session, columns: Columns, **other: Any) -> None:
    definition = DatasetDefinition.model_validate(described(columns, **other))
    registry_catalogue.register(session, definition, actor="test")


def change(session: Session, code: str, columns: Columns, **other: Any) -> None:
    wanted = DatasetChange.model_validate(described(columns, **other))
    registry_catalogue.change(session, code, wanted, actor="test")


def load(session: Session, path: Path, code: str, lines: list[list[str]]) -> Any:
    path.write_text(csv_text(lines), encoding="utf-8", newline="")
    return registry.import_path(session, code, path, actor="test")


def test_a_dataset_of_a_departments_own_is_loaded_and_found(session: Session, tmp_path: Path) -> None:
    register(session, ELEVATORS, code="elevators", key="device_no")
    lines = [
        [column["title"] for column in ELEVATORS],
        ["D-1", "2027-01-31", "33", "在用", "张三", "不读"],
        ["D-2", "2027-02-30", "33", "在用", "", ""],
        ["D-1", "", "", "", "", ""],
        ["D-3", "", "x", "", "", ""],
        ["D-4", "", "", "拆除", "", ""],
        ["", "", "", "", "", ""],
        ["D-5", "", "7", "stopped", "", "不读"],
        ["D-6", "", "", "", "", ""],
        ["D-7", "", "", "", "", ""],
        ["D-8", "", "", "", "", ""],
    ]
    snapshot = load(session, tmp_path / "e.csv", "elevators", lines)
    assert snapshot.state is ImportState.CURRENT
    assert [(reason["line"], reason["column"], reason["code"]) for reason in snapshot.reasons] == [
        (3, "下次检验", "malformed"),
        (4, "设备代码", "duplicate_key"),
        (5, "层数", "malformed"),
        (6, "状态", "unknown_choice"),
        (7, "设备代码", "required"),
    ]
    found = registry.find_by_keys(session, "elevators", ["D-1", "D-5"])
    assert found["D-1"].fields == {
        "device_no": "D-1",
        "next_check": "2027-01-31",
        "floors": 33,
        "state": "used",
        "keeper": "张三",
    }
    assert found["D-5"].fields == {"device_no": "D-5", "floors": 7, "state": "stopped"}
    [stored] = session.exec(select(BusinessRecord).where(BusinessRecord.record_key == "D-1")).all()
    assert stored.body == {"device_no": "D-1", "next_check": "2027-01-31"}
    assert "elevators" in [dataset.code for dataset, _ in registry.datasets(session)]
    assert session.exec(select(Recheck)).all() == []


def test_a_key_that_is_not_public_is_kept_as_a_blind_index(session: Session, tmp_path: Path) -> None:
    register(
        session, [{"title": "手机", "field": "mobile"}, {"title": "档", "field": "tier"}], code="vips", key="mobile"
    )
    load(session, tmp_path / "v.csv", "vips", [["手机", "档"], ["13800138000", "甲"]])
    stored = session.connection().execute(text("SELECT string_agg(r::text, '') FROM business_record r")).scalar_one()
    assert "13800138000" not in stored
    [record] = session.exec(select(BusinessRecord)).all()
    [found] = registry.find_by_keys(session, "vips", [record.record_key]).values()
    assert found.fields == {"mobile": "13800138000", "tier": "甲"}


def test_a_dataset_about_people_is_theirs_and_goes_with_them(session: Session, tmp_path: Path) -> None:
    register(session, PERMITS, code="permits", kind="person", department_code="public-security")
    people = [synthetic.person(index) for index in range(3)]
    wrong = people[2]["id_number"][:-1] + ("0" if people[2]["id_number"][-1] != "0" else "1")
    lines = [[column["title"] for column in PERMITS]]
    lines += [["居民身份证", one["id_number"], one["name"], one["phone"], "2026-01-02"] for one in people]
    lines.append(["居民身份证", wrong, "测试", "", ""])
    snapshot = load(session, tmp_path / "p.csv", "permits", lines)
    assert (snapshot.accepted, snapshot.reasons[0]["code"]) == (3, "check_digit")
    identity = identity_of(people[1])
    assert identity is not None
    key = records.id_index(identity).hex()
    assert registry.find_by_keys(session, "permits", [key])[key].fields["issued"] == "2026-01-02"
    destroy_keys(session, [human(identity.id_type, identity.id_number)])
    assert registry.find_by_keys(session, "permits", [key])[key].fields == {}
    assert load(session, tmp_path / "p.csv", "permits", lines).accepted == 2
    assert "permits" in registry_catalogue.human_datasets(session)
    assert "permits" in registry_catalogue.naming_datasets(session)


def test_a_base_dataset_understands_what_its_department_calls_the_columns(session: Session, tmp_path: Path) -> None:
    columns: Columns = [{"title": "编号", "field": "component_id"}, {"title": "巡查人", "field": None}]
    change(session, "components", columns, department_code="urban-management")
    made = synthetic.component(0)
    header = ["编号", "部件类别", "巡查人", "纬度", "经度", "网格编码"]
    cells = [made["component_id"], made["class_code"], "张三", "22.5", "114.0", made["grid_id"]]
    assert load(session, tmp_path / "c.csv", "components", [header, cells]).accepted == 1
    [found] = registry.find_by_keys(session, "components", [made["component_id"]]).values()
    assert "张三" not in str(found.fields)
    assert found.fields["location"]["lat"] == 225000000


@pytest.mark.parametrize(
    ("fault", "columns", "other"),
    [
        ("department", ELEVATORS, {"key": "device_no", "department_code": "nobody"}),
        ("title_twice", [*ELEVATORS, {"title": "层数", "field": "x"}], {"key": "device_no"}),
        ("field_twice", [*ELEVATORS, {"title": "楼层", "field": "floors"}], {"key": "device_no"}),
        ("key", ELEVATORS, {"key": "number"}),
        ("key", ELEVATORS, {"key": None}),
        ("key", PERMITS[1:], {"kind": "person"}),
        ("key", PERMITS, {"kind": "person", "key": "id_number"}),
        ("key_missing", ELEVATORS, {"kind": "house", "key": "house_code"}),
        ("parts", [*ELEVATORS, {"title": "x", "field": "owner.name"}], {"key": "device_no"}),
        ("parts", [*ELEVATORS, {"title": "x", "field": "location.lat"}], {"key": "device_no"}),
        ("compound", [*ELEVATORS, {"title": "x", "field": "location"}], {"key": "device_no"}),
        ("public_personal", [*PERMITS[:2], {**PERMITS[2], "public": True}], {"kind": "person"}),
        ("grade", ELEVATORS, {"key": "device_no", "grade": "core"}),
    ],
)
def test_a_dataset_that_does_not_fit_together_is_refused(
    session: Session, fault: str, columns: Columns, other: dict[str, Any]
) -> None:
    with pytest.raises(DatasetDefinitionUnfit) as refused:
        register(session, columns, code="elevators", **other)
    assert refused.value.extra == {"fault": fault}


@pytest.mark.parametrize("columns", [[{"title": "x", "field": "no_such"}], [{"title": "状态", "field": None}]])
def test_columns_that_a_base_dataset_does_not_have_are_refused(session: Session, columns: Columns) -> None:
    with pytest.raises(DatasetDefinitionUnfit):
        change(session, "components", columns)


@pytest.mark.parametrize("field", ["Name", "a b", "x.y.z", "x-y", "", "名", "a\n"])
def test_a_field_has_a_plain_name(field: str) -> None:
    with pytest.raises(ValidationError):
        DatasetDefinition.model_validate(described([{"title": "x", "field": field}], code="things", key=field))


def test_what_was_loaded_keeps_its_fields_and_may_get_more(session: Session, tmp_path: Path) -> None:
    register(session, ELEVATORS, code="elevators", key="device_no")
    lines = [[column["title"] for column in ELEVATORS], ["D-1", "", "", "", "", ""]]
    load(session, tmp_path / "e.csv", "elevators", lines)
    first = registry.current_snapshots(session)["elevators"]
    for columns in (
        ELEVATORS[:-2],
        [{**ELEVATORS[0], "public": False}, *ELEVATORS[1:]],
        [ELEVATORS[0], {**ELEVATORS[1], "shape": "text"}, *ELEVATORS[2:]],
    ):
        with pytest.raises(DatasetInUse), session.begin_nested():
            change(session, "elevators", columns)
    change(session, "elevators", [*ELEVATORS, {"title": "载重", "field": "load_kg", "shape": "integer"}])
    assert registry.current_snapshots(session)["elevators"] == first
    assert load(session, tmp_path / "e.csv", "elevators", [[*lines[0], "载重"], [*lines[1], "800"]]).accepted == 1


def test_a_code_is_taken_once(session: Session) -> None:
    register(session, ELEVATORS, code="elevators", key="device_no")
    for code in ("elevators", "population"):
        with pytest.raises(DatasetExists):
            register(session, ELEVATORS, code=code, key="device_no")
    with pytest.raises(NotFound):
        change(session, "lifts", ELEVATORS)
