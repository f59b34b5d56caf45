"""Making a backup: into a scratch folder that gets its name only when everything in it is on disk."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psycopg
from psycopg import sql

from backend import __version__
from backend.backup import programs
from backend.backup.errors import BackupError
from backend.backup.keys import backup_folder, key_checks, new_file
from backend.backup.manifest import (
    BASE,
    DUMP,
    MEDIA,
    AuditHead,
    Backup,
    FileEntry,
    Kind,
    LedgerHead,
    Manifest,
    MediaSummary,
    hash_file,
    read,
    sign,
    write,
)
from backend.backup.media import Named, effective_mode, named_objects, write_media
from backend.backup.programs import Connection
from backend.core.clock import now
from backend.core.settings import Settings
from backend.services.objects import flush_to_disk, object_store

PARTIAL = ".partial"
BASE_MANIFEST = f"{BASE}/backup_manifest"
ROLE_PREFIX = "zw_"

Say = Callable[[str, str], None]
"""Tells the person at the terminal of a step, in Chinese and in English."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the manifest says of the database, all from one snapshot of it."""

    database: str
    postgres: int
    revision: str
    epoch: str
    wal_position: str
    roles: list[str]
    counts: dict[str, int]
    audit: AuditHead
    named: dict[str, Named]


def create_dump(settings: Settings, *, to: Path | None, say: Say) -> Backup:
    """Back up the database by `pg_dump`, and the stored files as `BACKUP_MEDIA` says.

    Dump, counts and the list of files are of one snapshot. `BackupError` says what is missing or failed; then no
    folder of that name is there.
    """
    with _scratch(settings, to) as (scratch, target), snapshot(settings.migration_url()) as (connection, name):
        facts = read_facts(connection, with_counts=True)
        say("导出数据库", "dumping the database")
        files = {DUMP: _dump(settings, name, scratch / DUMP)}
        media = _media(settings, facts.named, scratch, say)
        return _finish(settings, "dump", facts, media, files, scratch, target, say)


def create_base(settings: Settings, *, to: Path | None, say: Say) -> Backup:
    """Copy the whole cluster by `pg_basebackup`, the start of a recovery to any later moment that was archived.

    Needs a login that may replicate (`ADMIN_DATABASE_URL`). The copy is checked by `pg_verifybackup`.
    """
    with _scratch(settings, to) as (scratch, target), snapshot(settings.migration_url()) as (connection, _):
        facts = read_facts(connection, with_counts=False)
        say("复制数据库集群", "copying the cluster")
        programs.run(
            "pg_basebackup",
            f"--pgdata={scratch / BASE}",
            "--format=plain",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--manifest-checksums=SHA256",
            "--no-password",
            address=settings.admin_url(),
        )
        programs.run("pg_verifybackup", str(scratch / BASE))
        files = {BASE_MANIFEST: hash_file(scratch / BASE_MANIFEST)}
        media = _media(settings, facts.named, scratch, say)
        return _finish(settings, "base", facts, media, files, scratch, target, say)


@contextmanager
def snapshot(address: str) -> Iterator[tuple[Connection, str]]:
    """A connection that sees one state of the database, and the name under which `pg_dump` sees the same."""
    if not address:
        raise BackupError(
            "没有数据库：请先 make run，或设置 MIGRATION_DATABASE_URL",
            "no database: `make run` starts one, or set MIGRATION_DATABASE_URL",
        )
    try:
        connection = psycopg.connect(
            programs.libpq_address(address), connect_timeout=10, application_name=programs.APPLICATION
        )
    except psycopg.OperationalError as error:
        raise BackupError("无法连接数据库", "cannot connect to the database") from error
    with connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield connection, str(_one(connection, "SELECT pg_export_snapshot()"))


def read_facts(connection: Connection, *, with_counts: bool) -> Facts:
    """What the manifest says of this state of the database."""
    entries, batch, head = connection.execute(_AUDIT_HEAD).fetchone() or (0, 0, "")
    return Facts(
        database=str(_one(connection, "SELECT current_database()")),
        postgres=int(str(_one(connection, "SHOW server_version_num"))),
        revision=str(_one(connection, "SELECT version_num FROM alembic_version")),
        epoch=str(_one(connection, "SELECT value FROM server_state WHERE name = 'epoch'")),
        wal_position=str(_one(connection, "SELECT pg_current_wal_lsn()")),
        roles=[str(name) for (name,) in connection.execute(_ROLES, [f"{ROLE_PREFIX}%"])],
        counts=count_rows(connection) if with_counts else {},
        audit=AuditHead(int(str(entries)), int(str(batch)), str(head)),
        named=named_objects(connection),
    )


