"""The start page, health, metrics, request ids, and refusals of what does not exist."""

import itertools
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, pool, text

from backend.core.db import dialect_url
from backend.core.errors import all_errors
from backend.core.settings import PROJECT_ROOT, get_settings
from backend.services import overview
from tests.world import World, document


def test_the_start_page_says_what_runs_and_loads_only_from_here(api: TestClient) -> None:
    page = api.get("/")
    assert page.status_code == 200
    assert "织网" in page.text
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert linked
    for link in linked:
        assert link.startswith(("/", "data:,"))
        if link.startswith("/"):
            assert api.get(link).status_code == 200, link


def test_counts_follow_what_happens(world: World) -> None:
    handheld = world.handheld()
    assert world.client.get("/overview/v1/counts").json()["entries"] == {}
    handheld.push("person", document(handheld.grids()[0], name="甲"))
    handheld.push("person", document("000000000000000", name="甲"))
    counts = world.client.get("/overview/v1/counts").json()
    assert counts["entries"] == {"person": 1}
    assert counts["mutations"] == {"applied": 1, "quarantined": 1}
    assert counts["devices"]["enrolled"] == 1
    assert counts["jobs"]["ready"] >= 1


def test_many_who_ask_for_counts_at_once_cost_one_read_and_see_no_past() -> None:
    asked, told, goes_on = itertools.count(1), threading.Semaphore(0), threading.Event()
    reads: list[int] = []

    def clock() -> float:
        told.release()
        return float(next(asked))

    def read() -> int:
        reads.append(len(reads) + 1)
        assert goes_on.wait(30)
        return reads[-1]

    together = overview.Together[int](clock)
    with ThreadPoolExecutor(6) as pool_of_callers:
        first = pool_of_callers.submit(together, read)
        assert all(told.acquire(timeout=30) for _ in range(2)), "the first one asked and began to read"
        others = [pool_of_callers.submit(together, read) for _ in range(5)]
        assert all(told.acquire(timeout=30) for _ in range(5)), "the others asked while it reads"
        goes_on.set()
    assert first.result() == 1
    assert [other.result() for other in others] == [2] * 5
    assert together(read) == 3


def test_health_and_metrics(world: World) -> None:
    assert world.client.get("/health/live").text == "ok"
    assert world.client.get("/health/ready").text == "ready"
    handheld = world.handheld()
    handheld.push("person", document(handheld.grids()[0], name="绝密姓名"))
    metrics = world.client.get("/metrics").text
    assert 'zhiwang_things{group="mutations",state="applied"} 1.0' in metrics
    assert 'route="/sync/v1/{kind}/push"' in metrics
    assert "绝密姓名" not in metrics


@pytest.mark.parametrize(
    ("statement", "ready"),
    [
        ("ALTER TABLE alembic_version RENAME TO elsewhere", False),
        ("DELETE FROM alembic_version", False),
        ("UPDATE alembic_version SET version_num = 'older'", False),
        ("UPDATE alembic_version SET version_num = 'newer'", True),
    ],
)
def test_a_database_that_is_behind_the_program_is_not_ready_and_one_ahead_is(
    api: TestClient, monkeypatch: pytest.MonkeyPatch, statement: str, ready: bool
) -> None:
    """A rolling upgrade migrates first, while the old program still serves."""
    monkeypatch.setattr(overview, "_earlier_revisions", lambda: frozenset({"older"}))
    assert api.get("/health/ready").status_code == 200
    owner = create_engine(dialect_url(get_settings().migration_url()), poolclass=pool.NullPool)
    with owner.begin() as connection:
        connection.execute(text(statement))
    answer = api.get("/health/ready")
    assert (answer.text == "ready") is ready
    if not ready:
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


def test_only_the_newest_revision_is_not_an_earlier_one() -> None:
    texts = [path.read_text() for path in (PROJECT_ROOT / "alembic" / "versions").glob("0*.py")]
    followed = {before for text in texts for before in re.findall(r'^down_revision = "(\w+)"', text, re.MULTILINE)}
    assert len(followed) == len(texts) - 1, "one line, and one newest"
    assert overview._earlier_revisions() == followed


def test_a_request_id_that_is_a_uuid_is_kept_and_any_other_replaced(api: TestClient) -> None:
    for sane in ("0123456789abcdef0123456789ABCDEF", "01234567-89ab-cdef-0123-456789abcdef"):
        assert api.get("/health/live", headers={"X-Request-Id": sane}).headers["X-Request-Id"] == sane
    for odd in ("short", "a" * 33, "4" * 18, "01234567-89ab-cdef-0123-456789abcde", "with space 123", "abcdef-12345"):
        assert api.get("/health/live", headers={"X-Request-Id": odd}).headers["X-Request-Id"] != odd


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/nowhere", 404, "not_found"), ("DELETE", "/health/live", 405, "method_not_allowed")],
)
def test_what_does_not_exist_is_a_problem_with_a_code(
    api: TestClient, method: str, path: str, status: int, code: str
) -> None:
    answer = api.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_malformed_body_names_places_and_no_values(api: TestClient) -> None:
    answer = api.post("/auth/v1/login", json={"login": {"secret": "绝密"}})
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed")
    assert {fault["at"] for fault in answer.json()["errors"]} == {"body.login", "body.password"}
    assert "绝密" not in answer.text
    assert api.post("/auth/v1/login", content=b"{", headers={"Content-Type": "application/json"}).json()["code"] == (
        "not_json"
    )


def test_the_type_of_every_problem_points_to_its_explanation(api: TestClient) -> None:
    page = api.get("/docs/errors").text
    for kind in all_errors():
        assert f'id="{kind.code}"' in page


def test_the_api_describes_itself_with_examples(api: TestClient) -> None:
    schema = api.get("/openapi.json").json()
    page = api.get("/docs")
    assert page.status_code == 200
    for link in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        if link == "data:,":
            continue
        assert link.startswith("/"), "city networks are closed: nothing comes from a CDN"
        assert api.get(link).status_code == 200
    assert "/sync/v1/{kind}/push" in schema["paths"]
    push = schema["paths"]["/sync/v1/{kind}/push"]["post"]
    assert push["requestBody"]["content"]["application/json"]["example"]["rows"]
