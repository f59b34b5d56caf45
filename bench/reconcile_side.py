"""One program of `bench.reconcile`, in a process of its own, with the settings of its database.

python -m bench.reconcile_side fill DROP FILE    import the drop, and write the entries of FILE as collected records
python -m bench.reconcile_side run FILE          a run over everything, step by step, judged by the truth of FILE
"""

import json
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Table, insert, text
from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.core.enums import Kind, LinkRule, ReconciliationPhase, ReconciliationState, Role
from backend.core.ids import new_id
from backend.kinds.base import Identity
from backend.models import BusinessRecord, Document, Posting, Reconciliation, ReconciliationLink
from backend.seed.load import import_file
from backend.services import records
from backend.services.sessions import Caller
from workflows.reconcile import engines, service

POPULATION = "population"
AT_ONCE = 2000
Entry = dict[str, Any]


def fill(drop: Path, entries: Path) -> dict[str, Any]:
    """Business records by the product's own import; collected records sealed as a push seals them, then copied in."""
    began = time.perf_counter()
    imported = import_file(engine_for("zw_worker"), dataset=POPULATION, path=drop)
    if imported.failure is not None:
        raise RuntimeError(imported.failure)
    filled = time.perf_counter()
    for some in _batches(_entries(entries)):
        with transaction(engine_for("zw_worker")) as session:
            _write(session, some)
    return {
        "records": imported.accepted,
        "import_s": filled - began,
        "documents_s": time.perf_counter() - filled,
    }


def _entries(path: Path) -> Iterator[Entry]:
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file)


def _batches(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _write(session: Session, entries: Sequence[Entry]) -> None:
    """The feed is nobody's here: what checks that a change is told is switched off for this database."""
    rows = [(Kind.PERSON, UUID(entry["id"]), {"grid_id": entry["grid_id"], **entry["fields"]}) for entry in entries]
    sealed, moment = records.seal_rows(session, rows), now()
    table: Table = Document.__table__  # type: ignore[attr-defined]
    session.connection().execute(
        insert(table),
        [
            {
                "id": UUID(entry["id"]),
                "kind": Kind.PERSON,
                "grid_id": entry["grid_id"],
                "version": 1,
                "op": new_id(),
                "deleted": False,
                "body": row.body,
                "sealed": row.sealed,
                **asdict(row.indexes),
                "created_at": moment,
                "updated_at": moment,
            }
            for entry, row in zip(entries, sealed, strict=True)
        ],
    )


def run(entries: Path) -> dict[str, Any]:
    """All steps, each in a transaction of its own as its job has it; time by phase, and how right the links are."""
    timed = _time_engine()
    bare = _bare_join()
    with transaction(engine_for("zw_worker")) as session:
        run_id = service.ask(session, caller=_steward(session), dataset=POPULATION, grids=None).id
    seconds: defaultdict[str, float] = defaultdict(float)
    steps: Counter[str] = Counter()
    while (standing := _standing(run_id))[0] is ReconciliationState.RUNNING:
        began = time.perf_counter()
        with transaction(engine_for("zw_worker")) as session:
            service.run_step(session, run_id=run_id, step=standing[2])
        seconds[standing[1].value] += time.perf_counter() - began
        steps[standing[1].value] += 1
    with Session(engine_for("zw_worker")) as session:
        done = session.get_one(Reconciliation, run_id)
        if done.state is not ReconciliationState.DONE:
            raise RuntimeError(done.failure)
        found = _judged(session, done, {entry["id"]: entry["truth"] for entry in _entries(entries)})
        return {
            **done.tally,
            "seconds": seconds,
            "steps": steps,
            "engine_s": timed["seconds"],
            "bare_join_s": bare,
            "links": found,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }


def _standing(run_id: UUID) -> tuple[ReconciliationState, ReconciliationPhase, int]:
    with Session(engine_for("zw_worker")) as session:
        found = session.get_one(Reconciliation, run_id)
        return found.state, found.phase, found.step


def _steward(session: Session) -> Caller:
    account_id = session.exec(select(Posting.account_id).where(Posting.role == Role.STEWARD)).first()
    assert account_id is not None
    return Caller(account_id, Role.STEWARD, None, "44", None)


def _time_engine() -> dict[str, float]:
    """Count the seconds that Splink takes for itself."""
    scored, timed = engines._Splink.pairs, {"seconds": 0.0}

    def pairs(self: Any, *given: Any) -> Any:
        began = time.perf_counter()
        found = scored(self, *given)
        timed["seconds"] += time.perf_counter() - began
        return found

    setattr(engines._Splink, "pairs", pairs)
    return timed


def _bare_join() -> float:
    """The limit: both tables joined on the key by one statement that writes nothing, the second of two times."""
    query = text(
        """
        SELECT count(*) FROM document d JOIN business_record r ON r.record_key = encode(d.id_index, 'hex')
        WHERE d.kind = 'person' AND r.snapshot_id = (SELECT current_snapshot_id FROM dataset WHERE code = 'population')
        """
    )
    with Session(engine_for("zw_worker")) as session:
        session.connection().execute(query)
        began = time.perf_counter()
        session.connection().execute(query)
        return time.perf_counter() - began


def _judged(session: Session, done: Reconciliation, truth: Mapping[str, str | None]) -> dict[str, dict[str, int]]:
    """By rule: how many links there are and how many of them are right. `known`: entries that have a record."""
    key_of = dict(
        session.exec(
            select(BusinessRecord.id, BusinessRecord.record_key).where(BusinessRecord.snapshot_id == done.snapshot_id)
        ).all()
    )
    rows = session.exec(
        select(ReconciliationLink.document_id, ReconciliationLink.record_id, ReconciliationLink.rule).where(
            ReconciliationLink.run_id == done.id
        )
    )
    found = {rule.value: {"links": 0, "right": 0} for rule in LinkRule}
    for document_id, record_id, rule in rows:
        found[rule]["links"] += 1
        number = truth[str(document_id)]
        found[rule]["right"] += number is not None and _key(number) == key_of[record_id]
    return {**found, "known": {"links": sum(number is not None for number in truth.values()), "right": 0}}


def _key(number: str) -> str:
    return records.id_index(Identity("citizen_id", number)).hex()


def main(command: str, *rest: str) -> int:
    """Run one command and print what it gave as JSON."""
    said = run(Path(rest[0])) if command == "run" else fill(*(Path(one) for one in rest))
    print(json.dumps(said), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
