"""A grid worker's handheld over HTTP: has a key of its own, holds copies of its grid, pushes, pulls, sends photos.

It is not `sync.client`, which the product never imports so that others can take it as it is (an import contract), and
it loses answers and repeats rows on purpose, which a good client has no way to say.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from backend.core.clock import now
from backend.core.enums import Kind
from backend.demo.client import Json, Login, Office, Refused, Server, taken
from backend.demo.ledger import Account, Ledger, read_said
from backend.demo.replica import Replica
from backend.demo.uploads import Photo, upload
from sync.projection import CURRENT

AUDIENCE = "zhiwang"
PROOF_SECONDS = 60
ENROL_TRIES = 5
PAGE = 200
KINDS = tuple(Kind)


class NoGrid(Exception):
    """The worker of this login holds no grid now: the demo's memberships end a month after the stack was started."""


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """The ES256 key that never leaves the device."""

    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def public(self) -> Json:
        """The public half as JWK."""
        return ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)

    def proof(self, refresh_token: str) -> str:
        """What shows that it is this device that refreshes."""
        moment = int(time.time())
        claims = {"aud": AUDIENCE, "iat": moment, "exp": moment + PROOF_SECONDS, "rt": refresh_token}
        return jwt.encode(claims, self.private, algorithm="ES256")


class Handheld(Login):
    """One enrolled device. Used by one thread at a time."""

    def __init__(self, server: Server, name: str, key: DeviceKey, tokens: Json) -> None:
        super().__init__(server)
        self.name = name
        self.ledger = Ledger()
        self.replicas = {kind: Replica() for kind in KINDS}
        self.known_cases: frozenset[str] = frozenset()
        self.sent_photos = 0
        self._epoch = ""
        self._key = key
        self._photos: list[Photo] = []
        self._take_tokens(tokens)
        self.grid_id = self._own_grid()

    @classmethod
    def enrol(cls, server: Server, office: Office, login: str) -> "Handheld":
        """Bind a new device to a worker's account. Where an answer was lost its code is used up: with another one."""
        for left in reversed(range(ENROL_TRIES)):
            code = taken(office.call("POST", "/auth/v1/enrolment-codes", json={"login": login})).json()["code"]
            key = DeviceKey()
            body = {"code": code, "device_name": f"演示掌机 {login}", "public_key": key.public()}
            answer = server.call("POST", "/auth/v1/enrol", json=body)
            if not answer.is_error:
                return cls(server, login, key, answer.json())
            if answer.status_code != httpx.codes.UNAUTHORIZED or not left:
                raise Refused(answer)
        raise AssertionError("the last try returns or raises")

    def renew(self) -> None:
        """The next pair of tokens. Where its answer is lost the same refresh token is presented again."""
        body = {"refresh_token": self._refresh_token, "proof": self._key.proof(self._refresh_token)}
        self._take_tokens(taken(self.server.call("POST", "/auth/v1/refresh", json=body)).json())

    def create(self, kind: Kind, fields: Json, **options: str) -> Json:
        """A new record of the worker's."""
        return self.replicas[kind].create({**fields, "captured_at": now().isoformat()}, **options)

    def push(self, kind: Kind, *, answer_lost: bool = False) -> None:
        """Send the unsent changes of a kind. With `answer_lost` they stay unsent, as after a cut connection."""
        rows = self.replicas[kind].rows()
        answer = self.push_rows(kind, rows) if rows else []
        if not answer_lost:
            self.replicas[kind].heard(rows, answer)

    def push_rows(self, kind: Kind, rows: list[Json]) -> list[Json]:
        """Push a batch, in halves where the server finds it too large."""
        self.ledger.note(rows)
        answer = self._sync("POST", f"/sync/v1/{kind}/push", json={"rows": rows})
        if answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE and len(rows) > 1:
            half = len(rows) // 2
            return self.push_rows(kind, rows[:half]) + self.push_rows(kind, rows[half:])
        documents: list[Json] = taken(answer).json()
        return documents

    def pull(self) -> None:
        """Bring the copies of all kinds up to date."""
        for kind in KINDS:
            for documents, checkpoint in self._pages(kind):
                self.replicas[kind].pulled(documents, checkpoint)

    def photograph(self, content: bytes) -> Json:
        """Take a photo that is to be sent later; gives its line for a record's manifest."""
        photo = Photo.of(content)
        self._photos.append(photo)
        return photo.manifest()

    def send_photos(self) -> None:
        """Send the photos taken so far."""
        while self._photos:
            upload(self, self._photos[0])
            self.sent_photos += 1
            del self._photos[0]

    def account(self) -> Account:
        """What this device sent, next to what the server says became of it."""
        mutations: list[Json] = []
        page: Json = {"next": 0}
        while True:
            page = self.get("/sync/v1/outcomes", since=page["next"], limit=PAGE)
            mutations += page["mutations"]
            if len(page["mutations"]) < PAGE:
                return Account(self.name, self.ledger.sent, read_said(mutations, page["quarantined"]))

    def cases_of_today(self) -> dict[str, Json]:
        """Outcomes of cases that were not there when the day began."""
        cases = self.replicas[Kind.CASE].live()
        return {key: case for key, case in cases.items() if key not in self.known_cases}

    def _own_grid(self) -> str:
        held = sorted(str(grid["id"]) for grid in self.get("/reference/v1/grids")["grids"])
        if not held:
            raise NoGrid(self.name)
        return held[0]

    def _pages(self, kind: Kind) -> Iterator[tuple[list[Json], Json]]:
        while True:
            query: dict[str, Any] = {"limit": PAGE}
            if self.replicas[kind].checkpoint is not None:
                query["checkpoint"] = json.dumps(self.replicas[kind].checkpoint)
            path = f"/sync/v1/{kind}/pull"
            page = taken(self._sync("GET", path, params=query)).json()
            yield page["documents"], page["checkpoint"]
            if len(page["documents"]) < PAGE:
                return

    def _sync(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A call of the sync protocol. The server's epoch is named from the second one on."""
        answer = self.call(method, path, headers=self._claims(), **options)
        if not answer.is_error:
            self._epoch = answer.headers.get("X-Sync-Epoch", self._epoch)
        return answer

    def _claims(self) -> dict[str, str]:
        """What the device says of itself with each call."""
        waiting = sum(len(replica.changed) for replica in self.replicas.values())
        said = {"X-Schema-Version": str(CURRENT), "X-Client-Time": now().isoformat(), "X-Waiting": str(waiting)}
        return said | ({"X-Sync-Epoch": self._epoch} if self._epoch else {})

    def _take_tokens(self, tokens: Json) -> None:
        self.access_token, self._refresh_token = tokens["access_token"], tokens["refresh_token"]
