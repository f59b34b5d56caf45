"""Production refuses what anybody could guess, says which setting it is, and never repeats a value."""

import base64
import secrets
from typing import Any

import pytest
from pydantic import ValidationError

from backend.core.settings import Settings
from backend.embedded.state import new_secrets

WORDS = base64.b64encode(b"correct horse battery staple, and so on").decode()


def _good() -> dict[str, str]:
    made = {name.lower(): value for name, value in new_secrets().items()}
    return {
        **made,
        "environment": "production",
        "demo": "false",
        "host": "0.0.0.0",
        "public_url": "https://grid.example.org",
        "database_url": f"postgresql://zw_api:{secrets.token_hex(12)}@db/zhiwang",
        "worker_database_url": "postgresql://zw_worker@/zhiwang?host=/run/postgresql",
    }


def _settings(values: dict[str, Any]) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[call-arg]


def _key(byte: bytes) -> str:
    return base64.b64encode(byte * 32).decode()


def test_generated_secrets_and_good_addresses_pass() -> None:
    for _ in range(200):
        assert _settings(_good()).environment == "production"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"master_keys": ""}, "MASTER_KEYS is missing"),
        ({"index_key": ""}, "INDEX_KEY is missing"),
        ({"token_secret": ""}, "TOKEN_SECRET is missing"),
        ({"token_secret": base64.b64encode(b"\x01" * 31).decode()}, "TOKEN_SECRET is shorter"),
        ({"token_secret": "kjhbfw87"}, "TOKEN_SECRET is shorter"),
        ({"index_key": _key(b"\x00")}, "INDEX_KEY is an example"),
        ({"token_secret": _key(b"ab")}, "TOKEN_SECRET is an example"),
        ({"token_secret": WORDS}, "TOKEN_SECRET is an example"),
        ({"token_secret": "please-change-me-please-change-me-please!"}, "TOKEN_SECRET is an example"),
        ({"master_keys": f"1:{_key(b'q')}"}, "MASTER_KEYS is an example"),
        ({"wechat_token": "short"}, "WECHAT_TOKEN is shorter"),
        ({"database_url": "postgresql://zw_api:zhiwang@db/zhiwang"}, "DATABASE_URL has"),
        ({"database_url": "postgresql://zw_api:POSTGRES@db/zhiwang"}, "DATABASE_URL has"),
        ({"database_url": "postgresql://zw_api:zw_api@db/zhiwang"}, "DATABASE_URL has"),
        ({"worker_database_url": "postgresql://zw_worker@db/zhiwang"}, "WORKER_DATABASE_URL has"),
        ({"migration_database_url": "postgresql://zw_owner:@db/zhiwang"}, "MIGRATION_DATABASE_URL has"),
        ({"public_url": "http://grid.example.org"}, "PUBLIC_URL must"),
        ({"log_level": "DEBUG"}, "LOG_LEVEL must"),
        ({"demo": "true"}, "DEMO must"),
    ],
)
def test_what_anybody_could_guess_is_refused(change: dict[str, str], named: str) -> None:
    with pytest.raises(ValidationError) as refused:
        _settings({**_good(), **change})
    assert named in str(refused.value)
    for value in change.values():
        if len(value) > 8 and not value.startswith("http"):
            assert value not in str(refused.value)


def test_a_secret_used_twice_is_refused_also_inside_a_ring() -> None:
    good = _good()
    ring = f"{good['master_keys']},2:{good['index_key']}"
    with pytest.raises(ValidationError, match="INDEX_KEY is the same as MASTER_KEYS"):
        _settings({**good, "master_keys": ring})


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ValidationError) as refused:
        _settings({**_good(), "index_key": "", "public_url": "http://x", "log_level": "DEBUG"})
    assert all(name in str(refused.value) for name in ("INDEX_KEY", "PUBLIC_URL", "LOG_LEVEL"))


def test_elsewhere_than_in_production_nothing_is_asked() -> None:
    settings = _settings({"environment": "development", "token_secret": "", "public_url": "http://x"})
    assert settings.token_secret.get_secret_value() == ""


def test_settings_print_no_secret() -> None:
    good = _good() | {"broker_url": "redis://:brokerword@valkey/0"}
    shown = f"{_settings(good)!r} {_settings(good)}"
    database = good["database_url"].partition(":")[2].partition("@")[0].rpartition(":")[2]
    hidden = [database, "brokerword", *(value for name, value in good.items() if name.endswith(("keys", "key")))]
    assert [value for value in [*hidden, good["token_secret"]] if value in shown] == []


def test_a_fault_elsewhere_prints_no_secret_either() -> None:
    good = _good()
    with pytest.raises(ValidationError) as refused:
        _settings({**good, "port": "many", "log_level": "DEBUG"})
    assert "port" in str(refused.value)
    assert good["token_secret"] not in str(refused.value)
