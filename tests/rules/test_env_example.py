"""`.env.example` explains every setting, names no other, and gives the value the product would take anyway."""

import re

import pytest

from backend.core.settings import PROJECT_ROOT, Settings

LINE = re.compile(r"^#?(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)$")
COMPOSE_ONLY = {"POSTGRES_PASSWORD", "ZW_OWNER_PASSWORD", "ZW_API_PASSWORD", "ZW_WORKER_PASSWORD"} | {
    "STORE_ACCESS_KEY",
    "STORE_SECRET_KEY",
}
SECRETS = {
    "MASTER_KEYS",
    "INDEX_KEY",
    "TOKEN_SECRET",
    "AUDIT_KEY",
    "WECHAT_TOKEN",
    "WECHAT_ENCODING_AES_KEY",
    "WECHAT_APP_SECRET",
}


def entries() -> dict[str, str]:
    """Name and value of each setting in the file, commented out or not."""
    lines = (PROJECT_ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    return {found["name"]: found["value"] for line in lines if (found := LINE.match(line))}


def test_every_setting_is_there_and_no_other() -> None:
    assert set(entries()) - COMPOSE_ONLY == {name.upper() for name in Settings.model_fields}


def test_every_setting_is_explained() -> None:
    lines = (PROJECT_ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if LINE.match(line):
            assert LINE.match(before) or before.startswith("# "), f"no explanation above: {line}"


def test_no_secret_has_a_value() -> None:
    assert {name: value for name, value in entries().items() if name in SECRETS | COMPOSE_ONLY and value} == {}


def test_the_values_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    defaults = Settings(_env_file=None)  # type: ignore[call-arg]
    given = {name.lower(): value for name, value in entries().items() if value and name not in COMPOSE_ONLY}
    shown = Settings(_env_file=None, **given)  # type: ignore[arg-type, call-arg]
    for name in given:
        assert getattr(shown, name) == getattr(defaults, name) or name == "state_dir", name
