"""PostgreSQL's own programs, run on one database: where they are, and how they log in.

A password is never among the arguments, where every account of the machine could read it.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psycopg
from psycopg import conninfo
from sqlalchemy.engine import make_url

from backend.backup.errors import BackupError
from backend.core.settings import get_settings

BLOCK_BYTES = 1024 * 1024
MOST_LINES = 5
APPLICATION = "zhiwang-backup"

Connection = psycopg.Connection[tuple[object, ...]]


def program(name: str) -> Path:
    """The path of a PostgreSQL program: from `PG_BINDIR`, else from `PATH`. `BackupError` where there is none."""
    folder = get_settings().pg_bindir
    found = shutil.which(name, path=folder or None)
    if found is None:
        raise BackupError(
            f"找不到 {name}：请安装 PostgreSQL 客户端（版本不低于服务器）或设置 PG_BINDIR",
            f"{name} is not there: install PostgreSQL's client programs, no older than the server, or set PG_BINDIR",
        )
    return Path(found)


def libpq_address(address: str, database: str | None = None) -> str:
    """An address as libpq takes it, also one that names SQLAlchemy's driver; with another database where one is
    given."""
    parts = make_url(address).set(drivername="postgresql")
    return (parts.set(database=database) if database else parts).render_as_string(hide_password=False)


def connect(address: str, *, autocommit: bool = False) -> Connection:
    """A connection of our own, named so that an operator knows it."""
    return psycopg.connect(
        libpq_address(address), autocommit=autocommit, connect_timeout=10, application_name=APPLICATION
    )


def login(address: str) -> tuple[str, dict[str, str]]:
    """An address as a connection string without its password, and the environment that holds the password."""
    parts = {
        name: str(value)
        for name, value in conninfo.conninfo_to_dict(libpq_address(address) if address else "").items()
        if value is not None
    }
    password = parts.pop("password", None)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment = {**kept, "LC_ALL": "C", "PGAPPNAME": APPLICATION}
    return conninfo.make_conninfo(**parts), environment | ({"PGPASSWORD": password} if password else {})


def run(name: str, *arguments: str, address: str | None = None) -> str:
    """Run a program to its end and give what it wrote; `BackupError` with its complaints where it failed."""
    connection, environment = login(address or "")
    named = ["--dbname", connection] if address is not None else []
    done = subprocess.run(
        [program(name), *named, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise _failed(name, done.stderr)
    return done.stdout


@contextmanager
def output_of(name: str, *arguments: str, address: str) -> Iterator[Iterator[bytes]]:
    """What a program writes, block by block. At the end of the block it must have ended well: else `BackupError`."""
    connection, environment = login(address)
    command: list[str | Path] = [program(name), "--dbname", connection, *arguments]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            yield _blocks(process.stdout)
            # Complaints are a few lines, far below what the pipe holds, so they can wait until the end.
            complaints = process.stderr.read().decode(errors="replace")
            code = process.wait()
        except BaseException:
            process.kill()
            raise
    if code != 0:
        raise _failed(name, complaints)


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    while block := stream.read(BLOCK_BYTES):
        yield block


def _failed(name: str, complaints: str) -> BackupError:
    """Only the lines that say what went wrong: their context could quote a row."""
    wrong = [line for line in complaints.splitlines() if "error:" in line or "FATAL" in line][:MOST_LINES]
    said = "\n".join(wrong)
    return BackupError(f"{name} 失败", f"{name} failed\n{said}".rstrip())
