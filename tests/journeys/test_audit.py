"""The running product seals and anchors what it does, without anybody asking, and after its workers were killed."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import Session
from typer.testing import CliRunner

from backend.cli import app
from backend.core.db import engine_for
from backend.core.settings import get_settings
from backend.services import audit_chain, audit_sealing
from tests.live import Live
from tests.world import World, until


def all_is_anchored() -> bool:
    with Session(engine_for("zw_worker")) as session:
        seen = audit_sealing.trail(session)
        return seen.batches > 0 and not seen.unsealed and audit_chain.noted_batch(session) == seen.batches


def log_in(live: Live) -> None:
    with httpx.Client(base_url=live.url, timeout=30) as client:
        over_http: Any = client
        World(over_http).office("auditor")


@pytest.mark.timeout(180)
def test_a_login_is_sealed_and_anchored_by_the_worker_and_again_after_a_kill(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIR", live.environment["STATE_DIR"])
    get_settings.cache_clear()
    log_in(live)
    until(all_is_anchored, seconds=60, what=f"trail anchored; see {live.folder / 'worker.log'}")
    live.kill("worker")
    log_in(live)
    assert not all_is_anchored()
    live.start_worker()
    until(all_is_anchored, seconds=60, what="trail anchored after the kill")
    result = CliRunner().invoke(app, ["audit", "verify"])
    assert (result.exit_code, "OK" in result.output) == (0, True), result.output
    assert Path(get_settings().anchor_path()).is_relative_to(live.environment["STATE_DIR"])
