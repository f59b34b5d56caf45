"""Incremental loads and the history of a dataset: what changed, what was carried over, what it said before."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from backend.core.enums import ImportState, LoadMode
from backend.core.errors import NotFound
from backend.kinds import identity_of
from backend.models import BusinessRecord, Dataset, ImportProgress, Job, Snapshot
from backend.seed import synthetic
from backend.seed.drops import flat
from backend.services import population, records, registry, registry_history, subject_report
from backend.services.registry_history import SnapshotGone
from backend.services.registry_schemas import LookUp
from backend.services.registry_specs import SPECS
from backend.services.sealing import human
from tests.tables import csv_text

SPEC = SPECS["population"]
NAME = next(place for place, column in enumerate(SPEC.columns) if column.name == "name")
DAY = datetime(2026, 10, 1, tzinfo=UTC)

Line = list[str]


def line(index: int, name: str | None = None, change: str | None = None) -> Line:
    cells = flat(SPEC, synthetic.person(index))
    if name is not None:
        cells[NAME] = name
    return cells if change is None else [*cells, change]


def load(session: Session, folder: Path, lines: list[Line], mode: LoadMode = LoadMode.FULL, **more: Any) -> Snapshot:
    titles = [column.title for column in SPEC.columns]
    header = [*titles, "变更"] if lines and len(lines[0]) > len(titles) else titles
    path = folder / "people.csv"
    path.write_text(csv_text([header, *lines]), encoding="utf-8", newline="")
    return registry.import_path(session, "population", path, actor="test", mode=mode, **more)


def change(session: Session, folder: Path, *lines: Line, **more: Any) -> Snapshot:
    return load(session, folder, list(lines), LoadMode.INCREMENTAL, **more)


def key_of(index: int) -> str:
    identity = identity_of(synthetic.person(index))
    assert identity is not None
    return records.id_index(identity).hex()


def names(session: Session) -> dict[int, str]:
    found = registry.find_by_keys(session, "population", [key_of(index) for index in range(8)])
    return {index: found[key_of(index)].fields["name"] for index in range(8) if key_of(index) in found}


def test_changes_make_a_whole_new_snapshot(session: Session, tmp_path: Path) -> None:
    first = load(session, tmp_path, [line(index) for index in range(4)])
    originals = names(session)
    bare_key = ["" for _ in SPEC.columns]
    bare_key[:2] = line(3)[:2]
    second = change(session, tmp_path, line(1, "改名", "修改"), line(5, change=""), [*bare_key, "删除"])
    assert (second.state, second.accepted, second.deleted, second.carried) == (ImportState.CURRENT, 2, 1, 2)
    assert (second.based_on, second.records, second.rejected) == (first.id, 4, 0)
    assert names(session) == {0: originals[0], 1: "改名", 2: originals[2], 5: synthetic.person(5)["name"]}
    assert {found.snapshot_id for found in registry.find_by_keys(session, "population", [key_of(0)]).values()} == {
        second.id
    }
    third = change(session, tmp_path, line(0, "又改"))
    assert (third.accepted, third.carried) == (1, 3)
    assert names(session) == {0: "又改", 1: "改名", 2: originals[2], 5: synthetic.person(5)["name"]}
    found = population.find_person(
        session, records.Indexes(phone_index=records.phone_index(synthetic.person(2)["phone"]))
    )
    assert [one.fields for one in found] == [synthetic.person(2)]


def test_a_record_that_was_carried_over_is_in_the_report_of_its_subject(session: Session, tmp_path: Path) -> None:
    load(session, tmp_path, [line(0), line(1)])
    change(session, tmp_path, line(1, "改名"))
    identity = identity_of(synthetic.person(0))
    assert identity is not None
    subject = human(identity.id_type, identity.id_number)
    stored = session.connection().execute(subject_report._RECORDS, {"subjects": [subject], "needles": []})
    assert {row.snapshot_id for row in stored} == {
        registry_history.loads(session, "population", limit=9, before=None)[1].id
    }


@pytest.mark.parametrize("cells", [["", "", "删除"], ["居民身份证", "", "删除"], ["居民身份证", "1", "删掉"]])
def test_a_change_without_a_key_or_of_no_known_kind_is_refused(session: Session, tmp_path: Path, cells: Line) -> None:
    load(session, tmp_path, [line(0), line(1)])
    bad = [*cells[:2], *("" for _ in SPEC.columns[2:]), cells[2]]
    found = change(session, tmp_path, line(1, change="修改"), bad)
    assert (found.accepted, found.rejected, found.records) == (1, 1, 2)


def test_changes_that_are_refused_leave_the_records_there_were(session: Session, tmp_path: Path) -> None:
    refused = change(session, tmp_path, line(0))
    assert (refused.state, refused.failure) == (ImportState.FAILED, "import_without_base")
    first = load(session, tmp_path, [line(index) for index in range(4)])
    mass = change(session, tmp_path, *(line(index, change="删除") for index in range(3)))
    assert (mass.failure, mass.carried, mass.deleted) == ("import_shrunk", 0, 0)
    empty = change(session, tmp_path)
    assert empty.failure == "import_empty"
    assert registry.current_snapshots(session)["population"].snapshot_id == first.id
    assert set(session.exec(select(BusinessRecord.snapshot_id)).all()) == {first.id}
    assert change(session, tmp_path, *(line(index, change="删除") for index in range(3)), fewer=True).records == 1


def test_changes_wait_for_an_older_load_of_their_dataset(session: Session) -> None:
    older, newer = (
        Snapshot(dataset_code="population", taken_at=DAY, state=ImportState.LOADING, sha256="", mode=mode)
        for mode in (LoadMode.FULL, LoadMode.INCREMENTAL)
    )
    session.add(older)
    session.flush()
    session.add(newer)
    session.flush()
    registry.run_import(session, newer.id)
    [job] = session.exec(select(Job).where(Job.name == registry.IMPORT_JOB)).all()
    assert job.payload == {"snapshot_id": str(newer.id)}
    assert job.not_before > job.created_at
    assert newer.state is ImportState.LOADING


def test_a_record_is_read_as_of_a_moment_and_masked(session: Session, tmp_path: Path) -> None:
    session.get_one(Dataset, "population").history = 2
    loads = [
        load(session, tmp_path, [line(0, name), line(1)], taken_at=DAY + timedelta(days=days))
        for days, name in ((0, "张一"), (10, "李二"), (20, "王三"), (30, "赵四"))
    ]
    who = {"id_type": "citizen_id", "id_number": synthetic.person(0)["id_number"]}

    def read(**when: Any) -> tuple[Snapshot, registry.Found]:
        return registry_history.look_up(session, "population", LookUp(**who, **when), actor="test")

    for asked, expected, name in (
        ({}, loads[3], "赵*"),
        ({"as_of": DAY + timedelta(days=25)}, loads[2], "王*"),
        ({"as_of": DAY + timedelta(days=10)}, loads[1], "李*"),
        ({"snapshot_id": loads[1].id}, loads[1], "李*"),
    ):
        snapshot, found = read(**asked)
        assert (snapshot.id, found.fields["name"]) == (expected.id, name)
        assert found.fields["grid_id"] == synthetic.person(0)["grid_id"]
        assert synthetic.person(0)["phone"] not in str(found.fields)
    # While entries are looked for that a snapshot touches, it and the one before it keep their records.
    session.connection().execute(text("UPDATE recheck SET state = 'done'"))
    load(session, tmp_path, [line(0), line(1)], taken_at=DAY + timedelta(days=40))
    with pytest.raises(SnapshotGone):
        read(as_of=DAY + timedelta(days=10))
    failed = Snapshot(dataset_code="population", taken_at=DAY, state=ImportState.FAILED, sha256="")
    session.add(failed)
    for missing in ({"as_of": DAY - timedelta(days=1)}, {"snapshot_id": failed.id}):
        with pytest.raises(NotFound):
            read(**missing)
    with pytest.raises(NotFound):
        registry_history.look_up(session, "population", LookUp(key="x"), actor="test")
    query = text("SELECT count(*) FROM audit_entry WHERE action = 'business_record_read'")
    assert session.connection().execute(query).scalar_one() == 4
    assert [one.id for one in registry_history.loads(session, "population", limit=2, before=loads[3].id)] == [
        loads[2].id,
        loads[1].id,
    ]


def test_progress_is_seen_from_outside_while_a_load_is_going_on(session: Session, tmp_path: Path) -> None:
    from backend.core.db import engine_for, transaction
    from backend.services import registry_progress

    path = tmp_path / "people.csv"
    titles = [column.title for column in SPEC.columns]
    path.write_text(csv_text([titles, *(line(index) for index in range(3))]), encoding="utf-8", newline="")
    seen: list[tuple[int, float | None]] = []

    def look(*_: int) -> None:
        with transaction(engine_for("zw_api")) as other:
            seen.extend((one.rows, one.share) for one in other.exec(select(ImportProgress)).all())

    snapshot = registry.import_path(session, "population", path, actor="test", progress=look)
    assert (3, 1.0) in seen
    assert registry_progress.standing(session, snapshot.id) is None
