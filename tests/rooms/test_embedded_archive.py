"""The archived log of an embedded PostgreSQL, and clusters brought back from a copy and that log."""

import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import rmtree

import psycopg
import pytest

from backend.embedded.archive import Target, archive_settings
from backend.embedded.children import EmbeddedError
from backend.embedded.places import throwaway_dir
from backend.embedded.postgres import EmbeddedPostgres
from tests.world import until


@pytest.fixture
def folder() -> Iterator[Path]:
    with throwaway_dir() as place:
        yield place


Make = Callable[[str], EmbeddedPostgres]


@pytest.fixture
def server(folder: Path) -> Iterator[Make]:
    """Servers by name, over one archive with a space and a per cent sign in its name; stopped at the end."""
    made: list[EmbeddedPostgres] = []

    def make(name: str) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(folder / name, fsync=False, wal_archive=folder / "a 100% log"))
        return made[-1]

    yield make
    for one in made:
        one.destroy()


def run(server: EmbeddedPostgres, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.url(user="postgres", database="postgres"), autocommit=True) as session:
        cursor = session.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def copy_of(server: EmbeddedPostgres, folder: Path) -> Path:
    place = folder / "copy"
    address = server.url(user="postgres", database="postgres")
    command: list[str | Path] = [server.binaries / "pg_basebackup", "--dbname", address, "-D", place, "-c", "fast"]
    subprocess.run(command, check=True, capture_output=True, cwd="/")
    return place


def moment_after(server: EmbeddedPostgres, value: int) -> datetime:
    """Write a row; gives a moment that is later."""
    run(server, f"INSERT INTO drill VALUES ({value})")
    written = datetime.now(UTC)
    until(lambda: datetime.now(UTC) > written, what="a later moment")
    return datetime.now(UTC)


def archive_command(folder: Path, segment: Path) -> list[str]:
    """The command as PostgreSQL would run it for a segment."""
    template = dict(part.split("=", 1) for part in archive_settings(folder))["archive_command"]
    words = {"%p": str(segment), "%f": segment.name, "%%": "%"}
    for mark, word in words.items():
        template = template.replace(mark, word)
    return ["/bin/sh", "-c", template]


def test_a_segment_is_kept_whole_and_never_overwritten_by_another(folder: Path) -> None:
    archive, segment = folder / "it's a log", folder / "000000010000000000000001"
    archive.mkdir()
    segment.write_bytes(b"first")
    command = archive_command(archive, segment)
    assert subprocess.run(command, check=False).returncode == 0
    assert subprocess.run(command, check=False).returncode == 0, "the same again is no fault"
    segment.write_bytes(b"other")
    assert subprocess.run(command, check=False).returncode != 0
    assert (archive / segment.name).read_bytes() == b"first"
    assert [path.name for path in archive.iterdir()] == [segment.name]


def test_back_to_a_moment_to_the_end_and_on_from_there_more_than_once(folder: Path, server: Make) -> None:
    present = server("data")
    present.start()
    run(present, "CREATE TABLE drill (value int)")
    copy = copy_of(present, folder)
    first = moment_after(present, 1)
    moment_after(present, 2)
    present.stop()
    for round_number, (target, values) in enumerate([(first, [1]), (None, [1, 2]), (first, [1])]):
        beside = server(f"beside-{round_number}")
        beside.recover(copy, Target(folder / "a 100% log", target))
        assert [value for (value,) in run(beside, "SELECT value FROM drill ORDER BY value")] == values
        beside.stop()
        kept = present.replace_cluster(beside, kept=str(round_number))
        assert (kept / "PG_VERSION").is_file()
        present.start()
        run(present, "INSERT INTO drill VALUES (9)")
        run(present, "SELECT pg_switch_wal()")
        until(lambda: run(present, "SELECT failed_count FROM pg_stat_archiver") == [(0,)], what="nothing failed")
        until(lambda: run(present, "SELECT archived_count > 0 FROM pg_stat_archiver") == [(True,)], what="archived")
        present.stop()
    timelines = {path.name[:8] for path in (folder / "a 100% log").glob("0*")}
    assert timelines == {"00000001", "00000002", "00000003", "00000004"}


def test_a_moment_that_the_log_does_not_reach_is_refused_and_what_is_there_stays(folder: Path, server: Make) -> None:
    present = server("data")
    present.start()
    run(present, "CREATE TABLE drill (value int)")
    copy = copy_of(present, folder)
    moment_after(present, 1)
    present.stop()
    beside = server("beside")
    with pytest.raises(EmbeddedError, match=r"did not reach its target|PostgreSQL ended"):
        beside.recover(copy, Target(folder / "a 100% log", datetime.now(UTC) + timedelta(days=1)))
    present.start()
    assert run(present, "SELECT value FROM drill") == [(1,)]


def test_no_empty_cluster_takes_the_place_of_one_that_was_set_aside(folder: Path, server: Make) -> None:
    present = server("data")
    present.start()
    present.stop()
    present.link.rename(folder / "data" / "cluster-before-1")
    with pytest.raises(EmbeddedError, match="cut off at its swap"):
        present.start()
    rmtree(folder / "data" / "cluster-before-1")
