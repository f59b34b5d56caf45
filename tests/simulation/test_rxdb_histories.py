"""Random histories of real RxDB clients converge, whatever the network does, and the check sees when they do not."""

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.simulation.history import History
from tests.simulation.node import NodeProcess
from tests.simulation.town import Town

SEEDS = int(os.environ.get("RXDB_SEEDS", "2"))
FIRST_SEED = int(os.environ.get("RXDB_FIRST_SEED", "0"))
RESULTS = os.environ.get("RXDB_RESULTS")
OPERATIONS = 40
ENOUGH_SEEDS = 12
STORAGES = ("memory", "dexie")


def played(client: httpx.Client, nodes: list[NodeProcess], storage: str, seed: int, **options: Any) -> History:
    """One history from its beginning to its end; `found` says what does not hold then."""
    history = History(Town.found(client), storage, seed)
    try:
        history.begin(nodes, **options)
        history.run(OPERATIONS)
        history.end()
    finally:
        history.close()
    return history


@pytest.mark.timeout(60 + 30 * SEEDS)
@pytest.mark.parametrize("storage", STORAGES)
def test_histories_converge(client: httpx.Client, nodes: list[NodeProcess], storage: str) -> None:
    """Many seeds on one server: each has grids and workers of its own."""
    histories = [played(client, nodes, storage, seed) for seed in range(FIRST_SEED, FIRST_SEED + SEEDS)]
    failed = {history.seed: history.found for history in histories if history.found}
    if RESULTS:
        line = {
            "storage": storage,
            "converged": len(histories) - len(failed),
            "operations": sum(history.operations for history in histories),
            "faults": sum(history.faults for history in histories),
            "failed": failed,
        }
        with Path(RESULTS).open("a") as results:
            results.write(json.dumps(line, ensure_ascii=False) + "\n")
    assert not failed
    assert all(history.faults and history.accepted for history in histories), "the control: the network did its worst"


def test_without_the_answers_of_pushes_some_history_does_not_converge(
    client: httpx.Client, nodes: list[NodeProcess]
) -> None:
    """The negative control: rule 3 broken between server and client, and the same check says so."""
    for seed in range(ENOUGH_SEEDS):
        found = played(client, nodes, "memory", seed, emptyAnswers=True).found
        if any(", the server " in difference for difference in found):
            return
    pytest.fail(f"{ENOUGH_SEEDS} seeds converged without a single answer")
