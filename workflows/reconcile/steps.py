"""One step of each phase: a chunk or a partition, its effects, and where the next one begins.

A step runs in the transaction of its job. What it decrypts lives in this process until it returns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause
from sqlmodel import Session

from backend.core.enums import Kind, ReconciliationPhase
from backend.core.settings import get_settings
from backend.models import Reconciliation
from backend.services.records import StoredRow, open_rows
from backend.services.registry_sealing import context_of
from backend.services.sealing import Vault, place, subjects_in
from workflows.reconcile import statements
from workflows.reconcile.engines import opened
from workflows.reconcile.features import fields_of, frame
from workflows.reconcile.rules import KindModel, Pair, chosen, compared, packed, settings_of

CHUNK = 20_000
"""Rows of a set-based step: a few seconds."""
COMPARED = 1_000
"""Links whose fields are opened and compared at once."""
NO_ID = str(UUID(int=0))

Tally = dict[str, Any]


@dataclass(slots=True)
class Work:
    """A run in the hands of a step: `cursor` is where it begins; `tally` is changed in place."""

    session: Session
    run: Reconciliation
    kind: Kind
    model: KindModel
    tally: Tally

    @property
    def cursor(self) -> str:
        return self.run.cursor

    def execute(self, statement: TextClause, **values: Any) -> Any:
        return self.session.connection().execute(statement, {"run": self.run.id, **values})


Step = Callable[[Work], str | None]
"""Gives the cursor of the next step of the phase, None where the phase is over."""


def _keys(work: Work) -> str | None:
    return _chunk(work, statements.by_key(work.kind), after=work.cursor or NO_ID, kind=work.kind.value)


def _phones(work: Work) -> str | None:
    """People only: nothing else has a phone or block index."""
    if work.kind is not Kind.PERSON:
        return None
    return _chunk(work, statements.BY_PHONE, after=work.cursor or NO_ID, kind=work.kind.value)


def _records(work: Work) -> str | None:
    return _chunk(work, statements.RECORDS, after=work.cursor or 0)


def _chunk(work: Work, statement: TextClause, **values: Any) -> str | None:
    run = work.run
    scope = {"territory": run.territory_code, "grids": run.grids, "snapshot": run.snapshot_id, "limit": CHUNK}
    row = work.execute(statement, **scope, **values).one()
    return None if row.seen < CHUNK else str(row.next)


def _plan(work: Work) -> str | None:
    sizes = [(row.grid_id, row.rows) for row in work.execute(statements.LEFT)]
    parts = packed(sizes, get_settings().reconcile_partition_rows)
    if parts:
        work.execute(statements.PLACED, grids=list(parts), parts=list(parts.values()))
    work.tally["parts"] = max(parts.values(), default=-1) + 1
    return None


def _probable(work: Work) -> str | None:
    """One partition. The cursor is its number."""
    part = int(work.cursor or 0)
    if part >= work.tally["parts"]:
        return None
    grids = [row.grid_id for row in work.execute(statements.GRIDS_OF_PART, part=part)]
    documents = work.execute(statements.LEFT_DOCUMENTS, kind=work.kind.value, grids=grids).all()
    records = work.execute(
        statements.LEFT_RECORDS,
        grids=grids,
        snapshot=work.run.snapshot_id,
        nearby=work.model.nearby,
        **{name: _known(getattr(row, name) for row in documents) for name in statements.NEARBY},
    ).all()
    if documents and records:
        pairs = _scored(work, documents, records)
        work.tally["pairs"] = work.tally.get("pairs", 0) + len(pairs)
        _link(work, {row.id: row.grid_id for row in documents}, pairs)
    work.execute(statements.FORGET_RECORDS, grids=grids)
    return str(part + 1) if part + 1 < work.tally["parts"] else None


def _known(indexes: Any) -> list[bytes]:
    return sorted({bytes(index) for index in indexes if index is not None})


def _scored(work: Work, documents: Sequence[Any], records: Sequence[Any]) -> list[Pair]:
    mine = _opened_documents(work.session, [(row.id, row.body, row.sealed) for row in documents])
    theirs = _opened_records(work, [(row.sealed_in, row.record_key, row.body, row.sealed) for row in records])
    with opened(work.run.engine) as engine:
        return engine.pairs(
            frame(work.model, [(str(row.id), fields) for row, fields in zip(documents, mine, strict=True)]),
            frame(work.model, [(str(row.id), fields) for row, fields in zip(records, theirs, strict=True)]),
            settings_of(work.model),
        )


def _link(work: Work, grids: Mapping[UUID, str], pairs: Sequence[Pair]) -> None:
    links = chosen(pairs, accept=work.model.accept, margin=work.model.margin)
    if links:
        work.execute(
            statements.LINK,
            documents=[UUID(pair.document) for pair in links],
            records=[pair.record for pair in links],
            cells=[grids[UUID(pair.document)] for pair in links],
            scores=[pair.probability for pair in links],
        )
        work.execute(statements.COVER, records=[pair.record for pair in links])


def _fields(work: Work) -> str | None:
    """Which fields differ between linked records: names, no values."""
    rows = work.execute(statements.LINKED, after=work.cursor or NO_ID, limit=COMPARED).all()
    if not rows:
        return None
    mine = _opened_documents(work.session, [(row.document_id, row.my_body, row.my_sealed) for row in rows])
    theirs = _opened_records(work, [(row.sealed_in, row.record_key, row.their_body, row.their_sealed) for row in rows])
    methods, counts = work.model.compared, work.tally.setdefault("fields", {})
    names = []
    for ours, other in zip(mine, theirs, strict=True):
        judged = compared(fields_of(methods, ours), fields_of(methods, other))
        for name, differs in judged.items():
            count = counts.setdefault(name, {"compared": 0, "differs": 0})
            count["compared"] += 1
            count["differs"] += differs
        names.append(",".join(name for name, differs in judged.items() if differs))
    work.execute(statements.DIFFERS, documents=[row.document_id for row in rows], names=names)
    return str(rows[-1].document_id) if len(rows) == COMPARED else None


def _opened_documents(session: Session, rows: Sequence[tuple[UUID, Any, Any]]) -> list[dict[str, Any]]:
    return open_rows(session, [StoredRow(key, body, _bytes(sealed)) for key, body, sealed in rows], fresh=True)


def _opened_records(work: Work, rows: Sequence[tuple[UUID, str | None, Any, Any]]) -> list[dict[str, Any]]:
    """Records by the snapshot they were sealed for, their key, what is readable of them and what is sealed.

    Of one that was erased since it was linked nothing is left, and that is what it gives.
    """
    vault = Vault(work.session)
    vault.load(subjects_in(_bytes(sealed) for _, _, _, sealed in rows))
    return [
        place(body, vault.open(_bytes(sealed), context=context_of(sealed_in, key))) if key is not None else {}
        for sealed_in, key, body, sealed in rows
    ]


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


def _report(work: Work) -> str | None:
    totals = work.execute(statements.TOTALS).mappings().one()
    work.tally["totals"] = {name: int(number) for name, number in totals.items()}
    return None


STEPS: dict[ReconciliationPhase, Step] = {
    ReconciliationPhase.KEYS: _keys,
    ReconciliationPhase.PHONES: _phones,
    ReconciliationPhase.RECORDS: _records,
    ReconciliationPhase.PLAN: _plan,
    ReconciliationPhase.PROBABLE: _probable,
    ReconciliationPhase.FIELDS: _fields,
    ReconciliationPhase.REPORT: _report,
}
