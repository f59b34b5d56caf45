"""The calls of the protocol, one method each. They say what goes over the wire and keep nothing."""

import json
from collections.abc import Sequence
from typing import Any

from sync.client.connection import Connection

Json = dict[str, Any]


class Calls:
    """The sync calls of one device."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def push(self, kind: str, rows: Sequence[Json], *, number: int) -> list[Json]:
        """Push a batch; the server's documents where they differ from the pushed ones."""
        headers = {"X-Push-Number": str(number)}
        answer = self._connection.call("POST", f"/sync/v1/{kind}/push", json={"rows": rows}, headers=headers)
        documents: list[Json] = answer.json()
        return documents

    def pull(self, kind: str, checkpoint: Json | None, limit: int) -> tuple[list[Json], Json]:
        """The next page and the checkpoint after it."""
        query: Json = {"limit": limit}
        if checkpoint is not None:
            query["checkpoint"] = json.dumps(checkpoint)
        page = self._get(f"/sync/v1/{kind}/pull", **query)
        return page["documents"], page["checkpoint"]

    def outcomes(self, *, since: int, reviewed_since: int, held_since: str | None, limit: int) -> Json:
        """A page of what became of this device's rows, of those that wait for review, and of decisions."""
        query: Json = {"since": since, "reviewed_since": reviewed_since, "limit": limit}
        return self._get("/sync/v1/outcomes", **query, **({"held_since": held_since} if held_since else {}))

    def answer_review(self, conflict: str, answer: str, body: Json | None = None) -> Json:
        """`accept` or `contest` the resolution of a conflict."""
        said: Json = self._connection.call("POST", f"/sync/v1/outcomes/{conflict}/{answer}", json=body).json()
        return said

    def digest(self, kind: str) -> dict[str, Json]:
        """`seq`, `count` and `hash` of the collection for each held grid."""
        grids: dict[str, Json] = self._get(f"/sync/v1/{kind}/digest")["grids"]
        return grids

    def receipt(self, *, records: Sequence[Json] = (), photos: Sequence[Json] = ()) -> Json:
        """Which of these the server has."""
        body = {"records": list(records), "photos": list(photos)}
        said: Json = self._connection.call("POST", "/sync/v1/receipt", json=body).json()
        return said

    def grids(self) -> list[Json]:
        """The grids that the worker holds now."""
        grids: list[Json] = self._get("/reference/v1/grids")["grids"]
        return grids

    def _get(self, path: str, **query: Any) -> Json:
        found: Json = self._connection.call("GET", path, params=query).json()
        return found
