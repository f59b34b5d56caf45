"""Commit, then answer: a commit that fails is never a 200."""

from collections.abc import Iterator

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session as BaseSession

from backend.api.deps import DbSession
from backend.main import create_app
from tests.world import World, document


@pytest.fixture
def failing_commit() -> Iterator[None]:
    """Every commit of this process fails as it does when the database goes away."""

    def refuse(session: BaseSession) -> None:
        raise OperationalError("COMMIT", {}, Exception("server closed the connection"))

    event.listen(BaseSession, "before_commit", refuse)
    yield
    event.remove(BaseSession, "before_commit", refuse)


def test_a_push_whose_commit_fails_answers_5xx_and_keeps_nothing(world: World, request: pytest.FixtureRequest) -> None:
    handheld = world.handheld()
    row = document(handheld.grids()[0], name="测试")
    request.getfixturevalue("failing_commit")
    answer = world.client.post(
        "/sync/v1/person/push", json={"rows": [{"newDocumentState": row}]}, headers=handheld.headers
    )
    assert answer.status_code == 503
    assert answer.json()["code"] == "unavailable"
    assert int(answer.headers["Retry-After"]) > 0


def test_a_deferred_constraint_that_fails_at_commit_is_no_success(database: str) -> None:
    """The real thing: PostgreSQL itself refuses at COMMIT, after the route has returned its answer."""
    app = create_app()
    router = APIRouter()

    @router.post("/planted")
    def planted(session: DbSession) -> dict[str, str]:
        connection = session.connection()
        connection.execute(text("CREATE TEMP TABLE planted (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
        connection.execute(text("INSERT INTO planted VALUES (1), (1)"))
        return {"said": "done"}

    app.include_router(router)
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.post("/planted")
    assert answer.status_code == 500
    assert "done" not in answer.text
