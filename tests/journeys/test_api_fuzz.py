"""A small part of `make test-api-fuzz`: a few drawn calls of every operation, as a handheld and as an office role."""

import os
from pathlib import Path

import httpx
import pytest

from bench.api_fuzz import HANDHELD, faults_in_log, fuzz, token_of
from tests.live import Live
from tests.world import World

RATES = ("RATE_LOGIN", "RATE_REFRESH", "RATE_ANONYMOUS", "RATE_CALLS", "RATE_SYNC", "RATE_SENSITIVE")
EXAMPLES = 2


@pytest.mark.timeout(600)
def test_every_operation_answers_as_its_document_says(database: str, tmp_path: Path) -> None:
    settings = {**dict.fromkeys(RATES, "1000000/minute"), "STATE_DIR": str(tmp_path / "state"), "LOG_LEVEL": "INFO"}
    stack = Live(tmp_path, {**os.environ, **settings})
    try:
        stack.start_api()
        with httpx.Client(base_url=stack.url, timeout=30) as client:
            world = World(client)  # type: ignore[arg-type]
            for seed, login in enumerate((HANDHELD, "supervisor")):
                outcome = fuzz(
                    stack.url, login, token=token_of(world, login), seed=seed, examples=EXAMPLES, phases="fuzzing"
                )
                assert outcome.failures == 0, outcome.said
                assert outcome.complete
                assert outcome.cases >= outcome.operations * EXAMPLES * 0.9, outcome.said
    finally:
        stack.stop()
    assert faults_in_log(tmp_path / "api.log") == 0
