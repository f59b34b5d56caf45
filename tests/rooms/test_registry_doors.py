"""The two other doors of imports: a folder that departments put files into, and their databases that are read."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.enums import ImportState, LoadMode
from backend.core.settings import get_settings
from backend.embedded.postgres import EmbeddedPostgres
from backend.models import Dataset, Job, Snapshot
from backend.services import outbound, registry, registry_catalogue, registry_folder, registry_pull
from backend.services.outbound import OutboundRefused
from backend.services.registry_catalogue import DatasetDefinitionUnfit
from backend.services.registry_pull import SourceUnavailable
from backend.services.registry_schemas import DatasetDefinition
from backend.services.registry_uploads import Upload
from tests.tables import csv_text

SOURCE = "department_source"
SECRET = "synthetic-secret-of-the-reader"
COLUMNS: list[dict[str, Any]] = [
    {"title": "设备代码", "field": "device_no", "public": True},
    {"title": "下次检验", "field": "next_check", "shape": "date", "public": True},
    {"title": "管理员", "field": "keeper"},
]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    yield monkeypatch
    monkeypatch.undo()
    get_settings.cache_clear()


def register(session: Session, pull: dict[str, Any] | None = None) -> None:
    definition = {
        "code": "elevators",
        "name": "电梯登记",
        "department_code": "market-regulation",
        "legal_basis": "示例",
        "grade": "general",
        "key": "device_no",
        "columns": COLUMNS,
        "pull": pull,
    }
    registry_catalogue.register(session, DatasetDefinition.model_validate(definition), actor="test")


def keepers(session: Session) -> dict[str, Any]:
    found = registry.find_by_keys(session, "elevators", ["D-1", "D-2", "D-3"])
    return {key: record.fields.get("keeper") for key, record in found.items()}


# The folder


@pytest.fixture
def folder(tmp_path: Path, settings: pytest.MonkeyPatch) -> Path:
    settings.setenv("IMPORT_FOLDER", str(tmp_path))
    get_settings.cache_clear()
    return tmp_path


def put(folder: Path, name: str, *lines: list[str], seconds: float = 100) -> Path:
    path = folder / name
    path.write_text(csv_text([[str(column["title"]) for column in COLUMNS], *lines]), encoding="utf-8", newline="")
    written = path.stat().st_mtime - seconds
    os.utime(path, (written, written))
    return path


def load_all(session: Session) -> None:
    for snapshot in session.exec(
        select(Snapshot).where(Snapshot.state == ImportState.LOADING).order_by(col(Snapshot.id))
    ):
        registry.run_import(session, snapshot.id)


def names_in(folder: Path) -> list[str]:
    """Files of a folder without the ids before their names."""
    return sorted(path.name[37:] for path in folder.iterdir())


def test_files_of_the_folder_are_loaded_and_put_away_with_a_report(session: Session, folder: Path) -> None:
    register(session)
    put(folder, "elevators.20261001.csv", ["D-1", "2027-01-31", "张三"], ["D-2", "2027-02-30", "李四"], ["D-3", "", ""])
    put(folder, "elevators.csv.part", ["D-9", "", ""])
    put(folder, ".elevators.csv", ["D-9", "", ""])
    (folder / "elevators.link.csv").symlink_to(folder / "elevators.20261001.csv")
    fresh = put(folder, "elevators.fresh.csv", ["D-9", "", ""], seconds=0)
    registry_folder.gather(session)
    [snapshot] = session.exec(select(Snapshot).where(Snapshot.dataset_code == "elevators")).all()
    assert names_in(folder / "working") == ["elevators.20261001.csv"]
    registry_folder.gather(session)
    assert names_in(folder / "working") == ["elevators.20261001.csv"]
    load_all(session)
    registry_folder.gather(session)
    assert names_in(folder / "done") == ["elevators.20261001.csv", "elevators.20261001.csv.report.json"]
    [report] = (folder / "done").glob("*.report.json")
    written = json.loads(report.read_text(encoding="utf-8"))
    assert written["snapshot_id"] == str(snapshot.id)
    assert (written["state"], written["accepted"], written["rejected"]) == ("current", 2, 1)
    assert written["reasons"] == [{"line": 3, "column": "下次检验", "code": "malformed"}]
    assert "李四" not in report.read_text(encoding="utf-8")
    assert fresh.exists()
    assert keepers(session) == {"D-1": "张三", "D-3": None}


def test_changes_are_told_by_the_name_and_what_cannot_be_loaded_is_put_aside(session: Session, folder: Path) -> None:
    register(session)
    put(folder, "elevators.csv", ["D-1", "", "张三"], ["D-2", "", "李四"], seconds=300)
    put(folder, "elevators.changes.1.csv", ["D-2", "", "王五"], seconds=200)
    put(folder, "lifts.csv", ["D-1", "", ""], seconds=150)
    put(folder, "elevators.half.csv", ["D-1", "", ""])
    half = folder / "elevators.half.csv"
    os.truncate(half, half.stat().st_size - 5)
    os.utime(half, (1, 1_000_000_000))
    registry_folder.gather(session)
    load_all(session)
    registry_folder.gather(session)
    assert keepers(session) == {"D-1": "张三", "D-2": "王五"}
    found = {path.name[37:]: json.loads(path.read_text(encoding="utf-8")) for path in folder.rglob("*.report.json")}
    assert {name: one["failure"] for name, one in found.items()} == {
        "elevators.csv.report.json": None,
        "elevators.changes.1.csv.report.json": None,
        "lifts.csv.report.json": "not_found",
        "elevators.half.csv.report.json": "import_truncated",
    }
    assert names_in(folder / "failed") == [
        "elevators.half.csv",
        "elevators.half.csv.report.json",
        "lifts.csv",
        "lifts.csv.report.json",
    ]


def test_a_file_whose_taking_was_not_committed_goes_back(session: Session, folder: Path) -> None:
    register(session)
    put(folder, "elevators.csv", ["D-1", "", "张三"])
    with session.begin_nested() as taking:
        registry_folder.gather(session)
        taking.rollback()
    assert names_in(folder / "working") == ["elevators.csv"]
    registry_folder.gather(session)
    load_all(session)
    registry_folder.gather(session)
    assert keepers(session) == {"D-1": "张三"}


def test_old_files_are_removed(session: Session, folder: Path) -> None:
    registry_folder.gather(session)
    for name in ("done", "failed"):
        (folder / name / "old.csv").write_text("x")
        os.utime(folder / name / "old.csv", (1, 1))
        (folder / name / "new.csv").write_text("x")
    registry_folder.gather(session)
    assert [path.name for name in ("done", "failed") for path in (folder / name).iterdir()] == ["new.csv", "new.csv"]


# The pull


@pytest.fixture(scope="module")
def source(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A department's database, with a role that may read one table; gives its address for the superuser."""
    from tests.conftest import administer

    administer(postgres, f"DROP DATABASE IF EXISTS {SOURCE}")
    administer(postgres, "DROP ROLE IF EXISTS department_reader")
    administer(postgres, f"CREATE ROLE department_reader LOGIN PASSWORD '{SECRET}'")
    administer(postgres, f"CREATE DATABASE {SOURCE}")
    url = postgres.url(user="postgres", database=SOURCE)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            """
            CREATE SCHEMA register;
            CREATE TABLE register.elevator (
                device_no text PRIMARY KEY, next_check date, "管理员" text, unread text,
                changed timestamptz NOT NULL, gone boolean);
            CREATE SEQUENCE counter;
            CREATE VIEW register.writing AS SELECT nextval('counter')::text AS device_no;
            GRANT USAGE ON SCHEMA register TO department_reader;
            GRANT SELECT ON ALL TABLES IN SCHEMA register TO department_reader;
            GRANT USAGE ON SEQUENCE counter TO department_reader;
            """
        )
    yield url
    administer(postgres, f"DROP DATABASE {SOURCE} WITH (FORCE)")


