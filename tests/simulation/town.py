"""Grids and workers made for one history, so that histories share a database and never meet."""

import json
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import httpx
from sqlalchemy import text
from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.db import engine_for
from backend.core.enums import Role
from backend.core.ids import new_id
from backend.models import Account, Grid, Posting
from backend.seed.territory import DEMO_COMMUNITIES, DEMO_DISTRICT
from tests.world import DeviceKey, Handheld, Json, World

FIRST_GRID = 500
_numbers = count()


@dataclass
class Town:
    """Grids and grid workers of one history. Everyone and everything is synthetic."""

    grids: list[str]
    workers: list[UUID]
    client: httpx.Client
    supervisor: dict[str, str]

    @classmethod
    def found(cls, client: httpx.Client, *, grids: int = 3, workers: int = 3) -> "Town":
        """Make the grids and the workers."""
        with Session(engine_for("zw_worker")) as session:
            ids = [_grid(session, next(_numbers)) for _ in range(grids)]
            people = [_worker(session) for _ in range(workers)]
            session.commit()
        return cls(ids, people, client, World(client).office("supervisor"))  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        """The address of the API."""
        return str(self.client.base_url).rstrip("/")

    def assign(self, worker: int, grid: int) -> None:
        """Give a worker a grid, over the API; one that is held already stays so."""
        answer = self.client.post(
            f"/accounts/v1/accounts/{self.workers[worker]}/memberships",
            json={"grid_id": self.grids[grid]},
            headers=self.supervisor,
        )
        assert answer.status_code == 201, answer.text

    def withdraw(self, worker: int, grid: int) -> None:
        """End a worker's term in a grid, over the API."""
        answer = self.client.post(
            f"/accounts/v1/memberships/{self._term(worker, grid)}/end", json={}, headers=self.supervisor
        )
        assert answer.status_code == 200, answer.text

    def held(self, worker: int) -> set[int]:
        """The numbers of the grids that a worker holds now."""
        with Session(engine_for("zw_worker")) as session:
            rows = session.connection().execute(_HELD, {"account": self.workers[worker]}).scalars()
            return {self.grids.index(grid) for grid in rows}

    def enrol(self, worker: int) -> Handheld:
        """A new device of a worker, as the Python helper that pulls by hand."""
        with Session(engine_for("zw_worker")) as session:
            login = session.get_one(Account, self.workers[worker]).login
        issued = self.client.post("/auth/v1/enrolment-codes", json={"login": login}, headers=self.supervisor)
        assert issued.status_code == 201, issued.text
        key = DeviceKey()
        given = {"code": issued.json()["code"], "device_name": "simulated handheld", "public_key": key.jwk()}
        enrolled = self.client.post("/auth/v1/enrol", json=given)
        assert enrolled.status_code == 201, enrolled.text
        return Handheld(self.client, login, key, enrolled.json())  # type: ignore[arg-type]

    def _term(self, worker: int, grid: int) -> UUID:
        with Session(engine_for("zw_worker")) as session:
            given = {"account": self.workers[worker], "grid": self.grids[grid]}
            term: UUID = session.connection().execute(_TERM, given).scalar_one()
            return term


def everything(device: Handheld, kind: str) -> dict[str, Json]:
    """What the server gives a device from the beginning: the living documents by id."""
    device.checkpoints.pop(kind, None)
    return {one["id"]: one for one in device.pull(kind, limit=500) if not one["_deleted"]}


def rows(statement: str, **values: Any) -> list[Any]:
    """The rows of a query as the worker's role, which sees all."""
    with Session(engine_for("zw_worker")) as session:
        return list(session.connection().execute(text(statement), values))


def _grid(session: Session, number: int) -> str:
    community = DEMO_COMMUNITIES[number % len(DEMO_COMMUNITIES)]
    like = session.exec(select(Grid).where(Grid.community_code == community)).first()
    assert like is not None
    grid_id = f"{community}{FIRST_GRID + number // len(DEMO_COMMUNITIES):03d}"
    polygon = json.loads(json.dumps(like.polygon))
    session.add(
        Grid(
            id=grid_id,
            name=f"合成网格{number}",
            community_code=community,
            responsible_unit=like.responsible_unit,
            polygon=polygon,
            starts_at=now(),
        )
    )
    return grid_id


def _worker(session: Session) -> UUID:
    account = Account(id=new_id(), login=f"sim-{uuid4().hex[:12]}", display_name="合成网格员", created_at=now())
    session.add(account)
    session.flush()
    session.add(
        Posting(
            account_id=account.id,
            role=Role.GRID_WORKER,
            territory_code=DEMO_DISTRICT,
            starts_at=now(),
            granted_by="simulation",
        )
    )
    return account.id


_HELD = text("SELECT grid_id FROM membership WHERE account_id = :account AND starts_at <= now() AND ends_at IS NULL")
_TERM = text("SELECT id FROM membership WHERE account_id = :account AND grid_id = :grid AND ends_at IS NULL")
