"""Backups: whole or not there, of one state, verified to the last byte, and without the keys."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import Session
from typer.testing import CliRunner

from backend.backup import create, keys, manifest, media, verify
from backend.backup.create import create_base, create_dump
from backend.backup.errors import BackupError
from backend.cli import app
from backend.core.crypto import key_ring, new_secret
from backend.core.db import engine_for, transaction
from backend.core.ids import new_id
from backend.core.settings import Settings, get_settings
from backend.embedded.postgres import EmbeddedPostgres
from backend.services.epoch import current_epoch
from backend.services.objects import object_store
from backend.services.photos import receive_photo

PHOTO = b"no photograph, but bytes that are kept"


def silent(chinese: str, english: str) -> None:
    """Steps are for people."""


@pytest.fixture
def settings(
    database: str, postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """Settings of a database of the test's own, with PostgreSQL's programs and a folder of state."""
    monkeypatch.setenv("PG_BINDIR", str(postgres.binaries))
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ADMIN_DATABASE_URL", postgres.url(user="postgres", database="postgres"))
    get_settings.cache_clear()
    yield get_settings()
    get_settings.cache_clear()


def stored_photo() -> str:
    """A photo in the store and in the database; gives its key."""
    with transaction(engine_for("zw_worker")) as session:
        photo_id = new_id()
        receive_photo(session, photo_id=photo_id, owner_id=None, content=PHOTO, mime="image/jpeg")
        statement = text("SELECT original_key FROM photo WHERE id = :id")
        return str(session.connection().execute(statement, {"id": photo_id}).scalar_one())


def test_a_backup_is_of_one_state_and_says_which(settings: Settings) -> None:
    key = stored_photo()
    backup = create_dump(settings, to=None, say=silent)
    said = backup.manifest
    assert backup.folder.parent == settings.state_dir / "backups"
    assert (said.kind, said.id) == ("dump", backup.folder.name)
    with Session(engine_for("zw_worker")) as session:
        assert said.epoch == current_epoch(session)
        for name in ("photo", "grid", "account", "audit_entry"):
            assert said.counts[name] == session.connection().execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
    assert said.counts["photo"] == 1
    [line] = [line for line in media.read_media(backup.folder) if line.of == "photo"]
    assert (line.key, line.size, line.fault) == (key, len(PHOTO), "")
    assert (backup.folder / "media" / key).read_bytes() == PHOTO
    assert verify.verify(backup.folder, settings).good
    assert [found.folder for found in verify.list_backups(backup.folder.parent)[0]] == [backup.folder]


def test_rows_that_are_committed_while_it_runs_are_neither_in_the_dump_nor_counted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_photo()
    real = create._dump

    def late(*arguments: object) -> manifest.FileEntry:
        stored_photo()
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(create, "_dump", late)
    backup = create_dump(settings, to=None, say=silent)
    assert backup.manifest.counts["photo"] == 1
    lines = {line.of for line in media.read_media(backup.folder)}
    assert lines == {"photo", "nothing"}, "a file that no row of the snapshot names is kept all the same"


def test_no_key_is_in_a_backup_and_only_we_can_read_it(settings: Settings) -> None:
    stored_photo()
    backup = create_dump(settings, to=None, say=silent)
    values = [getattr(settings, name).get_secret_value() for name in ("master_keys", "index_key", "token_secret")]
    assert stat.S_IMODE(backup.folder.stat().st_mode) == 0o700
    for place, _, names in os.walk(backup.folder):
        for name in names:
            path = Path(place, name)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, name
            content = path.read_bytes()
            assert not [value for value in values if value.removeprefix("1:").encode() in content], name


@pytest.mark.parametrize("mode", ["copy", "link", "manifest"])
def test_files_are_copied_linked_or_only_listed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, mode: manifest.MediaMode
) -> None:
    monkeypatch.setenv("BACKUP_MEDIA", mode)
    get_settings.cache_clear()
    key = stored_photo()
    backup = create_dump(get_settings(), to=None, say=silent)
    kept = backup.folder / "media" / key
    assert backup.manifest.media.mode == mode
    assert kept.exists() is (mode != "manifest")
    if kept.exists():
        assert (kept.stat().st_nlink > 1) is (mode == "link")
    object_store().put(key, b"written anew")
    assert verify.verify(backup.folder, get_settings()).good


def test_what_the_store_lost_or_damaged_is_named_and_the_backup_is_good(settings: Settings) -> None:
    lost, damaged = stored_photo(), stored_photo()
    object_store().delete(lost)
    object_store().put(damaged, b"other bytes")
    backup = create_dump(settings, to=None, say=silent)
    assert {line.key: line.fault for line in media.read_media(backup.folder)} == {lost: "missing", damaged: "damaged"}
    report = verify.verify(backup.folder, settings)
    assert report.good
    assert len(report.notes) == 1


@pytest.mark.parametrize("victim", ["database.dump", "media.jsonl", "media", "MANIFEST.json"])
def test_every_change_to_a_backup_is_found(settings: Settings, victim: str) -> None:
    key = stored_photo()
    backup = create_dump(settings, to=None, say=silent)
    path = backup.folder / (f"media/{key}" if victim == "media" else victim)
    content = path.read_bytes()
    if victim == "MANIFEST.json":
        path.write_bytes(content.replace(b'"photo": 1', b'"photo": 2'))
    else:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    faults = verify.verify(backup.folder, settings).faults
    assert len(faults) == 1, faults
    with pytest.raises(BackupError, match="nothing was touched"):
        verify.require_good(backup.folder, settings)
    path.unlink()
    if victim == "MANIFEST.json":
        assert verify.list_backups(backup.folder.parent)[0] == []
    else:
        assert verify.verify(backup.folder, settings).faults


def test_a_dump_that_does_not_hold_what_it_should_is_found_though_its_hash_is_right(settings: Settings) -> None:
    backup = create_dump(settings, to=None, say=silent)
    backup.dump.write_bytes(b"PGDMP no dump")
    entry = manifest.hash_file(backup.dump)
    forged = manifest.sign(
        manifest.Manifest(
            **{
                **{name: getattr(backup.manifest, name) for name in backup.manifest.__struct_fields__},
                "files": {**backup.manifest.files, "database.dump": entry},
            }
        ),
        settings,
    )
    (backup.folder / "MANIFEST.json").unlink()
    manifest.write(forged, backup.folder)
    faults = verify.verify(backup.folder, settings).faults
    assert len(faults) == 1
    assert "pg_restore" in faults[0]


def test_a_backup_that_fails_half_way_is_not_there(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(create, "write_media", full)
    with pytest.raises(OSError, match="no space left"):
        create_dump(settings, to=None, say=silent)
    assert list((settings.state_dir / "backups").iterdir()) == []
    killed = settings.state_dir / "backups" / ".x-1234.partial"
    killed.mkdir()
    (killed / "MANIFEST.json").write_text("{}")
    assert verify.list_backups(settings.state_dir / "backups") == ([], [killed])


def test_an_existing_folder_is_not_written_into(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="already"):
        create_dump(settings, to=tmp_path, say=silent)


def test_a_base_backup_is_a_copy_of_the_cluster_that_its_own_manifest_proves(settings: Settings) -> None:
    backup = create_base(settings, to=None, say=silent)
    assert (backup.folder / "base" / "PG_VERSION").is_file()
    assert verify.verify(backup.folder, settings).good
    victim = backup.folder / "base" / "global" / "pg_control"
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    assert len(verify.verify(backup.folder, settings).faults) == 1


def test_the_keys_come_back_from_their_own_file_with_the_passphrase_only(settings: Settings, tmp_path: Path) -> None:
    file, passphrase = tmp_path / "keys.json", "synthetic passphrase"
    keys.export_keys(settings, to=file, passphrase=passphrase)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    opened = keys.open_keys(file, passphrase=passphrase)
    assert opened["MASTER_KEYS"] == settings.master_keys.get_secret_value()
    assert opened["INDEX_KEY"] == settings.index_key.get_secret_value()
    assert not [value for value in opened.values() if value in file.read_text()]
    with pytest.raises(BackupError, match="wrong passphrase"):
        keys.open_keys(file, passphrase="another passphrase")
    changed = json.loads(file.read_text())
    file.write_text(json.dumps({**changed, "nonce": changed["scrypt"]["salt"]}))
    with pytest.raises(BackupError, match="wrong passphrase"):
        keys.open_keys(file, passphrase=passphrase)


def test_keys_never_lie_beside_a_backup(settings: Settings, tmp_path: Path) -> None:
    backup = create_dump(settings, to=tmp_path / "elsewhere", say=silent)
    for place in (backup.folder / "keys", backup.folder / "media" / "keys", settings.state_dir / "backups" / "keys"):
        with pytest.raises(BackupError, match="never lie beside"):
            keys.export_keys(settings, to=place, passphrase="synthetic passphrase")
    with pytest.raises(BackupError, match="at least 12"):
        keys.export_keys(settings, to=tmp_path / "keys", passphrase="short")
    assert not (tmp_path / "keys").exists()


def test_other_keys_are_told_from_the_right_ones(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = keys.key_checks(settings)
    first = settings.master_keys.get_secret_value()
    for masters, index, wrong in (
        (f"{first},2:{new_secret()}", None, []),
        (f"2:{new_secret()}", None, ["master:1"]),
        (f"1:{new_secret()}", None, ["master:1"]),
        (first, new_secret(), ["index"]),
    ):
        monkeypatch.setenv("MASTER_KEYS", masters)
        monkeypatch.setenv("INDEX_KEY", index or settings.index_key.get_secret_value())
        assert keys.wrong_keys(checks, Settings()) == wrong
    key_ring.cache_clear()


def test_the_command_line_makes_lists_and_verifies(settings: Settings, tmp_path: Path) -> None:
    runner = CliRunner()
    made = runner.invoke(app, ["backup", "create"])
    assert made.exit_code == 0, made.output
    [folder] = (settings.state_dir / "backups").iterdir()
    assert folder.name in runner.invoke(app, ["backup", "list"]).output
    assert runner.invoke(app, ["backup", "verify", str(folder)]).exit_code == 0
    (folder / "database.dump").unlink()
    again = runner.invoke(app, ["backup", "verify", str(folder)])
    assert (again.exit_code, "missing" in again.output) == (1, True)
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("synthetic passphrase\n")
    options = ["--to", str(tmp_path / "keys"), "--passphrase-file", str(passphrase)]
    assert runner.invoke(app, ["backup", "keys", *options]).exit_code == 0
    refused = runner.invoke(app, ["backup", "keys", *options])
    assert (refused.exit_code, "already" in refused.output) == (1, True)
    opened = ["backup", "open-keys", str(tmp_path / "keys"), "--to", str(tmp_path / "env")]
    assert runner.invoke(app, [*opened, "--passphrase-file", str(passphrase)]).exit_code == 0
    assert f"INDEX_KEY={settings.index_key.get_secret_value()}\n" in (tmp_path / "env").read_text()
