"""What every restore has to do before anybody may use the database again, however the database came back.

In this order: bring the tables up to this program; erase again whoever was erased since; mark the break in the audit
trail; begin a new sync epoch; bring rows and stored files together. Each step can be done twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine, create_engine, pool, text
from sqlmodel import Session

from backend.backup import programs
from backend.backup.create import Say, ledger_head
from backend.backup.errors import BackupError
from backend.backup.keys import require_keys
from backend.backup.manifest import Backup, read
from backend.backup.reconcile import ACTOR, Reconciled, reconcile
from backend.core.db import dialect_url, make_engine, transaction
from backend.core.settings import PROJECT_ROOT, Settings
from backend.services import audit, audit_chain, erasure
from backend.services.audit_anchor import AuditBroken
from backend.services.epoch import begin_epoch
from backend.services.erasure_ledger import LedgerDamaged
from backend.services.objects import object_store


@dataclass(frozen=True, slots=True)
class Done:
    """What the steps came to."""

    epoch_before: str
    epoch: str
    erased: int
    media: Reconciled


def alembic_config() -> Config:
    """Alembic as the project has it."""
    return Config(str(PROJECT_ROOT / "alembic.ini"))


def require_audit_key(settings: Settings) -> None:
    """`BackupError` where the restore could not be marked in the anchor at its end."""
    if not settings.audit_key.get_secret_value():
        raise BackupError(
            "缺少 AUDIT_KEY，未作任何改动：恢复须记入审计锚文件",
            "AUDIT_KEY is not set, nothing was touched: a restore has to be marked in the anchor of the audit trail",
        )


def require_known_revision(revision: str) -> None:
    """`BackupError` where a newer program made the backup: its tables cannot be brought back to ours."""
    try:
        ScriptDirectory.from_config(alembic_config()).get_revision(revision)
    except CommandError as error:
        raise BackupError(
            f"备份来自更新的版本（{revision}），请先升级程序",
            f"the backup was made by a newer version ({revision}): upgrade the program first",
        ) from error


def check_fit(settings: Settings, folder: Path) -> Backup:
    """The backup in a folder, where these keys open it, this program knows its tables, and the erasures are at hand.

    `BackupError` otherwise. Whether its files are whole is another question (`verify`).
    """
    backup = read(folder)
    require_keys(backup.manifest.keys, settings)
    require_known_revision(backup.manifest.revision)
    require_audit_key(settings)
    ledger = settings.erasure_ledger_file()
    if ledger_head(ledger, backup.manifest.ledger.size) != backup.manifest.ledger:
        raise BackupError(
            f"删除台账缺失或比备份更旧，未作任何改动：{ledger}",
            "the erasure ledger is missing or older than the backup, nothing was touched: bring back the latest one, "
            f"else people who were erased would return: {ledger}",
        )
    return backup


def make_current(settings: Settings, *, owner_url: str, worker_url: str, backup: Backup | None, say: Say) -> Done:
    """All steps but the mark in the audit trail's anchor, on a database that nobody uses yet."""
    say("更新数据库结构", "migrating the database")
    migrate(owner_url)
    with _engine(worker_url) as engine:
        say("重新执行个人信息删除", "erasing again whoever was erased since the backup")
        with _unhurried(engine) as session:
            erased = _replay_erasures(session, settings)
        say("更换同步纪元", "beginning a new sync epoch")
        with transaction(engine) as session:
            before, epoch = begin_epoch(session)
            audit.record(
                session,
                actor=ACTOR,
                action="server_restored",
                object_type="server",
                object_id=epoch,
                backup=backup.manifest.id if backup else "",
                epoch_before=before,
            )
        say("核对照片与文件", "comparing photographs and files with the store")
        with _unhurried(engine) as session:
            media = reconcile(session, store=object_store(), backup=backup, run=epoch)
    return Done(before, epoch, erased, media)


def after_restore(settings: Settings, *, backup: Backup | None, reason: str, say: Say) -> Done:
    """All steps on the database of the settings, which came back by other means. Nobody may use it yet."""
    if backup is not None:
        check_fit(settings, backup.folder)
    require_audit_key(settings)
    with programs.connect(settings.migration_url()) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        require_known_revision(str(row[0]) if row else "")
    worker_url = settings.worker_url()
    done = make_current(settings, owner_url=settings.migration_url(), worker_url=worker_url, backup=backup, say=say)
    mark_restore(worker_url=worker_url, backup_id=backup.manifest.id if backup else "", reason=reason, say=say)
    return done


def mark_restore(*, worker_url: str, backup_id: str, reason: str, say: Say) -> None:
    """Say in the anchor of the audit trail that the database was lawfully set back. The last step before it is used:
    the anchor lies outside, so a restore that is given up must not have touched it.
    """
    say("记入审计链", "marking the restore in the anchor of the audit trail")
    with _engine(worker_url) as engine, transaction(engine) as session:
        try:
            audit_chain.append_fork(session, reason=reason, backup_id=backup_id)
        except AuditBroken as error:
            raise BackupError(f"未能记入审计锚文件：{error}", f"the anchor was not written: {error}") from error


def migrate(owner_url: str) -> None:
    """Bring the tables up to this program."""
    engine = create_engine(dialect_url(owner_url), poolclass=pool.NullPool)
    config = alembic_config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _unhurried(engine: Engine) -> Iterator[Session]:
    """A transaction whose statements may take as long as they need: nobody waits for them."""
    with transaction(engine) as session:
        session.connection().execute(text("SET LOCAL statement_timeout = 0"))
        yield session


@contextmanager
def _engine(worker_url: str) -> Iterator[Engine]:
    """An engine of the worker's role whose connections are all closed at the end: the database is to be renamed."""
    engine = make_engine(worker_url, role="zw_worker")
    try:
        yield engine
    finally:
        engine.dispose()


def _replay_erasures(session: Session, settings: Settings) -> int:
    try:
        return erasure.replay(session, ledger_path=settings.erasure_ledger_file())
    except LedgerDamaged as error:
        raise BackupError(
            f"删除台账已损坏（{error}）：请取回完好的副本",
            f"the erasure ledger is damaged ({error}): bring back a whole copy of it",
        ) from error
