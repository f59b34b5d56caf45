"""Restore drills on a server of their own: back to an earlier point, and what a handheld has comes back by itself.

The stack's own program restores, as `make restore` runs it. A dump goes back to the moment of the backup; a copy of the
cluster with its archived log to a moment that was named.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from alembic import command
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import Session, select

from backend.backup.after import alembic_config
from backend.backup.create import create_base, create_dump
from backend.core.crypto import key_ring
from backend.core.db import engine_for, transaction
from backend.core.settings import PROJECT_ROOT, get_settings
from backend.embedded.places import throwaway_dir
from backend.embedded.postgres import EmbeddedPostgres
from backend.models import Document, DocumentVersion
from backend.services import audit_chain, audit_sealing, audit_verify
from backend.services.audit_anchor import private_key
from backend.services.records import StoredRow, open_rows
from sync.client import Client
from tests.devices import Through, enrolled
from tests.rooms.test_erasure import GONE, by_identity, erase, person_of
from tests.world import Handheld, World, document, drain_jobs, edited, until

Json = dict[str, Any]
OWN_SERVER = ("DATABASE_URL", "WORKER_DATABASE_URL", "MIGRATION_DATABASE_URL", "ADMIN_DATABASE_URL")


def silent(chinese: str, english: str) -> None:
    """Steps are for people."""


class Site:
    """A place where the product runs: a state folder with a PostgreSQL of its own, whose log is kept."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state = folder / "state"
        self.state.mkdir(mode=0o711)
        self.archive = folder / "wal"
        self._monkeypatch = monkeypatch

    @contextmanager
    def open(self) -> Iterator[World]:
        """The server and the app, up to date and with the demo's accounts, until the block ends."""
        postgres = EmbeddedPostgres(self.state / "postgres", fsync=False, wal_archive=self.archive)
        postgres.start()
        try:
            postgres.prepare()
            self._use(postgres)
            command.upgrade(alembic_config(), "head")
            self._seed()
            from backend.main import create_app

            with TestClient(create_app(), raise_server_exceptions=False) as client:
                yield World(client)
        finally:
            self._forget_caches()
            postgres.stop()

    def restore(self, folder: Path, *options: str) -> str:
        """`make restore`, while nothing runs; gives what it said."""
        own = {"STATE_DIR": str(self.state), "WAL_ARCHIVE": str(self.archive)}
        kept = {name: value for name, value in os.environ.items() if name not in OWN_SERVER}
        command_line = [sys.executable, "-m", "backend.dev", "restore", str(folder), *options]
        done = subprocess.run(
            command_line, cwd=PROJECT_ROOT, env={**kept, **own}, capture_output=True, text=True, check=False, timeout=90
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _use(self, postgres: EmbeddedPostgres) -> None:
        addresses = {
            "DATABASE_URL": postgres.url(user="zw_api"),
            "WORKER_DATABASE_URL": postgres.url(user="zw_worker"),
            "MIGRATION_DATABASE_URL": postgres.url(user="zw_owner"),
            "ADMIN_DATABASE_URL": postgres.url(user="postgres", database="postgres"),
            "STATE_DIR": str(self.state),
            "PG_BINDIR": str(postgres.binaries),
        }
        for name, value in addresses.items():
            self._monkeypatch.setenv(name, value)
        self._forget_caches()

    def _seed(self) -> None:
        from backend.seed.load import seed_accounts, seed_code_tables

        with Session(engine_for("zw_worker")) as session:
            seed_code_tables(session)
            seed_accounts(session)
            session.commit()

    def _forget_caches(self) -> None:
        for role in ("zw_api", "zw_worker"):
            engine_for(role).dispose()
        for cached in (get_settings, key_ring, engine_for):
            cached.cache_clear()


@pytest.fixture
def site(_environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with throwaway_dir() as folder:
        place = Site(folder, monkeypatch)
        yield place
        place._forget_caches()
    monkeypatch.undo()


class Device:
    """A handheld that keeps what it has, names the epoch, and starts its sync anew when it is told to."""

    def __init__(self, handheld: Handheld) -> None:
        self.handheld = handheld
        self.held: dict[str, Json] = {}
        self.epoch: str | None = None
        self.told = 0

    def write(self, kind: str, record: Json, base: Json | None = None) -> None:
        """A local change, pushed at once."""
        row: Json = {"newDocumentState": record} | ({"assumedMasterState": base} if base else {})
        self.held[record["id"]] = {**record, "kind": kind}
        self._heard(self._call("POST", f"/sync/v1/{kind}/push", json={"rows": [row]}).json())

    def pull(self, kind: str) -> None:
        """The whole collection from the beginning."""
        self._heard(self._call("GET", f"/sync/v1/{kind}/pull", params={"limit": 500}).json()["documents"], kind)

    def push_everything(self) -> None:
        """All documents as they are, without a base."""
        for kind in sorted({record["kind"] for record in self.held.values()}):
            mine = [record for record in self.held.values() if record["kind"] == kind]
            rows = [{"newDocumentState": {k: v for k, v in record.items() if k != "kind"}} for record in mine]
            self._heard(self._call("POST", f"/sync/v1/{kind}/push", json={"rows": rows}).json(), kind)

    def _heard(self, documents: list[Json], kind: str = "") -> None:
        for one in documents:
            self.held[one["id"]] = {**one, "kind": kind or self.held[one["id"]]["kind"]}

    def _call(self, method: str, path: str, **options: Any) -> Any:
        self.handheld.epoch = self.epoch
        answer = self.handheld.client.request(method, path, headers=self.handheld.headers, **options)
        if answer.status_code == 409 and answer.json()["code"] == "epoch":
            self.told += 1
            self.epoch = answer.json()["epoch"]
            self.push_everything()
            return self._call(method, path, **options)
        assert answer.status_code == 200, answer.text
        self.epoch = answer.headers["X-Sync-Epoch"]
        return answer


def rows_of(statement: str, **values: object) -> list[Any]:
    with Session(engine_for("zw_worker")) as session:
        return list(session.connection().execute(text(statement), values))


def versions(document_id: str) -> int:
    [row] = rows_of("SELECT count(*) FROM document_version WHERE document_id = :id", id=UUID(document_id))
    return int(row[0])


def readable(document_id: str) -> bool:
    """Whether anything of a person is there that a key opens, in the record or in its history."""
    with Session(engine_for("zw_worker")) as session:
        found = [
            *session.exec(select(Document).where(Document.id == UUID(document_id))),
            *session.exec(select(DocumentVersion).where(DocumentVersion.document_id == UUID(document_id))),
        ]
        stored = [StoredRow(UUID(document_id), row.body, row.sealed) for row in found]
        return any("id_number" in fields for fields in open_rows(session, stored))


def anchor() -> None:
    """Seal and anchor what is in the audit trail, as the beat does."""
    with transaction(engine_for("zw_worker")) as session:
        audit_sealing.seal_waiting(session)
    with transaction(engine_for("zw_worker")) as session:
        audit_chain.anchor(session)


def trail() -> audit_verify.Report:
    """The audit trail, verified against its anchor."""
    key = private_key()
    assert key is not None
    with Session(engine_for("zw_worker")) as session:
        path = get_settings().anchor_path()
        return audit_verify.verify(session, path=path, moment=datetime.now(UTC), key=key.public_key())


def settled(device: Device) -> None:
    """Pushing everything once more and pulling changes nothing: neither here nor there."""
    before = rows_of("SELECT id, version, op FROM document ORDER BY id")
    held = {key: {**record, "rev": 0} for key, record in device.held.items()}
    device.push_everything()
    device.pull("house")
    device.pull("person")
    assert rows_of("SELECT id, version, op FROM document ORDER BY id") == before
    assert {key: {**record, "rev": 0} for key, record in device.held.items()} == held


def test_back_to_a_dump_and_forward_again_by_what_a_handheld_holds(site: Site) -> None:
    with site.open() as world:
        device = Device(world.handheld())
        grid = device.handheld.grids()[0]
        old = document(grid, address="合成路1号", use="residential")
        device.write("house", old)
        device.pull("house")
        person = person_of(GONE, grid)
        device.write("person", person)
        assert readable(person["id"])
        anchor()
        backup = create_dump(get_settings(), to=None, say=silent)
        late = Device(world.handheld())
        changed = edited(device.held[old["id"]], use="commercial")
        changed.pop("kind")
        device.write("house", changed, old)
        new = document(grid, address="合成路2号")
        device.write("house", new)
        device.pull("house")
        assert versions(old["id"]) == 2
        assert erase(drain_jobs, **by_identity()).state == "done"
        assert not readable(person["id"])
        anchor()
        assert backup.manifest.audit.batch < trail().batches
        was, held = device.epoch, dict(device.held)

    said = site.restore(backup.folder, "--replace")
    assert "erased again: 1" in said

    with site.open() as world:
        device.handheld.client = late.handheld.client = world.client
        assert versions(old["id"]) == 1
        assert rows_of("SELECT 1 FROM document WHERE id = :id", id=UUID(new["id"])) == []
        assert not readable(person["id"]), "who was erased since is erased again"
        refused = world.client.get("/sync/v1/house/pull", headers=late.handheld.headers)
        assert refused.status_code == 401, "its login was made after the backup: it enrols again"
        device.pull("house")
        assert (device.told, device.epoch != was) == (1, True)
        device.pull("person")
        gone = device.held[person["id"]]
        assert (gone["_deleted"], gone.get("id_number")) == (True, None), "what the handheld had of him is overwritten"
        others = {key for key in held if key != person["id"]}
        assert {key: {**device.held[key], "rev": 0} for key in others} == {
            key: {**held[key], "rev": 0} for key in others
        }
        assert not readable(person["id"])
        assert (versions(old["id"]), versions(new["id"])) == (2, 1)
        outcomes = rows_of("SELECT outcome FROM mutation WHERE kind = 'house'")
        assert [entry.outcome for entry in outcomes] == ["applied"] * 3
        assert rows_of("SELECT 1 FROM quarantine") == []
        settled(device)
        anchor()
        told = trail()
        assert (told.finding, told.forks) == (None, 1), "the trail goes on, and says where it was set back"
        assert told.batches > backup.manifest.audit.batch


def test_back_to_a_moment_by_a_copy_and_the_archived_log(site: Site) -> None:
    with site.open() as world:
        device = Device(world.handheld())
        grid = device.handheld.grids()[0]
        backup = create_base(get_settings(), to=None, say=silent)
        kept = document(grid, address="合成路1号", use="residential")
        device.write("house", kept)
        moment = datetime.now(UTC)
        until(lambda: datetime.now(UTC) > moment, what="a later moment")
        device.write("house", edited(kept, use="commercial"), kept)
        new = document(grid, address="合成路2号")
        device.write("house", new)
        device.pull("house")
        was = device.epoch

    site.restore(backup.folder, "--replace", "--at", moment.isoformat())

    with site.open() as world:
        device.handheld.client = world.client
        assert rows_of("SELECT id, version FROM document") == [(UUID(kept["id"]), 1)]
        device.pull("house")
        assert (device.told, device.epoch != was) == (1, True)
        assert device.held[kept["id"]]["use"] == "commercial"
        assert (versions(kept["id"]), versions(new["id"])) == (2, 1)
        settled(device)
        assert rows_of("SELECT pg_is_in_recovery()")[0][0] is False


def test_two_clients_bring_back_what_the_server_forgot(site: Site, tmp_path: Path) -> None:
    """Both work on after the backup, and have unsent work in the end. Everything that anybody wrote is there after the
    restore, and no two edits of one history are taken for a conflict."""
    with site.open() as world:
        one, other = (enrolled(world, tmp_path / f"{name}.sqlite", kinds=("house",)) for name in ("one", "other"))
        grid = one.grids()[0]
        old, both, gone = (one.create("house", {"grid_id": grid, "address": f"合成路{n}号"})["id"] for n in range(3))
        in_step(one, other)
        backup = create_dump(get_settings(), to=None, say=silent)
        one.edit("house", old, {"use": "commercial"})
        one.edit("house", both, {"use": "office"})
        one.delete("house", gone)
        new = other.create("house", {"grid_id": grid, "address": "合成路7号"})["id"]
        in_step(one, other)
        other.edit("house", both, {"rental_use": "rented"})
        in_step(one, other)
        one.edit("house", both, {"address": "合成路8号"})
        other.edit("house", new, {"use": "residential"})
        unsent = other.create("house", {"grid_id": grid, "address": "合成路9号"})["id"]
        was = one.store.epoch

    site.restore(backup.folder, "--replace")

    with site.open() as world:
        assert versions(both) == 1
        for device in (one, other):
            device.connection._http._transport = Through(world.client)
        in_step(one, other)
        assert one.store.epoch == other.store.epoch != was
        found = {record["id"]: record for record in one.store.documents("house")}
        assert found.keys() == {old, both, new, unsent}
        assert found[old]["use"] == "commercial"
        assert [found[both][name] for name in ("use", "rental_use", "address")] == ["office", "rented", "合成路8号"]
        assert found[new]["use"] == "residential"
        assert other.store.documents("house") == one.store.documents("house")
        assert rows_of("SELECT field FROM conflict WHERE hardness = 'hard'") == []
        assert rows_of("SELECT 1 FROM quarantine") == []
        for device in (one, other):
            assert device.store.refused() == []
            assert device.differing() == []
            assert device.receipt().safe
            device.close()


def in_step(*devices: Client) -> None:
    """All have pushed, and pulled what the others pushed."""
    for _ in range(2):
        for device in devices:
            device.sync()
