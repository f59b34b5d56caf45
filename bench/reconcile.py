"""`make bench-reconcile`: everything collected against a whole snapshot, on the labelled people of `bench.crosscheck`.

A million synthetic people as a department's drop, 200,000 labelled collected records (three of ten with mistakes, one
of ten about nobody on record; each lies in the grid of its record, one of eight elsewhere), one run. The steps in SQL
are set next to a bare join of the same tables that writes nothing; of the probabilistic step it is said how much of it
is Splink itself. Precision and recall are those of all links, and of the probabilistic ones alone.
"""

import argparse
import csv
import json
import sys
from pathlib import Path
from random import Random
from typing import Any

from backend.core.ids import new_id
from backend.seed.territory import grids
from bench.crosscheck_files import write_population
from bench.crosscheck_labels import labelled
from bench.stack import OwnStack, own_stack, run_module

DATABASE = "reconcile"
SIDE = "bench.reconcile_side"
ELSEWHERE = 0.125
"""Of collected records so many lie in another grid than their record."""


def write_entries(path: Path, drop: Path, *, entries: int, total: int) -> Path:
    """Labelled entries as lines of JSON: id, grid, fields, and the id number of the record."""
    with drop.open(encoding="utf-8") as file:
        lines = csv.reader(file)
        titles = next(lines)
        number, grid = titles.index("证件号码"), titles.index("网格编码")
        home = {line[number]: line[grid] for line in lines}
    random, every = Random(f"reconcile/{entries}/{total}"), [one.id for one in grids()]
    with path.open("w", encoding="utf-8") as file:
        for one in labelled("reconcile", entries=entries, total=total):
            stays = one.truth is not None and random.random() >= ELSEWHERE
            grid_id = home[one.truth] if stays and one.truth else random.choice(every)
            row = {"id": str(new_id()), "grid_id": grid_id, "fields": one.fields, "truth": one.truth}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def measure(stack: OwnStack, said: argparse.Namespace) -> dict[str, Any]:
    """Fill a database, run, and give what the run said."""
    stack.migrate(DATABASE)
    environment = stack.environment(DATABASE, LOG_LEVEL="WARNING", **dict(one.split("=", 1) for one in said.set))
    run_module("bench.seed", environment=environment)
    with stack.superuser(DATABASE) as connection:
        connection.execute("ALTER TABLE document DISABLE TRIGGER USER")
    drop, _ = write_population(stack.folder, said.people)
    entries = write_entries(stack.folder / "entries.jsonl", drop, entries=said.entries, total=said.people)
    filled = json.loads(run_module(SIDE, "fill", str(drop), str(entries), environment=environment))
    print(
        f"  {filled['records']:,} records imported at {filled['records'] / filled['import_s']:,.0f}/s, "
        f"{said.entries:,} documents sealed at {said.entries / filled['documents_s']:,.0f}/s",
        flush=True,
    )
    with stack.superuser(DATABASE) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    found: dict[str, Any] = json.loads(run_module(SIDE, "run", str(entries), environment=environment))
    return found


def figures(found: dict[str, Any]) -> dict[str, float]:
    """All that the last line says."""
    totals, seconds, links = found["totals"], found["seconds"], found["links"]
    rules = [links[rule] for rule in ("key", "phone", "probable")]
    made, right = sum(one["links"] for one in rules), sum(one["right"] for one in rules)
    left = totals["documents"] - totals["by_key"] - totals["by_phone"]
    equality = seconds["keys"] + seconds["phones"]
    linked = totals["by_key"] + totals["by_phone"] + totals["probable"]
    return {
        "documents": totals["documents"],
        "records": totals["records"],
        "equality_docs_per_s": totals["documents"] / equality,
        "equality_vs_bare_join": found["bare_join_s"] / seconds["keys"],
        "snapshot_rows_per_s": totals["records"] / seconds["records"],
        "probable_entries_per_s": left / seconds["probable"],
        "splink_share": found["engine_s"] / seconds["probable"],
        "fields_links_per_s": linked / seconds["fields"],
        "precision": right / made,
        "recall": right / links["known"]["links"],
        "probable_precision": links["probable"]["right"] / max(links["probable"]["links"], 1),
        "probable_recall": links["probable"]["right"]
        / (links["known"]["links"] - links["key"]["right"] - links["phone"]["right"]),
        "total_s": sum(seconds.values()),
        "peak_mb": found["peak_mb"],
    }


def main() -> int:
    """Measure and print."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--people", type=int, default=1_000_000)
    reader.add_argument("--entries", type=int, default=200_000)
    reader.add_argument("--set", action="append", default=[], help="a setting, such as RECONCILE_ENGINE=spark")
    said = reader.parse_args()
    with own_stack(fsync=True) as stack:
        found = measure(stack, said)
    for phase, seconds in found["seconds"].items():
        print(f"  {phase:<10} {found['steps'][phase]:>5} steps {seconds:>8.1f} s")
    for rule, judged in found["links"].items():
        print(f"  {rule:<10} {judged['links']:>8,} links, {judged['right']:>8,} right")
    said_last = " ".join(
        f"{name}={value:.4g}" if value < 1000 else f"{name}={value:.0f}" for name, value in figures(found).items()
    )
    print(f"RESULT {said_last}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
