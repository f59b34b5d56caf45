"""Restoring a dump: beside the database that is there, and swapped for it when everything is done.

Until the swap, one transaction of two renames, nothing that is in use is touched; what goes wrong before leaves all as
it was. The database that was there is kept under another name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path

import psycopg
from psycopg import errors, sql
from sqlalchemy.engine import make_url

from backend.backup import programs
from backend.backup.after import Done, check_fit, make_current, mark_restore
from backend.backup.create import Say, count_rows
from backend.backup.errors import BackupError
from backend.backup.manifest import Backup
from backend.backup.programs import Connection
from backend.backup.verify import require_good
from backend.core.clock import now
from backend.core.settings import Settings

MOST_JOBS = 4
MAINTENANCE = "postgres"


@dataclass(frozen=True, slots=True)
class Restored:
    """A restore that came to its end. `kept` is the name of the database that was there, if any."""

    backup: Backup
    database: str
    kept: str | None
    done: Done


def restore_dump(settings: Settings, folder: Path, *, replace: bool, say: Say) -> Restored:
    """Bring back the state of a dump. `BackupError` where anything is not as it has to be; then nothing was changed.

    A database that holds anything is replaced only with `replace`. Nobody may be connected to it.
    """
    say("核对密钥与备份", "checking the keys and the backup")
    check_fit(settings, folder)
    backup = require_good(folder, settings)
    if backup.manifest.kind != "dump":
        raise BackupError(
            "这是集群副本：请停止服务后用 make restore 恢复",
            "this is a copy of a cluster: stop the stack and use `make restore`",
        )
    target = make_url(settings.migration_url())
    name = str(target.database)
    stamp = f"{now():%Y%m%d%H%M%S}"
    beside, kept = f"{name}_restoring_{stamp}", f"{name}_before_{stamp}"
    with _administrator(settings) as admin:
        there = _check_target(admin, settings, name, replace=replace)
        with _beside(admin, beside, owner=str(target.username)):
            done = _fill(settings, backup, beside, say)
            with _closed(admin, name, there=there is not None):
                urls = _urls(settings, beside)
                mark_restore(worker_url=urls[1], backup_id=backup.manifest.id, reason="restore", say=say)
                say("切换数据库", "swapping the databases")
                _swap(admin, name, beside=beside, kept=kept if there is not None else None)
        if there is False:
            admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(kept)))
    return Restored(backup, name, kept if there else None, done)


def _check_target(admin: Connection, settings: Settings, name: str, *, replace: bool) -> bool | None:
    """Whether the database holds anything, or None where there is none. `BackupError` where it may not be replaced."""
    if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
        return None
    _require_unused(admin, name)
    with programs.connect(settings.migration_url()) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    filled = tables is not None and int(str(tables[0])) > 0
    if filled and not replace:
        raise BackupError(
            f"数据库 {name} 不是空的，未作任何改动：加 --replace（make restore REPLACE=1）"
            "则恢复到旁边再切换，原库改名保留",
            f"the database {name} is not empty, nothing was touched: with --replace (make restore REPLACE=1) "
            "the backup is restored beside it, then the two are swapped, and this one is kept under another name",
        )
    return filled


def _require_unused(admin: Connection, name: str) -> None:
    """Whoever is connected would go on with a database that is no longer the one in use."""
    row = admin.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND usename IS NOT NULL AND pid <> pg_backend_pid()",
        [name],
    ).fetchone()
    if row is not None and int(str(row[0])) > 0:
        raise BackupError(
            f"还有 {row[0]} 个连接在使用数据库，请先停止全部服务，未作任何改动",
            f"{row[0]} connections use the database, nothing was touched: stop the API, the workers and beat first",
        )


def _fill(settings: Settings, backup: Backup, beside: str, say: Say) -> Done:
    """Load the dump, compare it with the manifest, and do what every restore has to do."""
    owner_url, worker_url = _urls(settings, beside)
    with programs.connect(owner_url) as connection:
        _make_roles(connection, backup.manifest.roles)
    say("导入数据库", "loading the dump")
    programs.run(
        "pg_restore",
        "--no-owner",
        "--no-comments",
        "--exit-on-error",
        "--no-password",
        f"--jobs={min(MOST_JOBS, cpu_count() or 1)}",
        str(backup.dump),
        address=owner_url,
    )
    with programs.connect(owner_url) as connection:
        loaded = count_rows(connection)
    different = sorted(name for name, rows in backup.manifest.counts.items() if loaded.get(name) != rows)
    if different:
        raise BackupError(
            f"导入后的行数与清单不符：{', '.join(different)}",
            f"other row counts than the manifest: {', '.join(different)}",
        )
    return make_current(settings, owner_url=owner_url, worker_url=worker_url, backup=backup, say=say)


def _urls(settings: Settings, database: str) -> tuple[str, str]:
    """The addresses of another database for its owner and for the worker."""
    return (
        programs.libpq_address(settings.migration_url(), database),
        programs.libpq_address(settings.worker_url(), database),
    )


def _make_roles(connection: Connection, roles: list[str]) -> None:
    """The roles that the dump grants rights to, where this server does not have them. They cannot log in by this."""
    for role in roles:
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
            query = sql.SQL("CREATE ROLE {} NOLOGIN NOSUPERUSER NOBYPASSRLS").format(sql.Identifier(role))
            connection.execute(query)


@contextmanager
def _administrator(settings: Settings) -> Iterator[Connection]:
    """A login that may make and rename databases."""
    try:
        connection = programs.connect(programs.libpq_address(settings.admin_url(), MAINTENANCE), autocommit=True)
    except psycopg.OperationalError as error:
        raise BackupError("无法连接数据库服务器", "cannot connect to the database server") from error
    with connection:
        yield connection


@contextmanager
def _beside(admin: Connection, name: str, *, owner: str) -> Iterator[None]:
    """A new database of the owner's; it is gone again if the block fails."""
    query = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(
        sql.Identifier(name), sql.Identifier(owner)
    )
    try:
        admin.execute(query)
    except errors.InsufficientPrivilege as error:
        raise BackupError(
            "该账户不能创建数据库：请设置 ADMIN_DATABASE_URL",
            "this login may not make databases: set ADMIN_DATABASE_URL",
        ) from error
    try:
        yield
    except BaseException:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        raise


@contextmanager
def _closed(admin: Connection, name: str, *, there: bool) -> Iterator[None]:
    """Keep everybody out of the database that is to be renamed; open again if the block fails."""
    if not there:
        yield
        return
    close = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    admin.execute(close.format(sql.Identifier(name), sql.Literal(False)))
    try:
        _require_unused(admin, name)
        yield
    except BaseException:
        admin.execute(close.format(sql.Identifier(name), sql.Literal(True)))
        raise


def _swap(admin: Connection, name: str, *, beside: str, kept: str | None) -> None:
    """One transaction: there is never a moment without a database of that name that somebody could see."""
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    with admin.transaction():
        if kept is not None:
            admin.execute(rename.format(sql.Identifier(name), sql.Identifier(kept)))
        admin.execute(rename.format(sql.Identifier(beside), sql.Identifier(name)))
    if kept is not None:
        admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(kept)))
