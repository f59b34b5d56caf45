"""Helpers that act as the users do: office staff log in, handhelds enrol, push and pull, all through the API."""

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi.testclient import TestClient
from sqlmodel import Session

from backend import jobs
from backend.core.db import engine_for
from backend.core.ids import new_id
from backend.handlers import load_handlers
from backend.seed.load import demo_logins
from backend.services.sessions import AUDIENCE
from backend.tasks import run_batch

Json = dict[str, Any]


def until(condition: Callable[[], bool], *, seconds: float = 30.0, what: str = "") -> None:
    """Wait for a state, with a bound."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not reached in {seconds} s: {what}")
        time.sleep(0.02)


def drain_jobs() -> int:
    """Run all jobs that can run now, with the jobs that follow from them; gives how many runs that were."""
    load_handlers()
    ran = 0
    while True:
        with Session(engine_for("zw_worker")) as session:
            names = jobs.waiting_names(session)
        if not names:
            return ran
        ran += sum(run_batch(name) for name in names)


def base64url(number: int) -> str:
    """A coordinate of a P-256 point as JWK writes it."""
    return urlsafe_b64encode(number.to_bytes(32, "big")).decode().rstrip("=")


@dataclass
class DeviceKey:
    """A handheld's ES256 key pair."""

    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def jwk(self) -> Json:
        point = self.private.public_key().public_numbers()
        return {"kty": "EC", "crv": "P-256", "x": base64url(point.x), "y": base64url(point.y)}

    def proof(self, refresh_token: str) -> str:
        moment = int(time.time())
        claims = {"aud": AUDIENCE, "iat": moment, "exp": moment + 60, "rt": refresh_token}
        return jwt.encode(claims, self.private, algorithm="ES256")


@dataclass
class Handheld:
    """One enrolled device and what it holds: enough of a client to push and pull by hand."""

    client: TestClient
    login: str
    key: DeviceKey
    tokens: Json
    checkpoints: dict[str, Json] = field(default_factory=dict)
    documents: dict[str, Json] = field(default_factory=dict)
    epoch: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Of a call; the epoch is named where the test gave one."""
        named = {"X-Sync-Epoch": self.epoch} if self.epoch else {}
        return {"Authorization": f"Bearer {self.tokens['access_token']}", **named}

    def push_rows(self, kind: str, rows: list[Any]) -> Any:
        body = json.dumps({"rows": rows})
        answer = self.client.post(f"/sync/v1/{kind}/push", content=body, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def push(self, kind: str, document: Json, assumed: Json | None = None) -> Any:
        row: Json = {"newDocumentState": document}
        if assumed is not None:
            row["assumedMasterState"] = assumed
        return self.push_rows(kind, [row])

    def pull(self, kind: str, limit: int = 100) -> list[Json]:
        """Pull until a short page, as RxDB does; keeps the documents and the checkpoint."""
        found: list[Json] = []
        while True:
            page = self.page(kind, limit)
            found += page
            if len(page) < limit:
                return found

    def page(self, kind: str, limit: int) -> list[Json]:
        """Pull one page."""
        query: Json = {"limit": limit}
        if kind in self.checkpoints:
            query["checkpoint"] = json.dumps(self.checkpoints[kind])
        answer = self.client.get(f"/sync/v1/{kind}/pull", params=query, headers=self.headers)
        assert answer.status_code == 200, answer.text
        page: Json = answer.json()
        self.checkpoints[kind] = page["checkpoint"]
        for document in page["documents"]:
            self.documents[document["id"]] = document
        return list(page["documents"])

    def outcomes(self, since: int = 0) -> Json:
        """All outcomes and all rows that wait for review, page by page."""
        query: Json = {"since": since, "limit": 500}
        result: Json = {"mutations": [], "quarantined": []}
        while True:
            answer = self.client.get("/sync/v1/outcomes", params=query, headers=self.headers)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            result["mutations"] += page["mutations"]
            result["quarantined"] += page["quarantined"]
            if len(page["mutations"]) < query["limit"] and page["held_next"] is None:
                return result
            query["since"] = page["next"]
            if result["quarantined"]:
                query["held_since"] = result["quarantined"][-1]["held"]

    def grids(self) -> list[str]:
        answer = self.client.get("/reference/v1/grids", headers=self.headers)
        assert answer.status_code == 200, answer.text
        return sorted(grid["id"] for grid in answer.json()["grids"])


class World:
    """The demo's office accounts and workers, over one client."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.logins = {entry.login: entry for entry in demo_logins()}

    def office(self, role: str) -> dict[str, str]:
        """Authorization headers of the first demo account with a role."""
        entry = next(entry for entry in self.logins.values() if entry.role == role)
        answer = self.client.post("/auth/v1/login", json={"login": entry.login, "password": entry.password})
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def workers(self) -> list[str]:
        """Logins of the demo's grid workers."""
        return [entry.login for entry in self.logins.values() if entry.role == "grid_worker"]

    def handheld(self, login: str | None = None) -> Handheld:
        """An enrolled device of a worker."""
        login = login or self.workers()[0]
        issued = self.client.post("/auth/v1/enrolment-codes", json={"login": login}, headers=self.office("supervisor"))
        assert issued.status_code == 201, issued.text
        key = DeviceKey()
        enrolled = self.client.post(
            "/auth/v1/enrol",
            json={"code": issued.json()["code"], "device_name": "test handheld", "public_key": key.jwk()},
        )
        assert enrolled.status_code == 201, enrolled.text
        return Handheld(self.client, login, key, enrolled.json())


def document(grid_id: str, *, document_id: UUID | None = None, **fields: Any) -> Json:
    """A document as a client writes it, with an `op` of its own."""
    return {
        "id": str(document_id or new_id()),
        "grid_id": grid_id,
        **fields,
        "op": str(uuid4()),
        "_deleted": False,
    }


def edited(current: Json, **fields: Any) -> Json:
    """A local edit of a document: other fields, a new `op`."""
    return {**current, **fields, "op": str(uuid4())}
