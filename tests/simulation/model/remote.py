"""The real server in the place of the model's: two API processes over PostgreSQL, seen through the same interface.

Calls go to either process, as chance will have it; some kill the process they reach (`failing`). What the oracle looks
at is read back from the tables after each call, opened with the product's own keys.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, cast
from uuid import UUID

import httpx
from fastapi.testclient import TestClient
from sqlalchemy import NullPool, create_engine, text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.db import dialect_url, engine_for, transaction
from backend.core.enums import Hardness, Outcome, QuarantineCode, Role
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.kinds import Document
from backend.services.records import StoredRow, context_of, open_rows
from backend.services.sealing import Vault, subjects_in
from backend.services.sessions import Caller
from sync import ownership, service
from sync.authority import FieldRequest
from sync.known import Held, Version
from sync.rules import ABSENT, FieldConflict, State
from tests.live import Live
from tests.simulation.model.failing import POINTS
from tests.simulation.model.server import KIND, SPEC, Entry, NoAnswer, OutOfOrder, Server, Stored
from tests.world import Handheld, World

API = "tests.simulation.model.failing:app"
PUSH, PULL = "/sync/v1/house/push", "/sync/v1/house/pull"
KILLED = 0.02
"""How many pushes kill the process that they reach."""


@dataclass
class Fleet:
    """Two API processes, and a pool of enrolled handhelds whose grids the histories change."""

    processes: list[Live]
    pool: list[Handheld] = field(default_factory=list)
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30))
    kills: int = 0
    used_grids: int = 0
    orders: Counter[int] = field(default_factory=Counter)

    @classmethod
    def start(cls, folder: Path, environment: Mapping[str, str], *, devices: int) -> "Fleet":
        """Start the processes and enrol the handhelds of different workers."""
        fleet = cls([])
        for number in range(2):
            place = folder / f"api-{number}"
            place.mkdir()
            fleet.processes.append(Live(place, dict(environment), application=API))
            fleet.processes[-1].start_api()
        with httpx.Client(base_url=fleet.processes[0].url, timeout=30) as client:
            world = World(cast("TestClient", client))
            fleet.pool = [world.handheld(login) for login in world.workers()[:devices]]
        with transaction(engine_for("zw_worker")) as session:
            session.connection().execute(text("UPDATE membership SET ends_at = now() WHERE ends_at IS NULL"))
        return fleet

    def stop(self) -> None:
        """End the processes."""
        self.http.close()
        for process in self.processes:
            process.stop()

    def grids(self, number: int) -> list[str]:
        """Grids that no history has had, so that each begins with empty feeds."""
        first, self.used_grids = self.used_grids, self.used_grids + number
        with transaction(engine_for("zw_worker")) as session:
            rows = session.connection().execute(_FREE_GRIDS, {"first": first, "number": number}).scalars().all()
            session.connection().execute(_NEW_GRIDS, {"ids": list(rows)})
        return list(rows)

    def revive(self, process: Live) -> None:
        """Start a process again that a call killed."""
        self.kills += 1
        process.kill("api")
        process.start_api()

    def renew(self, handheld: Handheld) -> None:
        """Get a fresh access token."""
        token = handheld.tokens["refresh_token"]
        body = {"refresh_token": token, "proof": handheld.key.proof(token)}
        answer = self.http.post(f"{self.processes[0].url}/auth/v1/refresh", json=body)
        answer.raise_for_status()
        handheld.tokens = {**handheld.tokens, **answer.json()}


class RemoteServer(Server):
    """One history's view of the fleet. `db` holds what the tables said last."""

    def __init__(self, seed: int, *, grids: Sequence[str], fleet: Fleet) -> None:
        super().__init__(seed, grids=grids)
        self.fleet = fleet
        self.ids: set[UUID] = set()
        self._chance = Random(f"network {seed}")
        self._seen: dict[tuple[UUID, int], Version] = {}
        self._orders = Counter(fleet.orders)
        self._devices = {handheld.tokens["device_id"]: number for number, handheld in enumerate(fleet.pool)}

    def finish(self) -> None:
        """Take all grids back, and all memory of them: a worker who had held a thousand would be paged out of each."""
        for device in list(self.db.held):
            for grid_id in list(self.db.held[device]):
                self.unassign(device, grid_id)
        owner = create_engine(dialect_url(get_settings().migration_url()), poolclass=NullPool)
        with owner.begin() as connection:
            connection.execute(text("DELETE FROM membership WHERE ends_at IS NOT NULL"))

    # --- what offices and operators do

    def assign(self, device: int, grid_id: str) -> None:
        """As a supervisor would."""
        if grid_id in self.db.held.setdefault(device, {}):
            return
        super().assign(device, grid_id)
        values = {"id": new_id(), "grid": grid_id, "epoch": self.db.terms[grid_id], **self._account(device)}
        self._write_sql(_ASSIGN, values)

    def unassign(self, device: int, grid_id: str) -> None:
        """As a supervisor would."""
        if grid_id in self.db.held.get(device, {}):
            super().unassign(device, grid_id)
            self._write_sql(_UNASSIGN, {"grid": grid_id, **self._account(device)})

    def backup(self) -> None:
        """Not here: a restore of a whole cluster has a drill of its own (tests/journeys)."""

    def restore(self) -> bool:
        """Not here either."""
        return False

    def office(self, document_id: UUID, field_name: str, value: object) -> bool:
        """As the product publishes its own versions."""
        stored = self.db.documents.get(document_id)
        if stored is None or stored.versions[-1].state.deleted:
            return False
        fields = {**stored.versions[-1].state.fields, field_name: value}
        fields.pop("grid_id")
        with transaction(engine_for("zw_worker")) as session:
            if field_name in SPEC.stewarded:
                self._claim(session, document_id, field_name, stored.versions[-1].version)
            service.publish(session, kind=KIND, document_id=document_id, grid_id=stored.grid_id, fields=fields)
        return self._read() > 0

    def _claim(self, session: Session, document_id: UUID, field_name: str, version: int) -> None:
        """Note, as the department's desk does, that the field is its own."""
        steward = Caller(UUID(self.fleet.pool[0].tokens["account_id"]), Role.STEWARD, None, "", None)
        fields = {field_name: SPEC.stewarded[field_name]}
        ownership.claim(session, document_id, fields, version=version, caller=steward, at=now())

    # --- what devices call

    def push(
        self,
        device: int,
        body: bytes,
        *,
        epoch: int | None,
        order: int | None,
        sent_at: datetime,
        copies: int = 1,
    ) -> list[Document]:
        """Over HTTP, to either process; copies go to both at once.

        A killed process leaves `NoAnswer`, after what it did has been read back.
        """
        assert epoch in (None, self.epoch), "there is no restore here"
        self.ids |= {UUID(row["newDocumentState"]["id"]) for row in json.loads(body)["rows"]}
        headers = {"X-Client-Time": sent_at.isoformat()}
        if order is not None:
            headers["X-Push-Number"] = str(self._orders[device] + order)
            self.fleet.orders[device] = max(self.fleet.orders[device], self._orders[device] + order)
        if self._chance.random() < KILLED:
            headers["X-Fail-At"] = self._chance.choice(POINTS)
        processes = self._chance.sample(self.fleet.processes, copies)
        try:
            with ThreadPoolExecutor(copies) as pool:
                calls = [
                    pool.submit(self._call, process, device, "POST", PUSH, headers=headers, content=body)
                    for process in processes
                ]
            answer = [call.result() for call in calls][-1]
        finally:
            self._read()
        if answer.status_code == httpx.codes.CONFLICT:
            raise OutOfOrder
        return list(answer.json())

    def pull(self, device: int, checkpoint: str | None, *, limit: int, epoch: int | None) -> Document:
        """Over HTTP, to either process."""
        assert epoch in (None, self.epoch), "there is no restore here"
        query = {"limit": limit, "checkpoint": checkpoint or "{}"}
        answer = self._call(self._chance.choice(self.fleet.processes), device, "GET", PULL, params=query)
        page: Document = answer.json()
        return page

    def settle(self) -> None:
        """Read what each version led to."""
        versions = [(key, version.version) for key, stored in self.db.documents.items() for version in stored.versions]
        names = {f"document:{key}:{number}": (key, number) for key, number in versions}
        with Session(engine_for("zw_worker")) as session:
            connection = session.connection()
            for (key,) in connection.execute(_JOBS, {"keys": list(names)}):
                self.db.checks[names[key]] += 1
            for row in connection.execute(_AUDIT, {"ids": [str(key) for key in self.ids]}):
                self.db.trail[row.document_id, row.version] += 1

    def _call(
        self,
        process: Live,
        device: int,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        handheld = self.fleet.pool[device]
        try:
            answer = self._ask(handheld, method, f"{process.url}{path}", headers or {}, **more)
        except httpx.TransportError as error:
            self.fleet.revive(process)
            raise NoAnswer from error
        if answer.status_code not in (httpx.codes.OK, httpx.codes.CONFLICT):
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer

    def _ask(
        self, handheld: Handheld, method: str, url: str, headers: Mapping[str, str], **more: Any
    ) -> httpx.Response:
        """One call, once more with a fresh token where the old one ran out."""
        answer = self.fleet.http.request(method, url, headers={**handheld.headers, **headers}, **more)
        if answer.status_code != httpx.codes.UNAUTHORIZED:
            return answer
        self.fleet.renew(handheld)
        return self.fleet.http.request(method, url, headers={**handheld.headers, **headers}, **more)

    # --- reading back

    def _read(self) -> int:
        """Read back what the tables hold of this history's documents; gives the number of new versions."""
        ids = {"ids": list(self.ids)}
        with Session(engine_for("zw_worker")) as session:
            new = self._read_versions(session, ids)
            self._read_rows(session, ids)
        return new

    def _read_versions(self, session: Session, ids: Mapping[str, Any]) -> int:
        rows = [
            row
            for row in session.connection().execute(_VERSIONS, ids)
            if (row.document_id, row.version) not in self._seen
        ]
        vault = Vault(session)
        opened = open_rows(session, [StoredRow(row.document_id, row.body, row.sealed) for row in rows], vault=vault)
        for row, fields in zip(rows, opened, strict=True):
            version = Version(row.version, row.op, row.grid_id, State({} if row.deleted else fields, row.deleted))
            self._seen[row.document_id, row.version] = version
            stored = self.db.documents.setdefault(row.document_id, Stored(row.grid_id))
            stored.grid_id = row.grid_id
            stored.versions.append(version)
            stored.authors.append(self._devices.get(str(row.device_id)))
            stored.epochs.append(1)
        return len(rows)

    def _read_rows(self, session: Session, ids: Mapping[str, Any]) -> None:
        connection = session.connection()
        for row in connection.execute(_LEDGER, ids):
            pushed = None if row.version is None else State({})
            number = self._devices[str(row.device_id)]
            entry = Entry(row.fingerprint, Outcome(row.outcome), number, row.version, pushed)
            self.db.ledger.setdefault((row.document_id, row.op), entry)
        self.db.conflicts = list(self._conflicts(session, ids))
        self.db.requests = dict(self._requests(session, ids))
        for row in connection.execute(_QUARANTINE, ids):
            held = Held(KIND, QuarantineCode(row.code), bytes(row.payload), b"", [], row.document_id, row.op, None)
            self.db.quarantine[self._devices[str(row.device_id)], bytes(row.fingerprint)] = held

    def _conflicts(self, session: Session, ids: Mapping[str, Any]) -> Iterator[tuple[UUID, UUID, int, FieldConflict]]:
        rows = list(session.connection().execute(_CONFLICTS, ids))
        vault = Vault(session)
        vault.load(subjects_in(row.sides for row in rows))
        for row in rows:
            sides: dict[str, Any] = {}
            for part in vault.open(row.sides, context=context_of(row.document_id)):
                sides[str(part.path[0])] = part.value
            base, mine, theirs, kept = (sides.get(side, ABSENT) for side in ("base", "mine", "theirs", "kept"))
            found = FieldConflict(sides["field"], Hardness(row.hardness), base, mine, theirs, kept)
            yield row.document_id, row.op, self._devices[str(row.device_id)], found

    def _requests(
        self, session: Session, ids: Mapping[str, Any]
    ) -> Iterator[tuple[tuple[UUID, UUID, str], FieldRequest]]:
        rows = list(session.connection().execute(_REQUESTS, ids))
        vault = Vault(session)
        vault.load(subjects_in(row.sides for row in rows))
        for row in rows:
            parts = vault.open(row.sides, context=context_of(row.document_id))
            sides = {str(part.path[0]): part.value for part in parts}
            found = FieldRequest(row.field, sides.get("proposed", ABSENT), sides.get("kept", ABSENT))
            yield (row.document_id, row.op, row.field), found

    def _account(self, device: int) -> dict[str, Any]:
        return {"account": self.fleet.pool[device].tokens["account_id"], "now": now()}

    @staticmethod
    def _write_sql(statement: Any, values: Mapping[str, Any]) -> None:
        with transaction(engine_for("zw_worker")) as session:
            session.connection().execute(statement, values)


_FREE_GRIDS = text(
    """
    SELECT code || lpad(CAST(999 - :first / 500 AS text), 3, '0') FROM territory_unit
    WHERE level = 'community' ORDER BY code OFFSET mod(:first, 500) LIMIT :number
    """
)
_NEW_GRIDS = text(
    """
    INSERT INTO grid (id, name, community_code, responsible_unit, polygon, synthetic, starts_at)
    SELECT wanted.id, 'synthetic ' || wanted.id, left(wanted.id, 12), g.responsible_unit, g.polygon, true, g.starts_at
    FROM unnest(CAST(:ids AS text[])) AS wanted (id), (SELECT * FROM grid ORDER BY id LIMIT 1) g
    """
)
_ASSIGN = text(
    "INSERT INTO membership (id, account_id, grid_id, epoch, starts_at)"
    " VALUES (:id, CAST(:account AS uuid), :grid, :epoch, :now)"
)
_UNASSIGN = text(
    "UPDATE membership SET ends_at = :now"
    " WHERE account_id = CAST(:account AS uuid) AND grid_id = :grid AND ends_at IS NULL"
)
_VERSIONS = text("SELECT * FROM document_version WHERE document_id = ANY(:ids) ORDER BY document_id, version")
_LEDGER = text("SELECT * FROM mutation WHERE document_id = ANY(:ids)")
_CONFLICTS = text("SELECT * FROM conflict WHERE document_id = ANY(:ids) ORDER BY id")
_REQUESTS = text("SELECT * FROM verification_request WHERE document_id = ANY(:ids) ORDER BY id")
_QUARANTINE = text("SELECT * FROM quarantine WHERE document_id = ANY(:ids)")
_JOBS = text("SELECT key FROM job WHERE name = 'workflows.crosscheck' AND key = ANY(:keys)")
_AUDIT = text(
    """
    SELECT CAST(object_id AS uuid) AS document_id, CAST(detail->>'version' AS integer) AS version
    FROM audit_entry WHERE action = 'document_written' AND object_id = ANY(:ids)
    """
)
