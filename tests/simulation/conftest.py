"""The API as a process over a database of its own, and Node processes for the handhelds: one set for a whole run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from backend.embedded.postgres import EmbeddedPostgres
from tests.conftest import administer, use_database
from tests.live import Live
from tests.simulation import node

NODES = 3
DATABASE = "zhiwang_simulation"
SMALL_BATCHES = {"MAX_BATCH_ROWS": "4", "MAX_BODY_BYTES": "65536"}
"""Fewer rows than a client sends at once, so that it has to halve."""


@pytest.fixture(scope="session")
def nodes() -> Iterator[list[node.NodeProcess]]:
    """Node processes, each ready to hold a handheld. Skips where there is no Node."""
    program = node.node()
    node.install()
    started = [node.NodeProcess(program) for _ in range(NODES)]
    try:
        yield started
    finally:
        for process in started:
            process.stop()


@contextmanager
def running(folder: Path) -> Iterator[Live]:
    """An API over the database of the moment. No jobs run: sync needs none."""
    stack = Live(folder, {**os.environ, "STATE_DIR": str(folder / "state"), **SMALL_BATCHES})
    try:
        stack.start_api()
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="package")
def server(
    nodes: list[node.NodeProcess], postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    """A running API, with a database that the tests of this folder share: each makes grids and workers of its own."""
    administer(postgres, f"CREATE DATABASE {DATABASE} TEMPLATE {template} OWNER zw_owner")
    use_database(postgres, DATABASE)
    with running(tmp_path_factory.mktemp("simulation")) as stack:
        yield stack


@pytest.fixture
def client(server: Live, postgres: EmbeddedPostgres) -> Iterator[httpx.Client]:
    """Python's own connection to the shared API; the process looks at its database."""
    use_database(postgres, DATABASE)
    with httpx.Client(base_url=server.url, timeout=30) as connected:
        yield connected
