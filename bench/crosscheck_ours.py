"""Our side of `bench.crosscheck`: the population imported, the entries pushed, checked by workers, and read back."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from backend.core.ids import new_id
from backend.core.settings import PROJECT_ROOT
from bench.crosscheck_labels import Labelled
from bench.stack import OwnStack, run_module
from bench.sync_load import send
from bench.sync_ours import Ours, ours, pushes, took

SIDE = "bench.crosscheck_side"
WORKERS = 2
"""As many as a worker has children by default (`WORKER_CONCURRENCY`)."""
PUSHED_AT_ONCE = 500

Row = dict[str, Any]


@dataclass
class Product:
    """A database of the product with a population, and how fast entries were checked against it, a number a round."""

    stack: OwnStack
    database: str
    entries_per_s: list[float] = field(default_factory=list)
    worked_us: list[float] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return self.stack.environment(self.database, LOG_LEVEL="WARNING")

    def load(self, drop: Path) -> dict[str, float]:
        """Import the population by the product's own import, and let the statistics settle."""
        said: dict[str, float] = json.loads(run_module(SIDE, "import", str(drop), environment=self.environment))
        self.settle()
        return said

    def settle(self) -> None:
        """What autovacuum does within minutes."""
        with self.stack.superuser(self.database) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")

    def push(self, side: Ours, entries: Sequence[Labelled]) -> list[str]:
        """Push the entries as handhelds do; the id of each one's document."""
        rows = [row_of(entry, side.grids[place % len(side.grids)]) for place, entry in enumerate(entries)]
        shares = [rows[place :: len(side.grids)] for place in range(len(side.grids))]
        work = [
            pushes(handheld, mine, size=PUSHED_AT_ONCE) for handheld, mine in zip(side.handhelds, shares, strict=True)
        ]
        send(side.ports, work, took)
        return [row["id"] for row in rows]

    def check(self) -> None:
        """Let the workers check all that waits, all from one moment on, and note the speed."""
        command = [sys.executable, "-m", SIDE, "check"]
        workers = [
            subprocess.Popen(
                command,
                cwd=PROJECT_ROOT,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(WORKERS)
        ]
        for worker in workers:
            assert worker.stdout
            if worker.stdout.readline() != "ready\n":
                raise RuntimeError("a worker did not get ready")
        for worker in workers:
            assert worker.stdin
            worker.stdin.write("\n")
            worker.stdin.flush()
        said = [json.loads(worker.communicate()[0]) for worker in workers]
        entries = sum(one["entries"] for one in said)
        taken = max(one["until"] for one in said) - min(one["from"] for one in said)
        self.entries_per_s.append(entries / taken)
        self.worked_us.append(sum(one["worked"] for one in said) / entries * 1e6)

    def links(self, documents: Sequence[str]) -> list[tuple[str, str | None]]:
        """Of each document the verdict and the id number of the record it was linked with."""
        path = self.stack.folder / f"{self.database}_links.json"
        run_module(SIDE, "links", str(path), environment=self.environment)
        found = json.loads(path.read_text())
        return [tuple(found[document]) for document in documents]


def row_of(entry: Labelled, grid_id: str) -> Row:
    """The entry as a handheld pushes it."""
    return {"id": str(new_id()), "grid_id": grid_id, **entry.fields, "op": str(uuid4()), "_deleted": False}


__all__ = ["Product", "ours", "row_of"]
