"""One side of `bench.trust`, in a process of its own: load the business records, or work through waiting checks.

python -m bench.trust_side with|without seed SCALE
python -m bench.trust_side with|without check ENTRIES
"""

import json
import sys
import time
from collections.abc import Sequence

from backend.core.db import engine_for
from backend.handlers import load_handlers
from backend.seed.load import seed_all
from backend.tasks import run_batch
from bench.seams import without_trust

CROSSCHECK = "workflows.crosscheck"


def check(most: int) -> dict[str, float]:
    """Run up to `most` waiting checks, timed. Gives how many and in how many seconds."""
    run_batch(CROSSCHECK)  # The first batch fills caches and connections.
    began, entries = time.perf_counter(), 0
    while entries < most and (ran := run_batch(CROSSCHECK)):
        entries += ran
    return {"entries": entries, "seconds": time.perf_counter() - began}


def main(arguments: Sequence[str]) -> int:
    side, command, *rest = arguments
    load_handlers()
    if side == "without":
        without_trust()
    if command == "seed":
        seed_all(engine_for("zw_worker"), scale=float(rest[0]), progress=lambda *_: None)
        return 0
    print(json.dumps(check(int(rest[0]))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
