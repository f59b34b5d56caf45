"""Personal data come to rest nowhere: some canaries through everything (`make canaries` sends 10,000)."""

import os
import subprocess
import sys

import pytest

from backend.core.settings import PROJECT_ROOT

IDENTITIES = 48


@pytest.mark.timeout(300)
def test_canaries_are_sighted_nowhere_and_one_is_erased_without_a_trace() -> None:
    """In a process of its own: it runs a stack of its own, and plays WeChat with the secrets of that stack."""
    command = [sys.executable, "-m", "bench.canaries", "--identities", str(IDENTITIES)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert f"RESULT canaries={IDENTITIES} sightings=0 control_missed=0 erasure_faults=0" in done.stdout, (
        done.stdout + done.stderr
    )
    assert done.returncode == 0
