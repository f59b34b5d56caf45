"""One handheld in the hands of a test."""

from typing import Any
from uuid import uuid4

from tests.simulation.audit import comparable
from tests.simulation.node import NodeProcess
from tests.simulation.town import Town, everything
from tests.world import Handheld, document


class Device:
    """A handheld in a Node process, and the Python helper of the same device to look with the server's eyes."""

    def __init__(self, node: NodeProcess, enrolled: Handheld, town: Town, **given: Any) -> None:
        self.call = node.call
        self.enrolled = enrolled
        token = enrolled.tokens["access_token"]
        self.call("open", name=f"d{uuid4().hex}", url=town.url, token=token, **{"storage": "dexie", **given})

    def house(self, grid: str, **fields: Any) -> str:
        given = document(grid, **{"address": "合成路1号", **fields})
        return str(self.call("insert", kind="house", document=given))

    def patch(self, one: str, **fields: Any) -> None:
        assert self.call("patch", kind="house", id=one, fields=fields)

    def die_offline(self) -> None:
        """The app dies without the answer of its push, and starts where there is no network."""
        self.call("offline", offline=True)
        self.call("restart")
        self.call("release", place="push answer")

    def houses(self) -> dict[str, str]:
        living: dict[str, str] = self.call("dump")["living"]["house"]
        return living

    def is_like_the_server(self) -> bool:
        truth = {one: comparable(found) for one, found in everything(self.enrolled, "house").items()}
        return self.houses() == truth

    def outcomes(self) -> list[str]:
        return [entry["outcome"] for entry in self.enrolled.outcomes()["mutations"]]
