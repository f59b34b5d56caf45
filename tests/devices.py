"""Devices of the reference client (`sync.client`) on the app in this process, over networks that fail as told."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from fastapi.testclient import TestClient

from sync.client import Client
from tests.world import World


class Through(httpx.BaseTransport):
    """The way to the app of this process. `client` may be exchanged for that of a server that was restored."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        sent = {"content": request.read(), "headers": dict(request.headers)}
        answer = self.client.request(request.method, request.url.raw_path.decode(), **sent)  # type: ignore[arg-type]
        return httpx.Response(answer.status_code, headers=dict(answer.headers), content=answer.content)


class Faulty(httpx.BaseTransport):
    """A network that loses requests and answers, sends twice, says "later", and brings a lost request in the end."""

    def __init__(self, inner: httpx.BaseTransport, seed: int, rate: float = 0.4) -> None:
        self.inner = inner
        self.rate = rate
        self.seen = dict.fromkeys(("lost request", "lost answer", "twice", "late", "busy"), 0)
        self._draw = random.Random(seed)
        self._late: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        if self._late and self._draw.random() < self.rate:
            self.inner.handle_request(self._late.pop(0))
        fault = self._draw.choice(list(self.seen)) if self._draw.random() < self.rate else ""
        if fault:
            self.seen[fault] += 1
        if fault == "late":
            self._late.append(request)
        if fault in ("lost request", "late"):
            raise httpx.ConnectError("lost on the way there", request=request)
        if fault == "busy":
            return httpx.Response(503, headers={"Retry-After": "2"}, request=request)
        answer = self.inner.handle_request(request)
        if fault == "lost answer":
            raise httpx.ReadError("lost on the way back", request=request)
        return self.inner.handle_request(request) if fault == "twice" else answer


class Meddling(httpx.BaseTransport):
    """Does something between the sending of a push and its answer."""

    def __init__(self, inner: httpx.BaseTransport, meanwhile: Callable[[], None]) -> None:
        self.inner = inner
        self.meanwhile = meanwhile

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self.inner.handle_request(request)
        if request.url.path.endswith("/push"):
            self.meanwhile()
        return answer


def code_for(world: World, login: str) -> str:
    """A one-time code for another device of a worker."""
    issued = world.client.post("/auth/v1/enrolment-codes", json={"login": login}, headers=world.office("supervisor"))
    assert issued.status_code == 201, issued.text
    return str(issued.json()["code"])


def enrolled(world: World, path: Path, login: str | None = None, **options: Any) -> Client:
    """A new device of a worker. It never really pauses."""
    given: dict[str, Any] = {"transport": Through(world.client), "pause": lambda _: None, **options}
    device = Client(path, "http://testserver", **given)
    device.enrol(code_for(world, login or world.workers()[0]), "synthetic handheld")
    return device