@pytest.fixture
def elevators(
    source: str, postgres: EmbeddedPostgres, settings: pytest.MonkeyPatch
) -> Iterator[psycopg.Connection[Any]]:
    """The source as a setting, and a connection of the department's own."""
    reader = postgres.url(user="department_reader", database=SOURCE).replace(
        "department_reader", f"department_reader:{SECRET}", 1
    )
    settings.setenv(
        "IMPORT_SOURCES",
        json.dumps({"market": reader, "away": f"postgresql://x:{SECRET}@127.0.0.1:9/x?sslmode=disable"}),
    )
    get_settings.cache_clear()
    with psycopg.connect(source, autocommit=True) as connection:
        connection.execute("TRUNCATE register.elevator")
        connection.execute(
            "INSERT INTO register.elevator VALUES ('D-1', '2027-01-31', '张三', 'x', '2026-10-01', false), "
            "('D-2', NULL, '李四', 'x', '2026-10-02', NULL), ('D-3', NULL, '去了', 'x', '2026-10-03', true)"
        )
        yield connection


PULL = {"source": "market", "table": "register.elevator", "watermark": "changed", "deleted": "gone"}


def pull(session: Session) -> Snapshot | None:
    snapshot = registry_pull.pull(session, "elevators")
    if snapshot is not None:
        registry.run_import(session, snapshot.id)
    return snapshot


