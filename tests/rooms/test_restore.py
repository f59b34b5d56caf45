"""Restoring a dump beside what is there: nothing is touched until all is done, and all that has to follow follows."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from alembic import command
from sqlalchemy import text
from sqlmodel import Session, select
from typer.testing import CliRunner

from backend.backup import after, keys, manifest, restore
from backend.backup.after import alembic_config
from backend.backup.create import create_dump
from backend.backup.errors import BackupError
from backend.backup.manifest import Backup
from backend.backup.reconcile import Reconciled, reconcile
from backend.backup.restore import restore_dump
from backend.cli import app
from backend.core.crypto import key_ring, new_secret
from backend.core.db import engine_for, transaction
from backend.core.enums import PhotoState
from backend.core.ids import new_id
from backend.core.settings import Settings, get_settings
from backend.embedded.postgres import EmbeddedPostgres
from backend.models import Derivative, Photo, ServerState
from backend.services.epoch import current_epoch
from backend.services.objects import object_store
from backend.services.photos import derivative_key, receive_photo
from tests.rooms.test_backup import silent


def fresh() -> Settings:
    """The settings as the environment now is; no connection of this process stays open."""
    for role in ("zw_api", "zw_worker"):
        engine_for(role).dispose()
    for cached in (get_settings, key_ring, engine_for):
        cached.cache_clear()
    return get_settings()


@pytest.fixture
def settings(
    database: str, postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    monkeypatch.setenv("PG_BINDIR", str(postgres.binaries))
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ADMIN_DATABASE_URL", postgres.url(user="postgres", database="postgres"))
    yield fresh()
    fresh()


@pytest.fixture
def databases(settings: Settings, database: str) -> Callable[[], list[str]]:
    """The databases of this test, by name."""

    def names() -> list[str]:
        with psycopg.connect(settings.admin_database_url) as connection:
            rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{database}%"])
            return sorted(str(name) for (name,) in rows)

    return names


def mark(name: str) -> None:
    """A row by which the state of the database is told."""
    with transaction(engine_for("zw_worker")) as session:
        session.add(ServerState(name=name, value=""))


def marks() -> set[str]:
    with Session(engine_for("zw_api")) as session:
        return set(session.exec(select(ServerState.name)).all())


def epoch() -> str:
    with Session(engine_for("zw_api")) as session:
        return current_epoch(session)


def test_a_restore_brings_back_the_state_of_the_backup_and_keeps_the_later_one(
    settings: Settings, database: str, databases: Callable[[], list[str]]
) -> None:
    mark("before")
    backup = create_dump(settings, to=None, say=silent)
    mark("later")
    was = epoch()
    restored = restore_dump(fresh(), backup.folder, replace=True, say=silent)
    assert "before" in marks()
    assert "later" not in marks()
    assert epoch() not in ("", was)
    assert (restored.done.epoch_before, restored.done.epoch) == (was, epoch())
    assert databases() == sorted([database, str(restored.kept)])
    command.check(alembic_config())
    kept = settings.worker_url().replace(database, str(restored.kept))
    with psycopg.connect(kept) as connection:
        assert connection.execute("SELECT 1 FROM server_state WHERE name = 'later'").fetchone() == (1,)
    with Session(engine_for("zw_api")) as session:
        said = session.connection().execute(
            text("SELECT object_id, detail FROM audit_entry WHERE action = 'server_restored'")
        )
        assert [(row.object_id, row.detail["backup"]) for row in said] == [(epoch(), backup.manifest.id)]


@pytest.mark.parametrize("there", [False, True])
def test_an_empty_or_absent_database_is_restored_into_without_being_asked(
    settings: Settings, database: str, databases: Callable[[], list[str]], there: bool
) -> None:
    mark("before")
    backup = create_dump(settings, to=None, say=silent)
    fresh()
    with psycopg.connect(settings.admin_database_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {database}".encode())
        if there:
            connection.execute(f"CREATE DATABASE {database} OWNER zw_owner".encode())
    assert restore_dump(settings, backup.folder, replace=False, say=silent).kept is None
    assert "before" in marks()
    assert databases() == [database]


def refuse_replacing(backup: Backup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore, "_fill", lambda *_: pytest.fail("it went on"))


def refuse_wrong_keys(backup: Backup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_KEYS", f"1:{new_secret()}")


def refuse_damage(backup: Backup, monkeypatch: pytest.MonkeyPatch) -> None:
    backup.dump.write_bytes(backup.dump.read_bytes()[:-1])


def refuse_an_older_ledger(backup: Backup, monkeypatch: pytest.MonkeyPatch) -> None:
    (get_settings().state_dir / "trust" / "erasures.jsonl").unlink()


def rewrite(backup: Backup, **changes: object) -> None:
    """Write the manifest anew with other facts, signed as the product would."""
    (backup.folder / keys.MANIFEST_NAME).unlink()
    values = {name: getattr(backup.manifest, name) for name in backup.manifest.__struct_fields__}
    manifest.write(manifest.sign(manifest.Manifest(**{**values, **changes}), get_settings()), backup.folder)


def refuse_a_newer_version(backup: Backup, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite(backup, revision="9999")


def refuse_a_copy_of_the_cluster(backup: Backup, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite(backup, kind="base")
    (backup.folder / "base").mkdir()


def refuse_without_the_audit_key(backup: Backup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUDIT_KEY")


@pytest.mark.parametrize(
    ("spoil", "replace", "words"),
    [
        (refuse_replacing, False, "is not empty, nothing was touched"),
        (refuse_wrong_keys, True, r"nothing was touched \(master:1\)"),
        (refuse_damage, True, "nothing was touched"),
        (refuse_an_older_ledger, True, "erasure ledger"),
        (refuse_a_newer_version, True, "newer version"),
        (refuse_a_copy_of_the_cluster, True, "make restore"),
        (refuse_without_the_audit_key, True, "AUDIT_KEY is not set, nothing was touched"),
    ],
)
def test_what_is_not_as_it_has_to_be_is_refused_before_anything_is_touched(
    settings: Settings,
    database: str,
    databases: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Backup, pytest.MonkeyPatch], None],
    replace: bool,
    words: str,
) -> None:
    trust = settings.state_dir / "trust"
    trust.mkdir(parents=True)
    (trust / "erasures.jsonl").write_text("{}\n")
    backup = create_dump(settings, to=None, say=silent)
    mark("later")
    was = epoch()
    spoil(backup, monkeypatch)
    with pytest.raises(BackupError, match=words):
        restore_dump(fresh(), backup.folder, replace=replace, say=silent)
    assert (epoch(), "later" in marks()) == (was, True)
    assert databases() == [database]


def test_nobody_may_be_connected(settings: Settings, database: str, databases: Callable[[], list[str]]) -> None:
    backup = create_dump(settings, to=None, say=silent)
    with (
        psycopg.connect(settings.database_url),
        pytest.raises(BackupError, match="1 connections use the database, nothing was touched"),
    ):
        restore_dump(fresh(), backup.folder, replace=True, say=silent)
    assert databases() == [database]


def test_a_restore_that_fails_at_its_last_step_leaves_all_as_it_was(
    settings: Settings, database: str, databases: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = create_dump(settings, to=None, say=silent)
    mark("later")

    def broken(*_: object, **__: object) -> None:
        raise BackupError("坏", "planted")

    monkeypatch.setattr(restore, "_swap", broken)
    with pytest.raises(BackupError, match="planted"):
        restore_dump(fresh(), backup.folder, replace=True, say=silent)
    assert databases() == [database]
    assert "later" in marks(), "it can be connected to again"


def test_the_steps_after_a_restore_by_other_means_can_be_done_twice(settings: Settings) -> None:
    epochs = [epoch()]
    for _ in range(2):
        after.after_restore(fresh(), backup=None, reason="drill", say=silent)
        epochs.append(epoch())
    assert len(set(epochs)) == 3


def test_the_command_line_restores_and_says_what_became_of_it(settings: Settings) -> None:
    backup = create_dump(settings, to=None, say=silent)
    mark("later")
    fresh()
    refused = CliRunner().invoke(app, ["backup", "restore", str(backup.folder)])
    assert (refused.exit_code, "不是空的" in refused.output) == (1, True)
    done = CliRunner().invoke(app, ["backup", "restore", str(backup.folder), "--replace"])
    assert done.exit_code == 0, done.output
    assert f"→ {epoch()}" in done.output
    assert "later" not in marks()
    assert CliRunner().invoke(app, ["backup", "after-restore"]).exit_code == 0


def receive(owner_id: UUID | None) -> UUID:
    """A photo of bytes of its own, received whole."""
    photo_id = new_id()
    with transaction(engine_for("zw_worker")) as session:
        receive_photo(
            session, photo_id=photo_id, owner_id=owner_id, content=photo_id.bytes * 4, mime="application/octet-stream"
        )
    return photo_id


def photo(photo_id: UUID) -> Photo:
    with Session(engine_for("zw_worker")) as session:
        return session.get_one(Photo, photo_id)


def key_of(photo_id: UUID) -> str:
    key = photo(photo_id).original_key
    assert key is not None
    return key


def reconciled(backup: Backup | None = None) -> Reconciled:
    with transaction(engine_for("zw_worker")) as session:
        return reconcile(session, store=object_store(), backup=backup, run=os.urandom(4).hex())


@pytest.fixture
def owner(settings: Settings) -> UUID:
    with Session(engine_for("zw_worker")) as session:
        return UUID(str(session.connection().execute(text("SELECT id FROM account LIMIT 1")).scalar_one()))


def test_where_rows_and_store_agree_nothing_is_done(owner: UUID) -> None:
    receive(owner)
    assert reconciled() == Reconciled()


def test_a_lost_original_is_put_back_from_the_backup(settings: Settings, owner: UUID) -> None:
    kept, broken, later = receive(owner), receive(owner), receive(None)
    backup = create_dump(settings, to=None, say=silent)
    (backup.folder / "media" / key_of(broken)).write_bytes(b"other bytes")
    keys_of = [key_of(photo_id) for photo_id in (kept, broken, later)]
    for key in keys_of:
        object_store().delete(key)
    (backup.folder / "media" / keys_of[2]).unlink()
    report = reconciled(backup)
    assert (report.put_back, report.expected, report.failed) == ([keys_of[0]], [keys_of[1]], [keys_of[2]])
    assert object_store().get(keys_of[0]) == kept.bytes * 4
    assert reconciled(backup).put_back == []


def test_a_photo_without_an_original_is_expected_from_its_handheld_or_failed(owner: UUID) -> None:
    mine, citizens = receive(owner), receive(None)
    for photo_id in (mine, citizens):
        object_store().delete(key_of(photo_id))
    reconciled()
    assert (photo(mine).state, photo(mine).original_key) == (PhotoState.EXPECTED, None)
    assert (photo(citizens).state, photo(citizens).failure) == (PhotoState.FAILED, "original_lost")
    with transaction(engine_for("zw_worker")) as session:
        receive_photo(session, photo_id=mine, owner_id=owner, content=mine.bytes * 4, mime="image/jpeg")
    assert photo(mine).state is PhotoState.RECEIVED, "the handheld has brought it again"


def test_lost_copies_are_made_anew_from_the_original(owner: UUID) -> None:
    photo_id = receive(owner)
    key = derivative_key(photo_id, "thumb-x.jpeg")
    with transaction(engine_for("zw_worker")) as session:
        session.get_one(Photo, photo_id).state = PhotoState.PROCESSED
        session.add(
            Derivative(
                photo_id=photo_id,
                variant="thumb",
                storage_key=key,
                mime="image/jpeg",
                width=1,
                height=1,
                size=3,
                sha256="0" * 64,
            )
        )
    assert reconciled().made_anew == [key]
    assert photo(photo_id).state is PhotoState.RECEIVED
    with Session(engine_for("zw_worker")) as session:
        waiting = text("SELECT count(*) FROM job WHERE name = 'media.process' AND payload->>'photo_id' = :id")
        assert session.connection().execute(waiting, {"id": str(photo_id)}).scalar_one() == 2
        assert session.get(Derivative, (photo_id, "thumb")) is None


def test_a_photo_received_since_the_backup_is_taken_in_again(settings: Settings, owner: UUID) -> None:
    backup = create_dump(settings, to=None, say=silent)
    photo_id = receive(owner)
    key = key_of(photo_id)
    object_store().put("originals/00/no-photo", b"x")
    report = restore_dump(fresh(), backup.folder, replace=True, say=silent).done.media
    assert (report.adopted, report.orphans) == ([key], ["originals/00/no-photo"])
    assert (photo(photo_id).state, photo(photo_id).original_key) == (PhotoState.RECEIVED, key)
    assert reconciled().adopted == []


def test_a_file_of_another_content_than_its_name_is_not_taken_in(owner: UUID) -> None:
    photo_id = receive(owner)
    forged = key_of(photo_id)[:-16] + "0" * 16
    object_store().put(forged, b"other bytes")
    assert reconciled().orphans == [forged]
