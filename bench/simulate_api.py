"""`make simulate-api HISTORIES=n SEED=s`: the model's histories on the real API and PostgreSQL.

Two API processes answer; some pushes kill the one they reach at a named point, some arrive at both at once. A restore
of the whole cluster is left out here: it has a drill of its own.
"""

import argparse
import os
import sys
import time
from collections import Counter
from dataclasses import replace

from backend.core.settings import get_settings
from bench.stack import own_stack, run_module
from tests.simulation.model.history import GRIDS, MOST_DEVICES, Fault, History, draw
from tests.simulation.model.play import Play
from tests.simulation.model.remote import Fleet, RemoteServer

DATABASE = "histories"


def play(fleet: Fleet, history: History) -> tuple[list[str], Counter[Fault]]:
    """Play one history on grids that are its own; gives what was violated, and the network's faults."""
    server = RemoteServer(history.seed, grids=GRIDS, fleet=fleet)
    mine = dict(zip(GRIDS, fleet.grids(len(GRIDS)), strict=True))
    steps = tuple(
        replace(step, value=mine.get(step.value, step.value)) if step.field == "grid_id" else step
        for step in history.steps
    )
    grids = tuple(tuple(mine[grid_id] for grid_id in held) for held in history.grids)
    try:
        played = Play(History(history.seed, grids, steps), lambda *_, **__: server).run()
    finally:
        server.finish()
    return played.violations, played.faults


def main() -> int:
    """Play the histories and tell the figures; 1 where anything was violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with own_stack() as stack:
        stack.migrate(DATABASE)
        environment = stack.environment(DATABASE)
        run_module("bench.seed", environment=environment)
        os.environ.update(environment)
        get_settings.cache_clear()
        fleet = Fleet.start(stack.folder, environment, devices=MOST_DEVICES)
        try:
            return _play_all(fleet, range(asked.seed, asked.seed + asked.histories))
        finally:
            fleet.stop()


def _play_all(fleet: Fleet, seeds: range) -> int:
    begun = time.monotonic()
    operations = 0
    found: Counter[str] = Counter()
    faults: Counter[Fault] = Counter()
    for seed in seeds:
        history = draw(seed)
        violations, met = play(fleet, history)
        operations += len(history.steps)
        faults += met
        found.update(violation.split()[0] for violation in violations)
        for violation in violations[:3]:
            print(f"  seed {seed}: {violation}", flush=True)
    print("  network: " + ", ".join(f"{fault.value} {count}" for fault, count in faults.most_common()))
    seconds = time.monotonic() - begun
    print(
        f"RESULT histories={len(seeds)} ops={operations} kills={fleet.kills} violations={found.total()}"
        f" lost={found['I1']} doubled={found['I2'] + found['I3'] + found['I7']} diverged={found['I4']}"
        f" leaked={found['I5'] + found['I6']} per_s={len(seeds) / seconds:.1f}"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