def test_a_source_is_read_whole_and_then_what_changed(session: Session, elevators: psycopg.Connection[Any]) -> None:
    register(session, PULL)
    first = pull(session)
    assert first is not None
    assert (first.mode, first.state, first.accepted) == (LoadMode.FULL, ImportState.CURRENT, 2)
    assert keepers(session) == {"D-1": "张三", "D-2": "李四"}
    assert pull(session) is None
    elevators.execute("UPDATE register.elevator SET gone = true, changed = '2026-10-05' WHERE device_no = 'D-1'")
    elevators.execute(
        """UPDATE register.elevator SET gone = false, "管理员" = '回来', changed = '2026-10-06'
           WHERE device_no = 'D-3'"""
    )
    # It began before the last pull and was committed after it.
    elevators.execute(
        """UPDATE register.elevator SET "管理员" = '晚到', changed = '2026-10-02 23:30+00' WHERE device_no = 'D-2'"""
    )
    second = pull(session)
    assert second is not None
    assert (second.mode, second.accepted, second.deleted, second.rejected) == (LoadMode.INCREMENTAL, 2, 1, 0)
    assert keepers(session) == {"D-2": "晚到", "D-3": "回来"}
    assert session.get_one(Dataset, "elevators").watermark == "2026-10-06 00:00:00+00"


def test_the_watermark_moves_with_the_swap_only(session: Session, elevators: psycopg.Connection[Any]) -> None:
    register(session, PULL)
    pull(session)
    elevators.execute(
        "UPDATE register.elevator SET changed = '2026-10-05', device_no = device_no || repeat('x', 300) "
        "WHERE device_no < 'D-3'"
    )
    failed = pull(session)
    assert failed is not None
    assert failed.state is ImportState.FAILED
    assert session.get_one(Dataset, "elevators").watermark == "2026-10-03 00:00:00+00"
    elevators.execute("UPDATE register.elevator SET device_no = left(device_no, 3)")
    again = pull(session)
    assert again is not None
    assert (again.state, keepers(session)) == (ImportState.CURRENT, {"D-1": "张三", "D-2": "李四"})


