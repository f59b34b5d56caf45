"""Importing business records and finding them again, on real PostgreSQL."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from backend.core.db import engine_for, transaction
from backend.core.enums import ImportState
from backend.core.errors import NotFound
from backend.kinds import identity_of
from backend.models import BusinessRecord, Dataset, Snapshot
from backend.seed import synthetic
from backend.seed.drops import bad_rows, flat, write_drops
from backend.services import population, records, registry, registry_load
from backend.services.records import Indexes
from backend.services.registry_specs import SPECS
from backend.services.sealing import destroy_keys, human, open_value, seal_value
from tests.tables import FORMATS, PACKED

Lines = list[list[str]]
Drop = Callable[..., Path]

PEOPLE = SPECS["population"]


def lines_of(dataset: str, indexes: Sequence[int]) -> Lines:
    spec = SPECS[dataset]
    return [[column.title for column in spec.columns], *(flat(spec, synthetic.MAKERS[dataset](i)) for i in indexes)]


@pytest.fixture
def drop(tmp_path: Path) -> Drop:
    def write(lines: Lines, name: str = "drop.csv") -> Path:
        path = tmp_path / name
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(lines)
        return path

    return write


def load(session: Session, dataset: str, path: Path) -> Snapshot:
    return registry.import_path(session, dataset, path, actor="test")


def keys_of(person: dict[str, Any]) -> Indexes:
    return records.human_indexes(person)


@pytest.mark.parametrize("dataset", sorted(SPECS))
def test_every_field_of_a_drop_is_found_again(session: Session, drop: Drop, dataset: str) -> None:
    snapshot = load(session, dataset, drop(lines_of(dataset, range(30))))
    assert (snapshot.state, snapshot.accepted, snapshot.rejected) == (ImportState.CURRENT, 30, 0)
    originals = [synthetic.MAKERS[dataset](index) for index in range(30)]
    key = SPECS[dataset].key
    keys = [one[key] if key else (keys_of(one).id_index or b"").hex() for one in originals]
    found = registry.find_by_keys(session, dataset, keys)
    assert [found[k].fields for k in keys] == originals
    assert {one.snapshot_id for one in found.values()} == {snapshot.id}


def test_the_bad_rows_of_every_drop_are_refused_with_line_and_reason(session: Session, tmp_path: Path) -> None:
    drops = write_drops(tmp_path, 0.001, lambda *_: None)
    seen: set[str] = set()
    for code, spec in SPECS.items():
        snapshot = load(session, code, drops[code])
        assert snapshot.state is ImportState.CURRENT
        assert snapshot.accepted == synthetic.count_of(code, 0.001)
        assert snapshot.rejected == len(bad_rows(spec))
        first = min(20, synthetic.count_of(code, 0.001)) + 2
        assert [reason["line"] for reason in snapshot.reasons] == list(range(first, first + len(bad_rows(spec))))
        seen |= {reason["code"] for reason in snapshot.reasons}
    assert seen == {
        "required",
        "unknown_grid",
        "cell_count",
        "too_long",
        "duplicate_key",
        "check_digit",
        "malformed",
    }


def place_of(name: str) -> int:
    return next(n for n, column in enumerate(PEOPLE.columns) if column.name == name)


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("id_type", "户口本复印件", "unknown_choice"),
        ("id_number", "440303194501010001", "check_digit"),
        ("id_number", "44030319450101", "check_digit"),
        ("name", "   ", "required"),
        ("birth_date", "1999-2-3", "malformed"),
        ("birth_date", "1999-02-30", "malformed"),
        ("phone", "12345", "malformed"),
        ("house_code", "4403", "malformed"),
        ("grid_id", "440310001001099", "unknown_grid"),
        ("name", "张\0三", "bad_character"),
    ],
)
def test_a_bad_cell_is_refused_and_its_neighbours_are_not(
    session: Session, drop: Drop, column: str, value: str, code: str
) -> None:
    lines = lines_of("population", range(5))
    lines[3][place_of(column)] = value
    snapshot = load(session, "population", drop(lines))
    assert (snapshot.accepted, snapshot.rejected) == (4, 1)
    expected_title = "" if code == "bad_character" else PEOPLE.columns[place_of(column)].title
    assert snapshot.reasons == [{"line": 4, "column": expected_title, "code": code}]


def test_places_out_of_bounds_and_numbers_that_are_none_are_refused(session: Session, drop: Drop) -> None:
    lines = lines_of("houses", range(8))
    latitude = lines[0].index("纬度")
    for line, value in zip(lines[1:5], ("91", "NaN", "inf", "north"), strict=True):
        line[latitude] = value
    lines[5][latitude] = ""
    snapshot = load(session, "houses", drop([*lines, *lines_of("houses", range(8, 20))[1:]]))
    assert [reason["code"] for reason in snapshot.reasons] == [
        "out_of_bounds",
        "out_of_bounds",
        "out_of_bounds",
        "malformed",
        "required",
    ]
    assert snapshot.accepted == 15


def test_a_wrong_credit_code_is_refused(session: Session, drop: Drop) -> None:
    lines = lines_of("organisations", range(4))
    code = lines[2][0]
    lines[2][0] = code[:-1] + ("A" if code[-1] != "A" else "B")
    snapshot = load(session, "organisations", drop(lines))
    assert snapshot.reasons == [{"line": 3, "column": "统一社会信用代码", "code": "check_digit"}]


def test_rows_over_several_lines_are_counted_where_they_begin(session: Session, drop: Drop) -> None:
    lines = lines_of("population", range(5))
    lines[1][place_of("registered_address")] = "第一行\n第二行\n第三行"
    lines[2][place_of("registered_address")] = "第一行\n第二行"
    lines[2][place_of("grid_id")] = "1"
    snapshot = load(session, "population", drop(lines))
    assert [reason["line"] for reason in snapshot.reasons] == [5]


def test_bytes_that_are_no_utf8_cost_their_row_only(session: Session, drop: Drop) -> None:
    path = drop(lines_of("population", range(5)))
    content = path.read_bytes().split(b"\r\n")
    content[2] = content[2].replace("居民身份证".encode(), "居民身份证".encode("gbk"))
    path.write_bytes(b"\r\n".join(content))
    snapshot = load(session, "population", path)
    assert snapshot.reasons == [{"line": 3, "column": "", "code": "bad_character"}]
    assert snapshot.accepted == 4


def test_field_names_are_understood_as_well_as_chinese_titles_in_any_order(session: Session, drop: Drop) -> None:
    _, *rows = lines_of("components", range(3))
    names = [column.name for column in SPECS["components"].columns]
    snapshot = load(session, "components", drop([names[::-1], *(row[::-1] for row in rows)]))
    assert snapshot.accepted == 3


@pytest.mark.parametrize("change", ["missing", "unknown", "twice", "empty"])
def test_a_wrong_header_fails_the_load_and_says_why(session: Session, drop: Drop, change: str) -> None:
    lines = lines_of("components", range(3))
    if change == "missing":
        lines = [line[1:] for line in lines]
    elif change == "unknown":
        lines[0][1] = "备用"
    elif change == "twice":
        lines[0][1] = lines[0][0]
    else:
        lines = []
    snapshot = load(session, "components", drop(lines))
    assert (snapshot.state, snapshot.failure) == (ImportState.FAILED, "import_header")


def test_a_failed_load_leaves_the_records_there_were(session: Session, drop: Drop) -> None:
    good = load(session, "components", drop(lines_of("components", range(10))))
    spoilt = lines_of("components", range(10))
    for line in spoilt[1:8]:
        line[-1] = "1"
    bad = load(session, "components", drop(spoilt))
    assert (bad.state, bad.failure, bad.accepted, bad.rejected) == (
        ImportState.FAILED,
        "import_mostly_rejected",
        0,
        7,
    )
    empty = load(session, "components", drop(lines_of("components", [])))
    assert (empty.state, empty.failure) == (ImportState.FAILED, "import_empty")
    assert registry.current_snapshots(session)["components"].snapshot_id == good.id
    key = synthetic.component(4)["component_id"]
    assert registry.find_by_keys(session, "components", [key])[key].snapshot_id == good.id
    rows = session.exec(select(BusinessRecord.snapshot_id).distinct()).all()
    assert set(rows) == {good.id}


@pytest.mark.parametrize("name", ["gb18030", "json lines", "workbook", "parquet"])
def test_a_dataset_is_loaded_from_every_format(session: Session, tmp_path: Path, name: str) -> None:
    lines = lines_of("houses", range(6))
    lines[3][-1] = "1"
    path = tmp_path / "file"
    path.write_bytes(FORMATS[name](lines))
    snapshot = load(session, "houses", path)
    assert (snapshot.state, snapshot.accepted) == (ImportState.CURRENT, 5)
    line = 3 if name in ("json lines", "parquet") else 4
    assert snapshot.reasons == [{"line": line, "column": "网格编码", "code": "malformed"}]
    houses = [synthetic.house(index) for index in (0, 1, 3, 4, 5)]
    found = registry.find_by_keys(session, "houses", [house["house_code"] for house in houses])
    assert [found[house["house_code"]].fields for house in houses] == houses
    rejects = b"".join(registry.rejects_of(session, snapshot.id, actor="test")).decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(rejects)))[1][3:] == lines[3]


@pytest.mark.parametrize("name", ["gb18030", "json lines", "workbook", "parquet"])
def test_half_a_file_leaves_the_records_there_were(session: Session, tmp_path: Path, drop: Drop, name: str) -> None:
    good = load(session, "components", drop(lines_of("components", range(5))))
    content = FORMATS[name](lines_of("components", range(9)))
    path = tmp_path / "half"
    path.write_bytes(content[: len(content) * 2 // 3])
    snapshot = load(session, "components", path)
    expected = "import_unreadable" if name in PACKED else "import_truncated"
    assert (snapshot.state, snapshot.failure, snapshot.accepted) == (ImportState.FAILED, expected, 0)
    if name not in PACKED:
        assert snapshot.reasons == [{"line": 7, "column": "", "code": "cut_off"}]
    assert registry.current_snapshots(session)["components"].snapshot_id == good.id
    assert set(session.exec(select(BusinessRecord.snapshot_id)).all()) == {good.id}


def test_half_the_rows_or_a_column_less_are_taken_for_half_a_file_unless_meant(session: Session, drop: Drop) -> None:
    lines = lines_of("components", range(10))
    good = load(session, "components", drop(lines))
    state = lines[0].index("状态")
    narrow = drop([line[:state] + line[state + 1 :] for line in lines])
    for path, reasons in (
        (narrow, [{"line": 0, "column": "状态", "code": "vanished_column"}]),
        (drop(lines[:5], "short.csv"), []),
    ):
        bad = load(session, "components", path)
        assert (bad.state, bad.failure, bad.reasons) == (ImportState.FAILED, "import_shrunk", reasons)
    assert registry.current_snapshots(session)["components"].snapshot_id == good.id
    meant = registry.import_path(session, "components", narrow, actor="test", fewer=True)
    assert (meant.state, meant.accepted) == (ImportState.CURRENT, 10)
    assert load(session, "components", narrow).state is ImportState.CURRENT


def test_a_file_without_a_header_names_nobody(session: Session, drop: Drop) -> None:
    snapshot = load(session, "population", drop(lines_of("population", range(2))[1:]))
    assert snapshot.failure == "import_header"
    places = [{"line": 1, "column": f"第{n}列", "code": "unknown_column"} for n in range(1, len(PEOPLE.columns) + 1)]
    missing = [column.title for column in PEOPLE.columns if column.required]
    assert snapshot.reasons == places + [{"line": 1, "column": title, "code": "missing_column"} for title in missing]


def test_who_was_erased_is_not_imported_again(session: Session, drop: Drop) -> None:
    people = [synthetic.person(index) for index in range(4)]
    identity = identity_of(people[2])
    assert identity is not None
    destroy_keys(session, [human(identity.id_type, identity.id_number)])
    snapshot = load(session, "population", drop(lines_of("population", range(4))))
    assert (snapshot.accepted, snapshot.rejected) == (3, 1)
    assert snapshot.reasons == [{"line": 4, "column": "证件号码", "code": "erased"}]
    assert population.find_person(session, Indexes(id_index=records.id_index(identity))) == []
    rejects = b"".join(registry.rejects_of(session, snapshot.id, actor="test")).decode()
    assert "erased" in rejects
    assert people[2]["name"] not in rejects
    assert people[2]["id_number"] not in rejects


def test_a_house_stays_without_its_erased_owner(session: Session, drop: Drop) -> None:
    houses = [synthetic.MAKERS["houses"](index) for index in range(20)]
    owned = next(house for house in houses if identity_of(house.get("owner") or {}))
    identity = identity_of(owned["owner"])
    assert identity is not None
    destroy_keys(session, [human(identity.id_type, identity.id_number)])
    assert load(session, "houses", drop(lines_of("houses", range(20)))).rejected == 0
    found = registry.find_by_keys(session, "houses", [owned["house_code"]])[owned["house_code"]].fields
    assert found == {name: value for name, value in owned.items() if name != "owner"}


def test_an_interrupted_load_leaves_nothing(session: Session, drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    good = load(session, "components", drop(lines_of("components", range(10))))

    def break_off(*_: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(registry_load, "_swap", break_off)
    with pytest.raises(ConnectionError), session.begin_nested():
        load(session, "components", drop(lines_of("components", range(20))))
    assert registry.current_snapshots(session)["components"].snapshot_id == good.id
    count = session.connection().execute(text("SELECT count(*) FROM business_record")).scalar_one()
    assert count == 10


def test_who_is_in_a_file_that_is_being_loaded_can_be_written_about_meanwhile(database: str, drop: Drop) -> None:
    identity = identity_of(synthetic.person(3))
    assert identity is not None
    subject = human(identity.id_type, identity.id_number)
    written = []

    def meanwhile(*_: int) -> None:
        with transaction(engine_for("zw_api")) as other:
            other.connection().execute(text("SET LOCAL lock_timeout = '500ms'"))
            written.append(seal_value(other, subject, "核实", context=b"meanwhile"))

    with transaction(engine_for("zw_worker")) as session:
        path = drop(lines_of("population", range(10)))
        snapshot = registry.import_path(session, "population", path, actor="test", progress=meanwhile)
        assert (snapshot.state, snapshot.accepted) == (ImportState.CURRENT, 10)
    with transaction(engine_for("zw_worker")) as session:
        assert [open_value(session, blob, context=b"meanwhile") for blob in written] == ["核实"]
        [found] = population.find_person(session, Indexes(id_index=records.id_index(identity)))
        assert found.fields == synthetic.person(3)


def test_readers_see_the_new_snapshot_only_and_one_older_is_kept(session: Session, drop: Drop) -> None:
    loads = []
    for n in (0, 3, 6):
        loads.append(load(session, "components", drop(lines_of("components", range(n, n + 5)))))
        # Entries were looked for meanwhile: a snapshot that is still compared is kept, see test_recheck.py.
        session.connection().execute(text("UPDATE recheck SET state = 'done'"))
    keys = [synthetic.component(index)["component_id"] for index in range(12)]
    found = registry.find_by_keys(session, "components", keys)
    assert found.keys() == set(keys[6:11])
    kept = session.exec(select(BusinessRecord.snapshot_id).distinct()).all()
    assert set(kept) == {loads[1].id, loads[2].id}
    assert [one.state for one in loads] == [ImportState.SUPERSEDED, ImportState.SUPERSEDED, ImportState.CURRENT]


def test_people_are_found_by_any_of_their_keys_each_for_who_asked(session: Session, drop: Drop) -> None:
    load(session, "population", drop(lines_of("population", range(60))))
    a, b, c = (synthetic.person(index) for index in (5, 6, 7))
    wanted = [
        Indexes(id_index=keys_of(a).id_index),
        Indexes(phone_index=keys_of(b).phone_index),
        Indexes(block_index=keys_of(c).block_index),
        Indexes(),
        keys_of(synthetic.person(99)),
    ]
    found = population.find_people(session, wanted)
    assert [[one.fields for one in some] for some in found] == [[a], [b], [c], [], []]
    assert [one.fields for one in population.find_person(session, Indexes(phone_index=keys_of(b).phone_index))] == [b]


def test_what_belongs_to_an_erased_person_is_missing(session: Session, drop: Drop) -> None:
    load(session, "population", drop(lines_of("population", [0])))
    load(session, "houses", drop(lines_of("houses", [0])))
    home = synthetic.house(0)
    identity = identity_of(home["owner"])
    assert identity == identity_of(synthetic.person(0))
    assert identity is not None
    # The worker's role may not delete keys; a key that answers to another subject is as good as gone.
    session.connection().execute(
        text("UPDATE subject_key SET subject_id = :other WHERE subject_id = :subject"),
        {"subject": human(identity.id_type, identity.id_number), "other": b"gone"},
    )
    found = registry.find_by_keys(session, "houses", [home["house_code"]])[home["house_code"]]
    assert found.fields == {name: value for name, value in home.items() if name != "owner"}
    [person] = population.find_person(session, Indexes(id_index=records.id_index(identity)))
    assert person.fields == {"grid_id": home["grid_id"]}


def test_nothing_personal_is_stored_readable(session: Session, drop: Drop) -> None:
    for code in SPECS:
        load(session, code, drop(lines_of(code, range(20))))
    stored = session.connection().execute(
        text(
            "SELECT string_agg(r::text, '') || (SELECT string_agg(s::text, '') FROM snapshot s) FROM business_record r"
        )
    )
    dump = stored.scalar_one()
    for one in (synthetic.person(index) for index in range(20)):
        for name in ("name", "id_number", "phone", "birth_date"):
            assert one[name] not in dump
    for one in (synthetic.house(index) for index in range(20)):
        assert one["owner"]["id_number"] not in dump
        assert str(one["location"]["lat"]) not in dump


def test_a_record_sealed_for_one_row_does_not_open_in_another(session: Session, drop: Drop) -> None:
    from backend.core.crypto import Undecipherable

    load(session, "population", drop(lines_of("population", range(2))))
    session.connection().execute(
        text(
            "UPDATE business_record a SET sealed = b.sealed FROM business_record b "
            "WHERE a.line = 2 AND b.line = 3 AND a.snapshot_id = b.snapshot_id"
        )
    )
    with pytest.raises(Undecipherable):
        population.find_person(session, Indexes(id_index=keys_of(synthetic.person(0)).id_index))


def test_the_reject_file_holds_the_rows_as_they_came_and_no_formula(session: Session, drop: Drop) -> None:
    lines = lines_of("components", range(4))
    lines[2][2], lines[2][-1] = "=HYPERLINK(1)", "1"
    snapshot = load(session, "components", drop(lines))
    content = b"".join(registry.rejects_of(session, snapshot.id, actor="test")).decode("utf-8-sig")
    header, row = csv.reader(io.StringIO(content))
    assert header == ["行号", "字段", "原因", *lines[0]]
    assert row == ["3", "网格编码", "格式不正确 malformed", *lines[2][:2], "'=HYPERLINK(1)", *lines[2][3:]]


def test_a_load_without_refused_rows_has_no_reject_file(session: Session, drop: Drop) -> None:
    snapshot = load(session, "components", drop(lines_of("components", range(4))))
    with pytest.raises(NotFound):
        registry.rejects_of(session, snapshot.id, actor="test")


def test_an_unknown_dataset_is_not_found(session: Session, drop: Drop) -> None:
    with pytest.raises(NotFound):
        load(session, "vehicles", drop(lines_of("components", range(4))))


def test_each_load_writes_one_audit_entry_with_counts(session: Session, drop: Drop) -> None:
    snapshot = load(session, "components", drop(lines_of("components", range(4))))
    rows = session.connection().execute(
        text("SELECT action, detail FROM audit_entry WHERE object_id = :id"), {"id": str(snapshot.id)}
    )
    assert [tuple(row) for row in rows] == [
        ("dataset_imported", {"dataset": "components", "accepted": 4, "rejected": 0, "failure": None})
    ]


def test_datasets_name_their_current_load(session: Session, drop: Drop) -> None:
    snapshot = load(session, "components", drop(lines_of("components", range(4))))
    current = {dataset.code: found for dataset, found in registry.datasets(session)}
    assert current.keys() == SPECS.keys()
    assert current["components"] == snapshot
    assert current["population"] is None
    assert session.get_one(Dataset, "components").current_snapshot_id == snapshot.id
