"""Every operation, as every role, in every relation to the object: the answers are those of `permissions.csv`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, Depends
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlmodel import Session

from backend.api import authorisation, deps, reference
from backend.api.deps import allowed, public
from backend.core.enums import Reach, Role
from backend.main import create_app
from backend.services.permissions import permissions
from tests.matrix import scene as scenes
from tests.matrix.cells import REACHED, Answer, Call, Cell, State


def calls() -> dict[str, Call]:
    """The calls of all areas, by operation."""
    found: dict[str, Call] = {}
    for path in sorted(Path(__file__).parent.glob("calls_*.py")):
        module = import_module(f"tests.matrix.{path.stem}")
        assert not found.keys() & module.CALLS.keys(), f"{path.stem} calls an operation twice"
        found |= module.CALLS
    return found


def cells(scene: scenes.Scene, operation: str, call: Call) -> Iterator[Cell]:
    """All cells of one operation."""
    for role, person in scene.people.items():
        for state in person.states():
            for place in call.places if state is State.LIVE else call.places[:1]:
                yield Cell(operation, role, place, state, person, scene)


def expected(cell: Cell) -> Answer:
    """What the table says of a cell."""
    row = permissions()[cell.operation]
    if row.public:
        return Answer.GRANTED
    if cell.role is None or cell.state is not State.LIVE:
        return Answer.UNAUTHENTICATED
    reach = row.reach.get(cell.role)
    if not reach:
        return Answer.FORBIDDEN
    return Answer.GRANTED if any(cell.place in REACHED[word] for word in reach) else Answer.HIDDEN


class RolledBack(Session):
    """A session whose commits are savepoints of a transaction that is rolled back when it is closed."""

    def __init__(self, engine: Engine) -> None:
        self._connection = engine.connect()
        self._outer = self._connection.begin()
        super().__init__(self._connection, join_transaction_mode="create_savepoint")

    def close(self) -> None:
        super().close()
        if self._outer.is_active:
            self._outer.rollback()
        self._connection.close()


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Every request runs in a transaction that is rolled back, so that no cell changes the scene of the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deps, "Session", RolledBack)
        yield


def ask(api: TestClient, cell: Cell, call: Call) -> Answer:
    """Make the call of a cell and read the answer."""
    asked = call.ask(cell)
    headers = {**asked.options.get("headers", {}), **cell.caller.headers(cell.state)}
    answer: Any = api.request(asked.method, asked.path, **{**asked.options, "headers": headers})
    return call.read(cell, answer)


@pytest.mark.timeout(600)
def test_every_operation_as_every_role_in_every_relation(
    api: TestClient, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, wrong, number = scenes.build(), [], 0
    with nothing_kept():
        for operation, call in calls().items():
            for cell in cells(scene, operation, call):
                number += 1
                due, given = expected(cell), ask(api, cell, call)
                if due is not given:
                    wrong.append(f"{cell}: {given}, and the table says {due}")
    record_property("cells", number)
    with capsys.disabled():
        sys.stdout.write(f"\nRESULT cells={number} wrong={len(wrong)}\n")
    assert not wrong, "\n".join(wrong)


def test_every_operation_of_the_table_is_called() -> None:
    assert set(calls()) == set(permissions())


def test_a_wrong_cell_is_noticed(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: a table that says something else than the product does."""
    scene = scenes.build()
    row = permissions()["cases.read"]
    lie = {**row.reach, Role.SUPERVISOR: frozenset({Reach.SELF}), Role.AUDITOR: frozenset({Reach.TERRITORY})}
    call = calls()["cases.read"]
    with nothing_kept():
        answers = {cell: ask(api, cell, call) for cell in cells(scene, "cases.read", call)}
    assert all(expected(cell) is answer for cell, answer in answers.items())
    monkeypatch.setitem(permissions(), "cases.read", type(row)(row.operation, row.method, row.path, False, lie))
    wrong = {cell.role for cell, answer in answers.items() if expected(cell) is not answer}
    assert wrong == {Role.SUPERVISOR, Role.AUDITOR}


@pytest.mark.parametrize("names", [[], ["cases.read"], ["start.page", "cases.read"], ["nothing.of_the_table"]])
def test_a_route_without_a_row_of_its_own_keeps_the_app_from_starting(
    monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    planted = APIRouter()
    dependencies = [Depends(public(name) if name == "start.page" else allowed(name)) for name in names]

    @planted.get("/planted", dependencies=dependencies)
    def plant() -> None:
        """A route that somebody forgot to think about."""

    planted.include_router(reference.router)
    monkeypatch.setattr(reference, "router", planted)
    with pytest.raises(authorisation.RouteNotInTable, match="planted"):
        create_app()


def test_a_row_without_a_route_keeps_the_app_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "router", APIRouter())
    with pytest.raises(authorisation.RouteNotInTable, match=r"reference\.kinds"):
        create_app()