def count_rows(connection: Connection) -> dict[str, int]:
    """The number of rows of each table."""
    names = [str(name) for (name,) in connection.execute(_TABLES)]
    counts = {}
    for name in names:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("public", name))
        counts[name] = int(str((connection.execute(query).fetchone() or (0,))[0]))
    return counts


def ledger_head(path: Path, size: int | None = None) -> LedgerHead:
    """Length and hash of the erasure ledger, or of its first `size` bytes. No file counts as an empty one."""
    content = path.read_bytes() if path.exists() else b""
    part = content if size is None else content[:size]
    return LedgerHead(len(part), sha256(part).hexdigest())


@contextmanager
def _scratch(settings: Settings, to: Path | None) -> Iterator[tuple[Path, Path]]:
    """A folder to work in and the name it is to have; what is unfinished is removed."""
    target = (to or backup_folder(settings) / _new_name()).absolute()
    if target.exists():
        raise BackupError(f"目录已存在：{target}", f"there is such a folder already: {target}")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}-{secrets.token_hex(4)}{PARTIAL}")
    scratch.mkdir(mode=0o700)
    try:
        yield scratch, target
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _new_name() -> str:
    return f"{now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def _dump(settings: Settings, snapshot_name: str, target: Path) -> FileEntry:
    digest, size = sha256(), 0
    arguments = ("--format=custom", f"--snapshot={snapshot_name}", "--lock-wait-timeout=30s", "--no-password")
    with (
        new_file(target) as file,
        programs.output_of("pg_dump", *arguments, address=settings.migration_url()) as blocks,
    ):
        for block in blocks:
            file.write(block)
            digest.update(block)
            size += len(block)
        file.flush()
        os.fsync(file.fileno())
    return FileEntry(size, digest.hexdigest())


def _media(settings: Settings, named: dict[str, Named], scratch: Path, say: Say) -> MediaSummary:
    store = object_store()
    mode = effective_mode(store, settings.backup_media)
    say("登记照片与文件", "listing photographs and files" if mode == "manifest" else "keeping photographs and files")
    return write_media(store, named, folder=scratch, mode=mode)


def _finish(
    settings: Settings,
    kind: Kind,
    facts: Facts,
    media: MediaSummary,
    files: dict[str, FileEntry],
    scratch: Path,
    target: Path,
    say: Say,
) -> Backup:
    manifest = Manifest(
        id=target.name,
        kind=kind,
        taken_at=now(),
        product=__version__,
        revision=facts.revision,
        epoch=facts.epoch,
        database=facts.database,
        postgres=facts.postgres,
        wal_position=facts.wal_position,
        roles=facts.roles,
        counts=facts.counts,
        audit=facts.audit,
        ledger=ledger_head(settings.erasure_ledger_file()),
        keys=key_checks(settings),
        media=media,
        files={**files, MEDIA: hash_file(scratch / MEDIA)},
    )
    write(sign(manifest, settings), scratch)
    say("写入磁盘", "flushing to disk")
    for place, _, _ in os.walk(scratch):
        flush_to_disk(Path(place))
    if target.exists():
        raise BackupError(f"目录已存在：{target}", f"there is such a folder already: {target}")
    scratch.rename(target)
    flush_to_disk(target.parent)
    return read(target)


def _one(connection: Connection, query: str) -> object:
    row = connection.execute(query).fetchone()
    if row is None:
        raise BackupError("数据库尚未初始化", "the database was never set up")
    return row[0]


_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
_ROLES = "SELECT rolname FROM pg_roles WHERE rolname LIKE %s ORDER BY rolname"
_AUDIT_HEAD = """
    SELECT (SELECT count(*) FROM audit_entry), coalesce(max(number), 0),
           coalesce((SELECT encode(head, 'hex') FROM audit_batch ORDER BY number DESC LIMIT 1), '')
    FROM audit_batch
"""
