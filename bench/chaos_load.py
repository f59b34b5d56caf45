"""The load of `bench.chaos`: handhelds that push at a steady pace, and repeat a push until it is answered with 200."""

import json
import threading
import time
from typing import Any, cast

import httpx
from fastapi.testclient import TestClient

from bench.trust import People
from tests.world import Handheld, World, document

HANDHELDS = 4
ROWS = 5
EVERY = 4
"""One push of so many brings events, which become cases; the others bring people."""
AGAIN_S = 0.2
PLACE = {"lat": 226900000, "lon": 1143400000, "datum": "wgs84"}
CALLS = httpx.Timeout(30.0)


class Load:
    """Threads of handhelds. `wait` gives the ids of all documents that were acknowledged."""

    def __init__(self, url: str, *, rate: float, seconds: float) -> None:
        """`rate` in entries a second, all handhelds together."""
        self._client = httpx.Client(base_url=url, timeout=CALLS)
        world = World(cast("TestClient", self._client))
        self._handhelds = [world.handheld(login) for login in world.workers()[:HANDHELDS]]
        self._pace = ROWS * HANDHELDS / rate
        self._pushes = max(1, round(seconds / self._pace))
        self._people = People()
        self._acknowledged: list[str] = []
        self._met: list[dict[str, Any]] = []
        self._faults: list[BaseException] = []
        self._threads = [threading.Thread(target=self._work, args=(one,), daemon=True) for one in self._handhelds]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def wait(self) -> list[str]:
        """Wait until everything is pushed. What a handheld could not make sense of is raised here."""
        for thread in self._threads:
            thread.join()
        if self._faults:
            raise self._faults[0]
        return self._acknowledged

    def met(self) -> list[dict[str, Any]]:
        """The records of people that were acknowledged so far."""
        return list(self._met)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _work(self, handheld: Handheld) -> None:
        try:
            grid_id = handheld.grids()[0]
            begun = time.monotonic()
            for number in range(self._pushes):
                time.sleep(max(0.0, begun + number * self._pace - time.monotonic()))
                self._push(handheld, *self._rows(grid_id, number))
        except BaseException as fault:  # noqa: BLE001  raised again by `wait`
            self._faults.append(fault)

    def _rows(self, grid_id: str, number: int) -> tuple[str, list[dict[str, Any]]]:
        if number % EVERY:
            return "person", self._people.take(ROWS, grid_id)
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        event: dict[str, Any] = {"class_code": "0101", "occurred_at": moment, "location": PLACE, "description": "合成"}
        return "event", [document(grid_id, **event) for _ in range(ROWS)]

    def _push(self, handheld: Handheld, kind: str, rows: list[dict[str, Any]]) -> None:
        body = json.dumps({"rows": [{"newDocumentState": row} for row in rows]})
        while not self._is_answered(handheld, kind, body):
            time.sleep(AGAIN_S)
        self._acknowledged += [row["id"] for row in rows]
        if kind == "person":
            self._met += rows

    def _is_answered(self, handheld: Handheld, kind: str, body: str) -> bool:
        try:
            answer = self._client.post(f"/sync/v1/{kind}/push", content=body, headers=handheld.headers)
        except httpx.TransportError:
            return False
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return False
        if (answer.status_code, answer.text) != (200, "[]"):
            raise RuntimeError(f"{answer.status_code} {answer.text[:500]}")
        return True