def test_a_source_that_goes_away_in_the_middle_leaves_the_records_there_were(
    session: Session, elevators: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(session, {"source": "market", "table": "register.elevator"})
    first = pull(session)
    elevators.execute(
        "INSERT INTO register.elevator "
        "SELECT 'E-' || n, NULL, repeat('长', 60), 'x', now() FROM generate_series(1, 6000) n"
    )
    write, blocks = Upload.write, []

    def writes(upload: Upload, content: bytes) -> None:
        write(upload, content)
        blocks.append(len(content))
        if len(blocks) == 3:
            elevators.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'department_reader'"
            )

    with monkeypatch.context() as breaking:
        breaking.setattr(Upload, "write", writes)
        with pytest.raises(SourceUnavailable), session.begin_nested():
            registry_pull.pull(session, "elevators")
    assert first is not None
    assert registry.current_snapshots(session)["elevators"].snapshot_id == first.id
    assert session.exec(select(Snapshot).where(Snapshot.dataset_code == "elevators")).all() == [first]
    again = pull(session)
    assert again is not None
    assert again.accepted == 6003


def test_a_pull_cannot_write_over_there(session: Session, elevators: psycopg.Connection[Any]) -> None:
    register(session, {"source": "market", "table": "register.writing"})
    with pytest.raises(SourceUnavailable):
        registry_pull.pull(session, "elevators")
    assert elevators.execute("SELECT is_called FROM counter").fetchone() == (False,)


@pytest.mark.parametrize("wanted", [{"source": "away", "table": "x"}, {"source": "market", "table": "no_such_table"}])
def test_what_goes_wrong_names_no_secret(
    session: Session,
    elevators: psycopg.Connection[Any],
    wanted: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    register(session, wanted)
    with pytest.raises(SourceUnavailable) as refused:
        registry_pull.pull(session, "elevators")
    assert refused.value.__cause__ is None
    said = "".join(
        [repr(refused.value), str(refused.value.extra), caplog.text, *capfd.readouterr(), repr(get_settings())]
    )
    assert SECRET not in said
    assert "postgresql://" not in said


def test_a_source_that_no_setting_names_is_refused(session: Session, elevators: psycopg.Connection[Any]) -> None:
    with pytest.raises(DatasetDefinitionUnfit) as refused:
        register(session, {"source": "elsewhere", "table": "x"})
    assert refused.value.extra == {"fault": "source"}


def test_pulls_are_asked_for_when_they_are_due(session: Session, elevators: psycopg.Connection[Any]) -> None:
    register(session, PULL)

    def asked() -> int:
        registry_pull.ask_for_due(session)
        return len(session.exec(select(Job).where(Job.name == registry_pull.JOB)).all())

    assert asked() == 1
    assert asked() == 1
    snapshot = registry_pull.pull(session, "elevators")
    dataset = session.get_one(Dataset, "elevators")
    assert dataset.pulled_at is not None
    dataset.pulled_at = dataset.pulled_at.replace(year=2025)
    assert asked() == 1
    assert snapshot is not None
    registry.run_import(session, snapshot.id)
    assert asked() == 2
    with pytest.raises(jobs.Discard):
        registry_pull.pull(session, "houses")


@pytest.mark.parametrize(
    ("host", "encrypted", "refusal"),
    [
        ("db.housing.example", True, "address_inside"),
        ("db.housing.example", False, "not_encrypted"),
        ("93.184.216.34", False, "not_encrypted"),
    ],
)
def test_a_source_is_called_by_the_rules_of_all_calls(host: str, encrypted: bool, refusal: str) -> None:
    with pytest.raises(OutboundRefused, match=refusal):
        outbound.address_of(host, 5432, encrypted=encrypted, resolver=lambda *_: ["10.0.0.5"])


def test_a_source_inside_is_pinned_by_the_settings(settings: pytest.MonkeyPatch) -> None:
    settings.setenv("OUTBOUND_HOSTS", "db.housing.example:5432@10.0.0.5")
    get_settings.cache_clear()
    for encrypted in (True, False):
        assert outbound.address_of("db.housing.example", 5432, encrypted=encrypted) == "10.0.0.5"
    assert outbound.address_of("10.0.0.7", 5432, encrypted=False) == "10.0.0.7"
