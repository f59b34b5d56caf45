"""Many random histories of real RxDB clients on the real API: `make simulate-rxdb SEEDS=50`.

The histories are those of `tests/simulation`, over memory storage and over Dexie; a seed that does not converge is
named with what differs. The last line is `RESULT seeds=… memory_converged=… dexie_converged=… ops=… faults=…`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from backend.core.settings import PROJECT_ROOT

TEST = "tests/simulation/test_rxdb_histories.py::test_histories_converge"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.jsonl"
        own = {"RXDB_SEEDS": str(given.seeds), "RXDB_FIRST_SEED": str(given.first), "RXDB_RESULTS": str(results)}
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", TEST]
        done = subprocess.run(command, cwd=PROJECT_ROOT, env={**os.environ, **own}, check=False)
        lines = results.read_text().splitlines() if results.exists() else []
    found: dict[str, dict[str, Any]] = {line["storage"]: line for line in map(json.loads, lines)}
    for storage, line in found.items():
        for seed, differences in line["failed"].items():
            print(f"{storage} seed {seed}:", *differences, sep="\n  ")
    converged = {storage: found.get(storage, {}).get("converged", 0) for storage in ("memory", "dexie")}
    sums = {name: sum(line[name] for line in found.values()) for name in ("operations", "faults")}
    print(
        f"RESULT seeds={given.seeds} memory_converged={converged['memory']} dexie_converged={converged['dexie']}"
        f" ops={sums['operations']} faults={sums['faults']}"
    )
    return 0 if done.returncode == 0 and set(converged.values()) == {given.seeds} else 1


if __name__ == "__main__":
    sys.exit(main())
