"""The engines of the probabilistic step: DuckDB that writes nowhere, and Spark that gives the same pairs."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from backend.core.enums import Kind, ReconcileEngine
from backend.core.settings import PROJECT_ROOT, get_settings
from tests.rooms.reconcile_builders import person, swapped
from workflows.reconcile import engines
from workflows.reconcile.features import frame
from workflows.reconcile.rules import KindModel, Models, Pair, settings_of

MODEL = json.loads((PROJECT_ROOT / "backend" / "seed" / "data" / "link_model_1.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def model() -> KindModel:
    return Models.model_validate(MODEL).of(Kind.PERSON)


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Set the memory of the engine for one test."""

    def memory(size: str) -> None:
        monkeypatch.setenv("RECONCILE_MEMORY", size)
        get_settings.cache_clear()

    yield memory
    get_settings.cache_clear()


def typos(number: int) -> dict[str, Any]:
    """A person as somebody in a hurry wrote it down: another error for each number."""
    true = person(number)
    wrong = (
        {"id_number": swapped(true["id_number"])},
        {"phone": swapped(true["phone"], 5), "id_number": None},
        {"name": true["name"][0] + "某", "birth_date": true["birth_date"]},
        {"registered_address": "示例路", "phone": None},
    )
    return true | wrong[number % len(wrong)]


def pairs_of(engine: ReconcileEngine, model: KindModel, *, people: int = 60) -> list[Pair]:
    mine = frame(model, [(f"d{number}", typos(number)) for number in range(0, people, 3)])
    theirs = frame(model, [(str(number), person(number)) for number in range(people)])
    with engines.opened(engine) as opened:
        return opened.pairs(mine, theirs, settings_of(model))


def test_duckdb_finds_who_was_written_down_in_a_hurry(model: KindModel) -> None:
    found = pairs_of(ReconcileEngine.DUCKDB, model)
    likely = {pair.document: pair.record for pair in found if pair.probability > 0.95}
    assert likely == {f"d{number}": number for number in range(0, 60, 3)}


def test_duckdb_can_write_nowhere_and_read_no_file(tmp_path: Path) -> None:
    with engines.memory_only() as connection:
        for attempt in (
            f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
            f"ATTACH '{tmp_path}/out.duckdb'",
            f"SET temp_directory = '{tmp_path}'",
            "SET enable_external_access = true",
            "SELECT * FROM read_csv('/etc/passwd')",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(attempt)
    assert list(tmp_path.iterdir()) == []


def heavy(connection: Any) -> None:
    """A table of twice the memory that is allowed."""
    connection.execute("CREATE TABLE large AS SELECT md5(CAST(i AS text)) AS t FROM range(1500000) r(i)")


def test_what_does_not_fit_into_memory_is_an_error_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allow: Callable[[str], None]
) -> None:
    allow("32MB")
    monkeypatch.chdir(tmp_path)
    with engines.memory_only() as connection, pytest.raises(duckdb.OutOfMemoryException):
        heavy(connection)
    assert list(tmp_path.rglob("*")) == []
    spilled = duckdb.connect(config={"memory_limit": "32MB", "temp_directory": str(tmp_path / "spill")})
    heavy(spilled)
    assert list((tmp_path / "spill").iterdir()), "the control: with a folder it spills"


def test_too_little_memory_has_a_code_of_its_own(model: KindModel, allow: Callable[[str], None]) -> None:
    allow("4MB")
    with pytest.raises(engines.ReconcileMemory):
        pairs_of(ReconcileEngine.DUCKDB, model, people=2000)


def test_a_server_without_the_packages_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    monkeypatch.setattr(engines, "which", lambda _: None)
    assert engines.missing(ReconcileEngine.DUCKDB) == ["splink", "duckdb"]
    assert engines.missing(ReconcileEngine.SPARK) == ["splink", "pyspark", "java"]
    with pytest.raises(engines.ReconcileEngineMissing), engines.opened(ReconcileEngine.DUCKDB):
        pass


needs_spark = pytest.mark.skipif(
    bool(engines.missing(ReconcileEngine.SPARK)),
    reason="no pyspark or no Java here: `make test-spark` installs and runs it",
)


leaves_sockets = pytest.mark.filterwarnings(
    # pyspark closes its connections to Java when they are collected.
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


@needs_spark
@pytest.mark.timeout(300)
@leaves_sockets
def test_spark_gives_the_pairs_of_duckdb_and_leaves_nothing_behind(
    model: KindModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    expected = pairs_of(ReconcileEngine.DUCKDB, model)
    assert len({pair.weight for pair in expected}) > 3, "the control: there is something to compare"
    assert pairs_of(ReconcileEngine.SPARK, model) == expected
    assert list(tmp_path.iterdir()) == []


@needs_spark
@pytest.mark.timeout(300)
@leaves_sockets
def test_spark_encrypts_what_it_spills(model: KindModel, tmp_path: Path) -> None:
    """What it writes between two stages is looked at before the session ends."""
    session = engines.spark_session(tmp_path)
    try:
        rows = frame(model, [(str(number), person(number)) for number in range(500)])
        spread = session.createDataFrame(rows.to_arrow()).repartition(4, "surname").persist()
        assert spread.groupBy("surname").count().count() == 10
        spilled = [path for path in tmp_path.rglob("shuffle_*.data") if path.stat().st_size]
        assert spilled
        content = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    finally:
        session.stop()
    column: pl.Series = rows["number"]
    assert not [number for number in column if number.encode() in content]
