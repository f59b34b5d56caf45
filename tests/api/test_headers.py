"""Every answer of the app carries the headers that keep browsers and caches from doing more than they may."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.api.authorisation import offered
from backend.api.headers import ALWAYS, DATA_POLICY, HSTS, PAGE_POLICY
from backend.core.settings import get_settings
from backend.main import create_app
from tests.live import Live
from tests.world import World

ID = "01938f6e-7c00-7000-8000-000000000001"
PAGES = ["/", "/docs", "/docs/errors"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def concrete(path: str) -> str:
    """The path with something in each place."""
    return re.sub(r"\{[^}]+\}", ID, path)


def test_every_route_answers_with_the_headers(api: TestClient, world: World) -> None:
    app = api.app
    assert isinstance(app, FastAPI)
    found = [(route.method, route.path) for route in offered(app)]
    assert len(found) > 40
    for headers in ({}, world.office("supervisor")):
        for method, path in found:
            answer = api.request(method, concrete(path), headers=headers)
            for name, value in ALWAYS.items():
                assert answer.headers.get(name) == value, (method, path, name)
            assert answer.headers["Cache-Control"], (method, path)
            policy = answer.headers["Content-Security-Policy"]
            assert "unsafe" not in policy, (method, path)
            page = answer.headers.get("Content-Type", "").startswith("text/html")
            assert policy == (PAGE_POLICY if page else DATA_POLICY) or "sandbox" in policy, (method, path)
            if headers and answer.headers.get("Content-Type", "").startswith("application/json"):
                assert re.search("no-store|no-cache", answer.headers["Cache-Control"]), (method, path)


def test_answers_from_before_the_routes_carry_them_too(api: TestClient) -> None:
    for answer in (
        api.get("/nowhere"),
        api.post("/auth/v1/login", content=b"x" * (get_settings().max_body_bytes + 1)),
        api.request("BREW", "/"),
    ):
        assert answer.status_code >= 400
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Content-Security-Policy"] == DATA_POLICY
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Request-Id"]


def test_a_fault_of_ours_is_answered_with_all_headers_and_none_of_its_text(database: str) -> None:
    app = create_app()

    @app.get("/planted", include_in_schema=False)
    def planted() -> None:
        raise RuntimeError("110101199003078888")

    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/planted")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "1101" not in answer.text
    assert answer.headers["X-Request-Id"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("address", "expected"),
    [("https://grid.example.org", HSTS), ("http://grid.example.org", None), ("", None)],
)
def test_browsers_are_told_to_insist_on_tls_only_where_people_use_it(
    database: str, monkeypatch: pytest.MonkeyPatch, address: str, expected: str | None
) -> None:
    monkeypatch.setenv("PUBLIC_URL", address)
    get_settings.cache_clear()
    with TestClient(create_app()) as client:
        assert client.get("/health/live").headers.get("Strict-Transport-Security") == expected
    get_settings.cache_clear()


def test_a_route_may_set_its_own(api: TestClient, world: World) -> None:
    answer = api.get("/reference/v1/kinds", headers=world.office("supervisor"))
    assert answer.headers["Cache-Control"] == "private, no-cache"


def test_pages_hold_nothing_in_line_and_nothing_from_elsewhere(api: TestClient) -> None:
    for page in PAGES:
        text = api.get(page).text
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\son\w+=|\sstyle=|javascript:", text), page
        files = re.findall(r"(?:src|href)=\"([^\"#]+)\"", text)
        assert files
        for file in files:
            assert file.startswith("/") or file == "data:,", (page, file)
            if "." in file:
                answer = api.get(file)
                assert answer.status_code == 200, file
                assert answer.headers["Cache-Control"] == "no-cache"


def test_only_named_files_are_given_out_beside_the_docs(api: TestClient) -> None:
    for name in ("redoc.standalone.js", "..%2f__init__.py", "%2e%2e/consts.py", "swagger-ui.map"):
        assert api.get(f"/docs/assets/{name}").status_code == 404


@pytest.mark.parametrize("page", ["/", "/docs"])
def test_pages_load_in_a_browser_without_a_breach_of_their_policy(live: Live, page: str, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no browser is installed: install Debian's chromium to check the pages' policy")
    done = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=8000", "--dump-dom"),
            f"{live.url}{page}",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert "Content Security Policy" not in done.stderr, done.stderr[-2000:]
    assert ("12345" if page == "/" else "/sync/v1/{kind}/push") in done.stdout
