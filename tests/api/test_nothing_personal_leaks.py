"""Refused calls with personal values in every place: none of them comes back, and none reaches logs or metrics."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.api.authorisation import Offered, offered
from backend.core.logging import configure_logging
from backend.core.settings import get_settings
from backend.main import create_app
from tests.world import World

ID_NUMBER = "11010519491231002X"
PHONE = "13800138000"
NAME = "张三丰"
ALL = f"{ID_NUMBER} {PHONE} {NAME}"
FORMS = [
    form for value in (ID_NUMBER, PHONE, NAME) for form in {value, quote(value), value.lower(), ascii(value).strip("'")}
]


@contextmanager
def _logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    """What an app that is made inside logs, at the level of operation."""
    monkeypatch.setenv("LOG_LEVEL", "INFO")
    get_settings.cache_clear()
    with redirect_stderr(StringIO()) as written:
        yield written
    monkeypatch.undo()
    get_settings.cache_clear()
    configure_logging(get_settings(), process="api")


def _sightings(text: str) -> list[str]:
    return [form for form in FORMS if form in text]


def _filled(path: str, value: str) -> str:
    head, *rest = path.split("{")
    return head + "".join(quote(value) + part.partition("}")[2] for part in rest)


def _calls(route: Offered, value: str) -> Iterator[dict[str, Any]]:
    """A call of the route with the value in its path, query, headers, and in bodies of several kinds."""
    place = {"method": route.method, "url": _filled(route.path, value)}
    yield {**place, "params": {"limit": value, "cursor": value, value: value, "document_id": value}}
    yield {
        **place,
        "headers": {
            name: quote(value)
            for name in ("X-Request-Id", "If-Match", "If-None-Match", "Upload-Metadata", "X-Client-Time", "User-Agent")
        },
    }
    bodies: list[Any] = [{value: value, "login": value, "rows": value}, [value], value, {"a": {value: [value]}}]
    for body in bodies:
        yield {**place, "json": body}
    yield {**place, "content": f'{{"login": "{value}'.encode(), "headers": {"Content-Type": "application/json"}}
    yield {**place, "content": value.encode(), "headers": {"Content-Type": quote(value)}}
    yield {**place, "files": {value: (f"{value}.jpg", value.encode(), "image/jpeg")}}


def _try_all(app: FastAPI) -> tuple[int, str]:
    """Call every route with personal values in every place; gives how many calls that were, and the metrics."""
    tried = 0
    with TestClient(app, raise_server_exceptions=False) as client:
        logins = [{}, World(client).office("supervisor")]
        for route in offered(app):
            for call in _calls(route, ALL):
                headers = {**call.pop("headers", {}), **logins[tried % 2]}
                answer = client.request(**call, headers=headers)
                tried += 1
                told = answer.text + json.dumps(dict(answer.headers))
                assert _sightings(told) == [], (route, answer.status_code, answer.text[:300])
                assert answer.status_code != 500, (route, call)
        return tried, client.get("/metrics").text


def test_no_refusal_gives_back_what_was_sent_and_no_log_or_metric_keeps_it(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _logged(monkeypatch) as log:
        tried, metrics = _try_all(create_app())
        written = log.getvalue()
    assert tried > 500
    assert _sightings(metrics) == []
    assert written.count("\n") >= tried
    assert _sightings(written) == []
    assert '"withheld"' not in written, "the last net had something to catch: a line was written with a value in it"


def test_a_fault_that_quotes_them_is_told_to_nobody(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with _logged(monkeypatch) as log:
        app = create_app()
        _plant(app)
        with TestClient(app, raise_server_exceptions=False) as client:
            answer = client.post("/planted", json={"value": ID_NUMBER})
        written = log.getvalue()
    assert answer.status_code == 500
    assert _sightings(answer.text + written) == []
    assert '"RuntimeError"' in written


def _plant(app: FastAPI) -> None:
    @app.post("/planted", include_in_schema=False)
    def planted(body: dict[str, str]) -> None:
        try:
            raise KeyError(body["value"])
        except KeyError as error:
            raise RuntimeError(f"{NAME} {PHONE} {body}") from error
