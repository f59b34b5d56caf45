"""`make chaos FAULTS=n SEED=s`: handhelds push while worker, beat, broker and database are killed; nothing may be lost.

The real API, PostgreSQL, Valkey and Celery, each a process of its own. The same load runs twice: calm, and with the
faults of `bench.chaos_faults` in random order. Meanwhile the population is imported twice, so that entries are checked
again. Then, by the tables: every pushed version has exactly one verdict in force and at most one open case of a rule
version, no verdict is older than what the records of today say, nothing waits or is dead, and what was acknowledged is
there. `drain_vs_calm` compares the time from the first push until nothing is left to do.
"""

import argparse
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from random import Random

from bench.chaos_faults import Faults, Running
from bench.chaos_imports import Imports
from bench.chaos_load import Load
from bench.stack import OwnStack, own_stack, run_module
from tests.live import Live

LONGEST_S = 1800.0
SECONDS_A_FAULT = 0.75
"""How long the load lasts for each fault that meets it."""
DRAIN_TARGET = 3.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to. `lost`: pushed versions without a verdict, or acknowledged and not there; `doubled`: further
    verdicts or cases of the same version and rule version; `stuck`: jobs that wait, run or are dead at the end, and
    runs that check again and have not ended; `stale`: people whose verdict contradicts the population in force."""

    seconds: float
    entries: int
    cases: int
    lost: int
    doubled: int
    stuck: int
    stale: int

    @property
    def wrong(self) -> int:
        """Everything that must not be."""
        return self.lost + self.doubled + self.stuck + self.stale


def play(stack: OwnStack, name: str, *, seconds: float, rate: float, faults: int, seed: int) -> Outcome:
    """Run the load over a database of its own, with so many faults, until nothing is left to do."""
    stack.migrate(name)
    environment = stack.environment(name)
    run_module("bench.seed", environment=environment)
    folder = stack.folder / name
    folder.mkdir()
    live = Live(folder, environment)
    try:
        live.start_api()
        live.start_worker()
        live.start_beat()
        with closing(Load(live.url, rate=rate, seconds=seconds)) as load:
            imports = Imports(live.url, seconds=seconds, met=load.met)
            begun = time.monotonic()
            load.start()
            imports.start()
            Faults(Running(stack, live), Random(seed)).run(faults, seconds=seconds)
            acknowledged = load.wait()
            imports.wait()
            _wait_until_idle(stack, name)
            taken = time.monotonic() - begun
        return _judge(stack, name, taken, acknowledged)
    finally:
        live.stop()


def _wait_until_idle(stack: OwnStack, name: str) -> None:
    deadline = time.monotonic() + LONGEST_S
    with stack.superuser(name) as connection:
        while connection.execute(_WAITING).fetchone() != (0,):
            if time.monotonic() > deadline:
                print(f"  not drained within {LONGEST_S:.0f} s")
                return
            time.sleep(0.2)


def _judge(stack: OwnStack, name: str, seconds: float, acknowledged: list[str]) -> Outcome:
    with stack.superuser(name) as connection:

        def number(statement: str) -> int:
            row = connection.execute(statement, {"ids": acknowledged}).fetchone()
            assert row
            return int(str(row[0]))

        for state, job, count, reason in connection.execute(_LEFT).fetchall():
            print(f"  left: {count} × {job} {state} {reason or ''}")
        return Outcome(
            seconds,
            entries=number(_ENTRIES),
            cases=number("SELECT count(*) FROM case_file"),
            lost=number(_UNJUDGED) + number(_GONE),
            doubled=number(_DOUBLED_VERDICTS) + number(_DOUBLED_CASES),
            stuck=number("SELECT count(*) FROM job WHERE state NOT IN ('done', 'cancelled')")
            + number("SELECT count(*) FROM recheck WHERE state <> 'done'"),
            stale=number(_STALE),
        )


def main() -> int:
    """Play both runs and print the figures; 1 where anything is lost, doubled or stuck, or it took too long."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--faults", type=int, default=200)
    reader.add_argument("--seed", type=int, default=0)
    reader.add_argument("--rate", type=float, default=20.0, help="entries a second")
    said = reader.parse_args()
    seconds = max(20.0, said.faults * SECONDS_A_FAULT)
    with own_stack(fsync=True) as stack:
        calm = play(stack, "calm", seconds=seconds, rate=said.rate, faults=0, seed=said.seed)
        print(f"  calm: {calm}", flush=True)
        met = play(stack, "chaos", seconds=seconds, rate=said.rate, faults=said.faults, seed=said.seed)
        print(f"  chaos: {met}", flush=True)
    ratio = met.seconds / calm.seconds
    print(
        f"RESULT faults={said.faults} lost={met.lost} doubled={met.doubled} stuck={met.stuck} stale={met.stale} "
        f"drain_vs_calm={ratio:.2f} entries={met.entries} cases={met.cases} calm_s={calm.seconds:.0f}"
    )
    return 1 if met.wrong or calm.wrong or ratio > DRAIN_TARGET or met.entries != calm.entries else 0


_WAITING = "SELECT count(*) FROM job WHERE state IN ('ready', 'running')"
_LEFT = """
    SELECT state, name, count(*), reason FROM job WHERE state NOT IN ('done', 'cancelled')
    GROUP BY 1, 2, 4 ORDER BY 1, 2
"""
_ENTRIES = "SELECT count(*) FROM document_version WHERE device_id IS NOT NULL"
_GONE = """
    SELECT count(*) FROM unnest(%(ids)s::uuid[]) AS sent (id)
    WHERE NOT EXISTS (SELECT FROM document d WHERE d.id = sent.id)
"""
_UNJUDGED = """
    SELECT count(*) FROM document_version v
    WHERE v.device_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM verdict w
                      WHERE w.source_type = 'document' AND w.source_id = v.document_id AND w.source_version = v.version
                        AND w.superseded_at IS NULL)
"""
_DOUBLED_VERDICTS = """
    SELECT coalesce(sum(number - 1), 0) FROM (
        SELECT count(*) AS number FROM verdict WHERE superseded_at IS NULL
        GROUP BY source_type, source_id, source_version, rule_version) AS each
"""
_DOUBLED_CASES = """
    SELECT coalesce(sum(number - 1), 0) FROM (
        SELECT count(*) AS number FROM case_file WHERE closed_at IS NULL
        GROUP BY source_type, source_id, source_version, rule_version) AS each
"""
# Who is on record as he was collected matches; who is not does not, and was not just waved through.
_STALE = """
    SELECT count(*) FROM document d
    JOIN verdict v ON v.source_type = 'document' AND v.source_id = d.id AND v.source_version = d.version
         AND v.superseded_at IS NULL
    JOIN dataset s ON s.code = 'population' AND s.current_snapshot_id IS NOT NULL
    LEFT JOIN business_record r ON r.snapshot_id = s.current_snapshot_id AND r.record_key = encode(d.id_index, 'hex')
    WHERE d.kind = 'person' AND NOT d.deleted
      AND CASE WHEN r.id IS NULL THEN v.verdict IN ('match', 'accepted') ELSE v.verdict <> 'match' END
"""

if __name__ == "__main__":
    sys.exit(main())
