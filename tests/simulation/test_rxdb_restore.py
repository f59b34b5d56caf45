"""The restore drill with RxDB clients: the server goes back in time, and what it forgot comes back from the devices."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from backend.core.db import engine_for, transaction
from backend.embedded.postgres import EmbeddedPostgres
from backend.services.epoch import begin_epoch
from tests.conftest import administer, use_database
from tests.live import Live
from tests.simulation.conftest import running
from tests.simulation.device import Device
from tests.simulation.node import NodeProcess
from tests.simulation.town import Town, rows

COPY = "zhiwang_simulation_copy"


class Site:
    """A running API whose database can be put back to a moment that was remembered. The API only loses connections."""

    def __init__(self, stack: Live, postgres: EmbeddedPostgres, database: str) -> None:
        self.stack, self.postgres, self.database = stack, postgres, database

    def remember(self) -> None:
        """The moment to which `restore` goes back."""
        self._copy(self.database, COPY)

    def restore(self) -> None:
        """What a restore leaves: the data of then, and a new epoch."""
        self._copy(COPY, self.database)
        with transaction(engine_for("zw_worker")) as session:
            begin_epoch(session)

    def _copy(self, source: str, target: str) -> None:
        use_database(self.postgres, self.database)
        for statement in (
            f"ALTER DATABASE {source} ALLOW_CONNECTIONS false",
            f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{source}'",
            f"DROP DATABASE IF EXISTS {target} WITH (FORCE)",
            f"CREATE DATABASE {target} TEMPLATE {source} OWNER zw_owner",
            f"ALTER DATABASE {source} ALLOW_CONNECTIONS true",
        ):
            administer(self.postgres, statement)


@pytest.fixture
def site(nodes: list[NodeProcess], postgres: EmbeddedPostgres, database: str, tmp_path: Path) -> Iterator[Site]:
    """An API over a database of its own."""
    with running(tmp_path) as stack:
        yield Site(stack, postgres, database)
    administer(postgres, f"DROP DATABASE IF EXISTS {COPY} WITH (FORCE)")


def test_what_the_server_forgot_comes_back_and_an_unsent_edit_meets_no_conflict(
    site: Site, nodes: list[NodeProcess]
) -> None:
    """Whoever comes back first: accepted edits and creates, and an edit that was not sent yet."""
    with httpx.Client(base_url=site.stack.url, timeout=30) as client:
        for first in (0, 1):
            _drill(site, Town.found(client), nodes, first)
    assert rows("SELECT field FROM conflict WHERE hardness = 'hard'") == []


def _drill(site: Site, town: Town, nodes: list[NodeProcess], first: int) -> None:
    for worker in (0, 1):
        town.assign(worker, 0)
    devices = [Device(nodes[place], town.enrol(place), town) for place in (0, 1)]
    one, other = devices
    known = one.house(town.grids[0], use="A0")
    untouched = other.house(town.grids[0])
    _settle(devices)
    site.remember()
    one.patch(known, use="A1")
    made = other.house(town.grids[0], use="B0")
    _settle(devices)
    other.call("offline", offline=True)
    other.patch(known, name="B1")
    site.restore()
    other.call("offline", offline=False)
    _settle([devices[first], devices[1 - first]])
    assert sorted(one.houses()) == sorted([known, untouched, made])
    assert '"name":"B1"' in one.houses()[known]
    assert '"use":"A1"' in one.houses()[known]
    assert one.houses() == other.houses()
    assert one.is_like_the_server()
    for device in devices:
        device.call("close")


def _settle(devices: list[Device]) -> None:
    """One after the other, until nobody has anything to say."""
    while sum(device.call("settle") for device in devices):
        pass
