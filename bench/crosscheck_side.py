"""One program of our side of `bench.crosscheck`, in a process of its own, with the settings of its database.

python -m bench.crosscheck_side import FILE      load the population, as a department's drop
python -m bench.crosscheck_side check            say `ready`, wait for a line, then work through the waiting checks
python -m bench.crosscheck_side links FILE       which record each entry was linked with, by the evidence of its verdict
"""

import json
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from sqlmodel import Session, col, select

from backend.core.db import engine_for
from backend.handlers import load_handlers
from backend.models import Verdict
from backend.seed.load import import_file
from backend.services.evidence import open_evidence
from backend.services.sealing import Vault
from backend.tasks import run_batch, spare_collector
from workflows.crosscheck.facts import POPULATION

CROSSCHECK = "workflows.crosscheck"
AT_ONCE = 1000


def load(path: Path) -> dict[str, float]:
    """Load the drop through the product's own import."""
    began = time.perf_counter()
    imported = import_file(engine_for("zw_worker"), dataset=POPULATION, path=path)
    if imported.failure is not None:
        raise RuntimeError(imported.failure)
    return {"accepted": imported.accepted, "rejected": imported.rejected, "seconds": time.perf_counter() - began}


def check() -> dict[str, float]:
    """Work through all checks that wait, as a worker's child does. The moments are of the machine's clock."""
    load_handlers()
    spare_collector()
    run_batch(CROSSCHECK)  # The first batch makes connections and fills caches.
    print("ready", flush=True)
    sys.stdin.readline()
    began, entries, worked = time.monotonic(), 0, time.process_time()
    while ran := run_batch(CROSSCHECK):
        entries += ran
    return {"entries": entries, "from": began, "until": time.monotonic(), "worked": time.process_time() - worked}


def links(path: Path) -> dict[str, int]:
    """Write, by document id, the verdict and the id number of the linked record, None where there is none."""
    found: dict[str, tuple[str, str | None]] = {}
    with Session(engine_for("zw_worker")) as session:
        rows = session.exec(select(Verdict).order_by(col(Verdict.id))).all()
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            evidence = open_evidence(Vault(session), {row.id: row.evidence for row in some})
            for row in some:
                numbers = [item.get("theirs") for item in evidence[row.id] if _is_record_number(item)]
                found[str(row.source_id)] = (row.verdict, next(iter(numbers), None))
    path.write_text(json.dumps(found))
    return {"verdicts": len(found), "peak_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


def _is_record_number(item: Mapping[str, object]) -> bool:
    """The comparison with the id number on record. A contradiction within the entry's own number has no dataset."""
    return item["field"] == "id_number" and item["dataset"] == POPULATION


def main(command: str, *rest: str) -> int:
    """Run one command and print what it gave as JSON."""
    said = check() if command == "check" else {"import": load, "links": links}[command](Path(rest[0]))
    print(json.dumps(said), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
