"""`make simulate HISTORIES=n SEED=s`: plays model histories on all cores; a violation prints its shrunk history."""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from tests.simulation.model.history import Fault, History, Verb, draw
from tests.simulation.model.play import Play
from tests.simulation.model.shrink import shrink

CHUNK = 250
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Result:
    """What one chunk of seeds came to."""

    operations: int
    verbs: Counter[Verb]
    faults: Counter[Fault]
    violated: tuple[int, ...]


def play_seeds(seeds: range) -> Result:
    """Play the histories of some seeds."""
    verbs: Counter[Verb] = Counter()
    faults: Counter[Fault] = Counter()
    violated = []
    for seed in seeds:
        history = draw(seed)
        verbs.update(step.verb for step in history.steps)
        played = Play(history).run()
        faults.update(played.faults)
        if played.violations:
            violated.append(seed)
    return Result(sum(verbs.values()), verbs, faults, tuple(violated))


def show(seed: int) -> None:
    """Print the shrunk history of a seed, its trace and what is violated."""
    first = Play(draw(seed)).run().violations[0].split()[0]
    small = shrink(draw(seed), lambda history: any(found.startswith(first) for found in _violations(history)))
    print(f"seed {seed}: {len(draw(seed).steps)} steps, shrunk to {len(small.steps)}; devices hold {small.grids}")
    print("\n".join(f"  {line}" for line in Play(small).run().trace))


def _violations(history: History) -> list[str]:
    return Play(history).run().violations


def _chunks(seed: int, histories: int) -> Iterator[range]:
    for start in range(seed, seed + histories, CHUNK):
        yield range(start, min(start + CHUNK, seed + histories))


def main() -> int:
    """Play the histories and tell the figures; 1 where anything was violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    begun = time.monotonic()
    operations, violated = 0, list[int]()
    verbs: Counter[Verb] = Counter()
    faults: Counter[Fault] = Counter()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(play_seeds, _chunks(asked.seed, asked.histories)):
            operations += result.operations
            verbs += result.verbs
            faults += result.faults
            violated += result.violated
    seconds = time.monotonic() - begun
    for seed in violated[:SHOWN]:
        show(seed)
    print("  steps: " + ", ".join(f"{verb.value} {count}" for verb, count in verbs.most_common()))
    print("  network: " + ", ".join(f"{fault.value} {count}" for fault, count in faults.most_common()))
    print(f"  seeds {asked.seed} to {asked.seed + asked.histories - 1}; violated: {violated[:20] or 'none'}")
    print(
        f"RESULT histories={asked.histories} ops={operations} violations={len(violated)}"
        f" per_s={asked.histories / seconds:.0f}"
    )
    return 1 if violated else 0


if __name__ == "__main__":
    sys.exit(main())
