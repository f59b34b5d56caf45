"""Loads one file as a dataset's new snapshot: all of it or nothing, and readers see the old one until the commit.

Rows go in by COPY, a chunk at a time, while the next chunk is made. The pointer `dataset.current_snapshot_id` moves in
the same transaction. A file that is broken, or gives too little, is not taken over: the old snapshot stays, the new one
is marked as failed with its reason, and the refused rows are kept all the same.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import text
from sqlmodel import Session, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import ImportState, LoadMode
from backend.kinds import KINDS
from backend.models import Dataset, Grid, Snapshot
from backend.services import audit, rechecks
from backend.services.registry_catalogue import spec_of
from backend.services.registry_changes import CHANGE, DELETE, ImportWithoutBase, carry_over, with_changes
from backend.services.registry_copy import Copier, packed
from backend.services.registry_progress import forget as forget_progress
from backend.services.registry_progress import note as note_progress
from backend.services.registry_rejects import RejectFile
from backend.services.registry_rows import CHUNK_ROWS, Chunk, DatasetFile, names_of
from backend.services.registry_sealing import (
    BulkVault,
    KeyedRecord,
    keyed,
    provide_keys,
    seal_records,
    without_erased,
)
from backend.services.registry_source import Source
from backend.services.registry_specs import SPECS, DatasetSpec
from backend.services.registry_tables import ImportRefused, Reason, Rejected, open_table

Progress = Callable[[int], None]
"""Called with the number of rows read so far."""

CLAIM_JOB = "sync.claim_fields"
REASONS_SHOWN = 100
MOST_REJECTED = 0.5
LEAST_KEPT = 0.5
"""A file with fewer good rows than this share of the present ones is half a file until somebody says otherwise."""


class ImportEmpty(ImportRefused):
    """No row could be taken over; replacing the records we have by nothing would be a loss."""

    code = "import_empty"
    title_zh = "文件中没有可导入的数据，原有数据保持不变"
    title_en = "No row could be imported; the present records stay"


class ImportMostlyRejected(ImportRefused):
    """More than half of the rows are bad: most likely the wrong file, or its columns are mixed up."""

    code = "import_mostly_rejected"
    title_zh = "超过一半的数据有错误，未导入，原有数据保持不变"
    title_en = "More than half of the rows are bad; nothing was imported, the present records stay"


class ImportShrunk(ImportRefused):
    """Fewer rows than half of the present ones, or a column less than the present records were made of."""

    code = "import_shrunk"
    title_zh = "文件比现有数据少一半以上，或缺少原有的列；未导入。确属减少的，请以 fewer=true 重新提交"
    title_en = "Less than half of the present rows, or a column is gone; send it with fewer=true if that is meant"


@dataclass(slots=True)
class _Tally:
    """What has become of the rows so far."""

    accepted: int = 0
    rejected: int = 0
    read: int = 0
    carried: int = 0
    gone: int = 0
    keys: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    reasons: list[dict[str, Any]] = field(default_factory=list)


def load_snapshot(
    session: Session, snapshot: Snapshot, source: Source, *, actor: str, progress: Progress | None = None
) -> None:
    """Fill a snapshot that is `loading` from an open file and make it current, or mark it `failed`.

    The caller commits. Two loads of one dataset wait for each other at its row.
    """
    dataset = session.exec(select(Dataset).where(Dataset.code == snapshot.dataset_code).with_for_update()).one()
    previous = session.get(Snapshot, dataset.current_snapshot_id) if dataset.current_snapshot_id else None
    tally, spec = _Tally(), spec_of(dataset)
    if snapshot.mode is LoadMode.INCREMENTAL:
        spec = with_changes(spec)
    with RejectFile(session, snapshot.id) as rejects:
        try:
            with session.begin_nested():
                _copy_all(session, snapshot, spec, source, tally, rejects, progress)
                _check_yield(tally)
                _carry_over(session, previous, snapshot, tally)
                _check_against(previous, snapshot, spec, tally)
        except ImportRefused as error:
            snapshot.state, snapshot.failure = ImportState.FAILED, error.code
            tally.accepted = tally.carried = tally.gone = 0
            # What stopped the load comes first, also where a hundred rows were refused before it.
            tally.reasons = [*(asdict(reason) for reason in error.reasons), *tally.reasons][:REASONS_SHOWN]
        else:
            _swap(session, dataset, snapshot, previous)
        snapshot.reject_key = rejects.store()
    _finish(session, snapshot, tally, actor=actor)


def _copy_all(
    session: Session,
    snapshot: Snapshot,
    spec: DatasetSpec,
    source: Source,
    tally: _Tally,
    rejects: RejectFile,
    progress: Progress | None,
) -> None:
    reader = DatasetFile(open_table(source, names_of(spec)), spec, grids=session.exec(select(Grid.id)).all())
    rejects.begin(reader.header)
    with Copier(session) as copier, _undisturbed():
        for chunk in reader.chunks(CHUNK_ROWS):
            records, twice = _keyed(spec, chunk, tally)
            vault = BulkVault(session)
            with copier.paused():
                kept, erased = without_erased(vault, records)
                provide_keys(vault, kept)
            # Of an erased human the reject file gets the line and nothing that stood there.
            rejected = [*chunk.rejected, *twice, *(Rejected(line, _key_title(spec), "erased", []) for line in erased)]
            rejects.add(rejected)
            copier.add(packed(snapshot.id, seal_records(vault, spec, snapshot.id, kept)))
            tally.accepted += len(kept)
            tally.rejected += len(rejected)
            tally.read += chunk.read
            tally.reasons += [_reason(bad) for bad in rejected][: REASONS_SHOWN - len(tally.reasons)]
            note_progress(session.get_bind().engine, snapshot.id, rows=tally.read, share=source.share)
            if progress is not None:
                progress(tally.read)
    snapshot.columns = sorted(reader.given - {CHANGE.name})


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Rows are many and hold no cycles: to look for such among them took a quarter of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _keyed(spec: DatasetSpec, chunk: Chunk, tally: _Tally) -> tuple[list[KeyedRecord], list[Rejected]]:
    """Give each good row its key; the first row of a key stays, later ones are refused. Deletions are noted."""
    records: list[KeyedRecord] = []
    twice: list[Rejected] = []
    for row in chunk.good:
        deleted = row.fields.pop(CHANGE.name, None) == DELETE
        record = keyed(spec, row.line, row.fields)
        if record.key in tally.keys:
            twice.append(Rejected(row.line, _key_title(spec), "duplicate_key", row.cells))
            continue
        tally.keys.add(record.key)
        if deleted:
            tally.deleted.add(record.key)
        else:
            records.append(record)
    return records, twice


def _key_title(spec: DatasetSpec) -> str:
    return next(column.title for column in spec.columns if column.name == (spec.key or "id_number"))


def _check_yield(tally: _Tally) -> None:
    if tally.accepted == 0 and not tally.deleted:
        raise ImportEmpty
    if tally.rejected > MOST_REJECTED * tally.read:
        raise ImportMostlyRejected


def _carry_over(session: Session, previous: Snapshot | None, snapshot: Snapshot, tally: _Tally) -> None:
    """Make changes a whole snapshot. `ImportWithoutBase` where there is nothing that they could change."""
    if snapshot.mode is LoadMode.FULL:
        return
    if previous is None:
        raise ImportWithoutBase
    snapshot.based_on = previous.id
    found = carry_over(session, old=previous.id, new=snapshot.id, deleted=tally.deleted)
    tally.carried, tally.gone = found


def _check_against(previous: Snapshot | None, snapshot: Snapshot, spec: DatasetSpec, tally: _Tally) -> None:
    """Half a file is often a whole one to look at: what is there now tells the difference."""
    if previous is None or snapshot.fewer:
        return
    titles = {column.name: column.title for column in spec.columns}
    gone = [titles[name] for name in previous.columns if name not in snapshot.columns and name in titles]
    if gone or tally.accepted + tally.carried < LEAST_KEPT * previous.records:
        raise ImportShrunk([Reason(0, title, "vanished_column") for title in gone])


def _swap(session: Session, dataset: Dataset, snapshot: Snapshot, previous: Snapshot | None) -> None:
    """Point readers to the new snapshot, and ask for the entries that it touches to be checked again.

    The one before stays for checks that began with it, and as many older ones as the dataset's history has; others go,
    but for those that are still being compared.
    """
    session.connection().execute(_PURGE, {"dataset": dataset.code, "kept": dataset.history - 1})
    if previous is not None:
        previous.state = ImportState.SUPERSEDED
    dataset.current_snapshot_id = snapshot.id
    snapshot.state = ImportState.CURRENT
    if snapshot.watermark is not None:
        dataset.watermark = snapshot.watermark
    session.flush()
    if dataset.code in SPECS or dataset.kind is not None:
        # No check reads records that are about none of the kinds that are collected.
        rechecks.ask_for_snapshot(session, snapshot, previous_id=previous.id if previous is not None else None)
    if any(dataset.code in spec.stewarded.values() for spec in KINDS.values()):
        key = str(snapshot.id)
        jobs.enqueue(session, CLAIM_JOB, key=key, snapshot_id=key, dataset=dataset.code, after="")


def _finish(session: Session, snapshot: Snapshot, tally: _Tally, *, actor: str) -> None:
    snapshot.loaded_at = now()
    snapshot.accepted, snapshot.rejected = tally.accepted, tally.rejected
    snapshot.carried, snapshot.deleted = tally.carried, tally.gone
    forget_progress(session, snapshot.id)
    snapshot.reasons = sorted(tally.reasons, key=lambda reason: int(reason["line"]))
    session.flush()
    audit.record(
        session,
        actor=actor,
        action="dataset_imported" if snapshot.failure is None else "dataset_import_failed",
        object_type="snapshot",
        object_id=str(snapshot.id),
        dataset=snapshot.dataset_code,
        accepted=snapshot.accepted,
        rejected=snapshot.rejected,
        failure=snapshot.failure,
    )


def _reason(bad: Rejected) -> dict[str, Any]:
    return {"line": bad.line, "column": bad.column, "code": bad.code}


_PURGE = text(
    """
    DELETE FROM business_record
    WHERE snapshot_id IN (
        SELECT id FROM (
            SELECT id FROM snapshot WHERE dataset_code = :dataset AND state = 'superseded'
            ORDER BY loaded_at DESC, id DESC OFFSET :kept) AS s
        WHERE NOT EXISTS (SELECT FROM recheck r WHERE r.state = 'spreading' AND s.id IN (r.snapshot_id, r.previous_id))
          AND NOT EXISTS (SELECT FROM reconciliation r WHERE r.state = 'running' AND r.snapshot_id = s.id))
    """
)
