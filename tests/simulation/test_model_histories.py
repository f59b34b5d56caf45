"""Model histories: nothing is lost, doubled, leaked or falsely in conflict; a seed tells the same story each time."""

import os
import subprocess
import sys

from backend.core.settings import PROJECT_ROOT
from bench.simulate import play_seeds
from tests.simulation.model.history import FEWEST_STEPS, MOST_STEPS, Fault, Verb, draw
from tests.simulation.model.play import Play

HISTORIES = 1000


def test_a_thousand_histories_keep_every_invariant_and_meet_every_fault() -> None:
    result = play_seeds(range(HISTORIES))
    assert result.violated == ()
    assert set(result.verbs) == set(Verb)
    assert set(result.faults) == set(Fault)


def test_a_history_is_as_large_as_it_should_be() -> None:
    drawn = [draw(seed) for seed in range(200)]
    assert {len(history.grids) for history in drawn} == {2, 3, 4, 5}
    assert all(len(history.steps) >= FEWEST_STEPS for history in drawn)
    assert sum(len(history.steps) > MOST_STEPS for history in drawn) < len(drawn) / 4, "a regained grid adds steps"


def test_the_same_seed_gives_the_same_trace_byte_for_byte() -> None:
    """In another process too, where Python hashes strings otherwise."""
    script = "from tests.simulation.model.history import draw; from tests.simulation.model.play import Play\n"
    script += "print([Play(draw(seed)).run().digest() for seed in range(20)])"
    traces = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=PROJECT_ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert traces == {f"{[Play(draw(seed)).run().digest() for seed in range(20)]}\n"}
