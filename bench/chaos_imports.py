"""Imports in the middle of `bench.chaos`: each has the entries checked again that it touches, while all is killed.

First a population in which nobody is whom the handhelds have met, then one with those whose record was acknowledged so
far. A department repeats its upload until it is taken, as handhelds repeat their pushes.
"""

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import httpx
from fastapi.testclient import TestClient

from backend.seed import synthetic
from backend.services.registry_specs import SPECS
from tests.world import World

DATASET = "population"
STRANGERS = range(1_000_000, 1_000_050)
AGAIN_S = 0.5

Row = dict[str, Any]


class Imports:
    """A thread that hands over a snapshot after a third and after two thirds of the time."""

    def __init__(self, url: str, *, seconds: float, met: Callable[[], Sequence[Row]]) -> None:
        """`met` gives the records of people that were acknowledged so far."""
        self._client = httpx.Client(base_url=url, timeout=httpx.Timeout(30.0))
        self._steward = World(cast("TestClient", self._client)).office("data_steward")
        self._pause, self._met = seconds / 3, met
        self._faults: list[BaseException] = []
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wait(self) -> None:
        """Wait until both were taken. What was refused for good is raised here."""
        self._thread.join()
        self._client.close()
        if self._faults:
            raise self._faults[0]

    def _work(self) -> None:
        try:
            strangers = [synthetic.person(index) for index in STRANGERS]
            for with_met in (False, True):
                time.sleep(self._pause)
                self._hand_over([*strangers, *(self._met() if with_met else ())])
        except BaseException as fault:  # noqa: BLE001  raised again by `wait`
            self._faults.append(fault)

    def _hand_over(self, people: Sequence[Row]) -> None:
        columns = {column.name for column in SPECS[DATASET].columns}
        lines = [json.dumps({name: row[name] for name in columns & row.keys()}) for row in people]
        while not self._is_taken("\n".join(lines).encode()):
            time.sleep(AGAIN_S)

    def _is_taken(self, content: bytes) -> bool:
        try:
            answer = self._client.post(
                f"/registry/v1/datasets/{DATASET}/imports", content=content, headers=self._steward
            )
        except httpx.TransportError:
            return False
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return False
        if answer.status_code != httpx.codes.ACCEPTED:
            raise RuntimeError(f"{answer.status_code} {answer.text[:500]}")
        return True
