"""Who calls too often is told to wait, and nobody else is."""

import re
import time
from typing import Any

import jwt
import pytest
from fastapi.testclient import TestClient

from backend.api.limits import SENSITIVE, Count, address_of, counted
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.main import create_app
from backend.services.permissions import permissions
from backend.services.sessions import AUDIENCE, token_key
from tests.world import World

RATES = ("RATE_LOGIN", "RATE_REFRESH", "RATE_ANONYMOUS", "RATE_CALLS", "RATE_SYNC", "RATE_SENSITIVE")


def _scope(path: str, *, address: str = "192.0.2.7", token: str = "") -> dict[str, Any]:
    headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
    return {"type": "http", "path": path, "client": (address, 4711), "headers": headers}


def _token(key: bytes, *, sid: str, ends: float) -> str:
    return jwt.encode({"aud": AUDIENCE, "sid": sid, "exp": int(ends)}, key, algorithm="HS256")


def test_callers_are_counted_by_session_and_all_others_by_address() -> None:
    sid, key = str(new_id()), token_key()
    token = _token(key, sid=sid, ends=time.time() + 60)
    over = _token(key, sid=sid, ends=time.time() - 60)
    foreign = _token(b"a key of somebody else, long enough", sid=sid, ends=time.time() + 60)
    address = "192.0.2.7"
    assert counted(_scope("/cases/v1/cases", token=token)) == Count("calls", sid)
    assert counted(_scope("/sync/v1/person/push", token=token)) == Count("sync", sid)
    assert counted(_scope("/media/v1/uploads", token=token)) == Count("sync", sid)
    assert counted(_scope(f"/registry/v1/imports/{sid}/rejects", token=token)) == Count("sensitive", sid)
    assert counted(_scope("/cases/v1/cases", token=over)) == Count("calls", f"over:{sid}")
    assert counted(_scope("/cases/v1/cases", token=foreign)) == Count("anonymous", address)
    assert counted(_scope("/cases/v1/cases", token="nonsense")) == Count("anonymous", address)
    assert counted(_scope("/")) == Count("anonymous", address)
    assert counted(_scope("/channels/wechat")) == Count("hook", address)
    assert counted(_scope("/health/live", token=token)) == Count("health", address)
    assert counted(_scope("/auth/v1/login", token=token)) == Count("login", address)
    assert counted(_scope("/auth/v1/enrol", token=token)) == Count("login", address)
    assert counted(_scope("/auth/v1/refresh", token=token)) == Count("refresh", address)
    assert counted(_scope("/auth/v1/enrolment-codes", token=token)) == Count("calls", sid)


def test_what_gives_much_away_at_once_is_counted_as_sensitive() -> None:
    token = _token(token_key(), sid=str(new_id()), ends=time.time() + 60)
    words = re.compile(r"import|rejects|search|unmask|export|erase|erasure|subject")
    named = [row for row in permissions().values() if words.search(row.operation)]
    assert len(named) >= 3
    for row in named:
        path = row.path.replace("{", "").replace("}", "")
        assert counted(_scope(path, token=token)).rate == "sensitive", row


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("testclient", "testclient"),
    ],
)
def test_a_network_that_one_caller_owns_counts_as_one_address(address: str, counted_as: str) -> None:
    assert address_of(_scope("/", address=address)) == counted_as


def test_a_header_is_no_address() -> None:
    scope = _scope("/")
    scope["headers"] = [(b"x-forwarded-for", b"203.0.113.9"), (b"forwarded", b"for=203.0.113.9")]
    assert address_of(scope) == "192.0.2.7"


@pytest.fixture
def tight(database: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An app with three calls a minute of each kind."""
    for name in RATES:
        monkeypatch.setenv(name, "3/minute")
    get_settings.cache_clear()
    yield create_app
    get_settings.cache_clear()


def test_one_caller_is_refused_and_no_other(tight: Any) -> None:
    with TestClient(tight(), client=("192.0.2.1", 1)) as client:
        world = World(client)
        first, second = world.office("supervisor"), world.office("dispatcher")
        statuses = [client.get("/cases/v1/summary", headers=first).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        refused = client.get("/cases/v1/summary", headers=first)
        assert refused.json()["code"] == "rate_limited"
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["X-Request-Id"]
        assert client.get("/cases/v1/summary", headers=second).status_code == 200
        assert client.get("/health/live").status_code == 200
        assert [client.get("/").status_code for _ in range(4)] == [200, 200, 200, 429]
        assert client.get("/cases/v1/summary", headers=second).status_code == 200


def test_a_flood_at_one_address_refuses_no_login_from_another(tight: Any) -> None:
    app = tight()
    with TestClient(app, client=("192.0.2.1", 1)) as flood:
        wrong = {"login": "nobody", "password": "wrong"}
        statuses = [flood.post("/auth/v1/login", json=wrong).status_code for _ in range(4)]
        assert statuses == [401, 401, 401, 429]
        with TestClient(app, client=("198.51.100.1", 1)) as honest:
            assert World(honest).office("supervisor")


def test_a_rate_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATE_CALLS", "often")
    get_settings.cache_clear()
    with pytest.raises(ValueError, match="rate_calls"):
        get_settings()
    get_settings.cache_clear()


@pytest.mark.parametrize("word", sorted(SENSITIVE))
def test_each_sensitive_word_stands_in_the_path_of_a_route(word: str) -> None:
    assert [row.path for row in permissions().values() if word in row.path.split("/")]
