"""The last net under the logs: what looks like a person's number is withheld, and ids of ours are not."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from typing import Any
from uuid import UUID

import pytest

from backend.core.logging import WITHHELD, configure_logging, get_logger
from backend.core.settings import get_settings

ID_NUMBER = "11010519491231002X"
PHONE = "13800138000"


@contextmanager
def _logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The lines that are written inside the block, at INFO."""
    monkeypatch.setenv("LOG_LEVEL", "INFO")
    get_settings.cache_clear()
    lines: list[dict[str, Any]] = []
    with redirect_stderr(StringIO()) as written:
        configure_logging(get_settings(), process="api")
        yield lines
    lines += [json.loads(line) for line in written.getvalue().splitlines()]
    monkeypatch.undo()
    get_settings.cache_clear()
    configure_logging(get_settings(), process="api")


@pytest.mark.parametrize(
    "value",
    [
        ID_NUMBER,
        ID_NUMBER.lower(),
        int("110105194912310021"),
        PHONE,
        int(PHONE),
        f"+86{PHONE}",
        f"+86 {PHONE}",
        f"/people/{ID_NUMBER}?phone={PHONE}",
        f"证件号{ID_NUMBER}，电话{PHONE}",
        {"a": [{"b": ID_NUMBER}]},
        {PHONE: 1},
        (PHONE,),
        ValueError(f"bad value {PHONE}"),
    ],
)
def test_what_looks_personal_is_withheld(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    with _logged(monkeypatch) as lines:
        get_logger("test").info("something", value=value)
    [line] = lines
    assert line["withheld"] is True
    assert WITHHELD in json.dumps(line)
    for number in (ID_NUMBER, PHONE, "110105194912310021"):
        assert number not in json.dumps(line, ensure_ascii=False).upper()


@pytest.mark.parametrize(
    "value",
    [
        "01938f6e-7c00-7000-8000-000000000001",
        UUID("13800138-0001-7000-8000-138001380001"),
        UUID(int=13800138000),
        "a" * 5 + PHONE,
        "440310001001001",
        "4403100010010010000000001",
        1_700_000_000_000,
        12.5,
        True,
        None,
    ],
)
def test_ids_codes_and_counts_pass(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    with _logged(monkeypatch) as lines:
        get_logger("test").info("something", value=value)
    [line] = lines
    assert "withheld" not in line


def test_lines_of_libraries_and_of_the_server_go_through_the_net(monkeypatch: pytest.MonkeyPatch) -> None:
    with _logged(monkeypatch) as lines:
        logging.getLogger("somebody.else").warning("cannot call %s", PHONE)
        try:
            raise RuntimeError(ID_NUMBER)
        except RuntimeError as error:
            logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)
    library, fault = lines
    assert library["event"] == f"cannot call {WITHHELD}"
    assert fault["error"] == "RuntimeError"
    assert ID_NUMBER not in json.dumps(fault)


def test_the_servers_access_log_stays_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with _logged(monkeypatch) as lines:
        logging.getLogger("uvicorn.access").warning("GET /somewhere")
    assert lines == []
