"""Fixtures of several rooms: of photos a state folder of the test's own, a worker, and one of other grids; of the
cross-check the statements that are made."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlmodel import Session

from backend.core.enums import Role
from backend.core.settings import get_settings
from backend.models import Account
from tests.people import accounts_of
from tests.rooms.photo_builders import grid_of


@pytest.fixture
def state_dir(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for photos that no other test has."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    get_settings.cache_clear()
    yield tmp_path / "state"
    get_settings.cache_clear()


@pytest.fixture
def worker(session: Session) -> Account:
    return accounts_of(session, Role.GRID_WORKER)[0]


@pytest.fixture
def other(session: Session, worker: Account) -> Account:
    """A worker of other grids."""
    workers = accounts_of(session, Role.GRID_WORKER)
    return next(account for account in workers if grid_of(session, account) != grid_of(session, worker))


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All statements that reach the driver, also those that go straight to it."""
    seen: list[Any] = []
    execute = psycopg.Cursor.execute

    def note(self: Any, query: Any, *rest: Any, **options: Any) -> Any:
        seen.append(query)
        return execute(self, query, *rest, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", note)
    return seen
