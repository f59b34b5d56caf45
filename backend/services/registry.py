"""Business records: importing what departments hand over, and finding a record by its key (`population` for people).

Readers always see the current snapshot of a dataset, whole. What belongs to an erased person is missing from it.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from backend import jobs
from backend.core import statements
from backend.core.clock import now
from backend.core.enums import ImportState, Kind, LoadMode
from backend.core.errors import NotFound
from backend.models import BusinessRecord, Dataset, Snapshot
from backend.services import audit
from backend.services.objects import object_store
from backend.services.registry_changes import is_waiting
from backend.services.registry_files import SealedReader
from backend.services.registry_load import load_snapshot
from backend.services.registry_rejects import read_rejects
from backend.services.registry_sealing import context_of
from backend.services.registry_source import Source
from backend.services.registry_uploads import Upload, upload_context
from backend.services.sealing import Vault, erased_among, place, subjects_in

IMPORT_JOB = "registry.import"
FORGET_JOB = "registry.forget_upload"
WAIT = timedelta(seconds=15)
"""After which changes look again whether the load before them has ended."""

Fields = dict[str, Any]
RowProgress = Callable[[int, int], None]
"""Called with the rows read so far and the rows there seem to be."""


@dataclass(frozen=True, slots=True)
class Found:
    """A business record: its key, the snapshot it was read from, when that was taken, and its fields, opened."""

    record_key: str
    snapshot_id: UUID
    taken_at: datetime
    fields: Fields


@dataclass(frozen=True, slots=True)
class CurrentSnapshot:
    """Which snapshot of a dataset readers see now. `kind`: what the records of a department's own dataset are about."""

    snapshot_id: UUID
    taken_at: datetime
    kind: Kind | None = None


# Reading


def current_snapshots(session: Session) -> dict[str, CurrentSnapshot]:
    """The current snapshot of each dataset that has one."""
    rows = statements.rows(session, _CURRENT)
    return {
        code: CurrentSnapshot(found, taken_at, Kind(kind) if kind else None) for code, found, taken_at, kind in rows
    }


def find_by_keys(session: Session, dataset_code: str, keys: Sequence[str]) -> dict[str, Found]:
    """The records of these keys (house code, USCC, component id; for people the hex `id_index`); others are missing."""
    if not keys:
        return {}
    rows = session.connection().execute(_BY_KEYS, {"dataset": dataset_code, "keys": sorted(set(keys))})
    return {found.record_key: found for found in opened(session, rows)}


def find_in_snapshot(session: Session, snapshot_id: UUID, keys: Sequence[str]) -> dict[str, Found]:
    """As `find_by_keys` in any snapshot that still has its records."""
    rows = session.connection().execute(_IN_SNAPSHOT, {"snapshot": snapshot_id, "keys": sorted(set(keys))})
    return {found.record_key: found for found in opened(session, rows)}


def find_in_snapshots(
    session: Session, wanted: Iterable[tuple[UUID, str]], *, vault: Vault
) -> dict[tuple[UUID, str], Found]:
    """The records of these keys, each of its own snapshot; others are missing. `vault` keeps the keys that are read."""
    pairs = sorted(set(wanted))
    if not pairs:
        return {}
    given = {"snapshots": [snapshot_id for snapshot_id, _ in pairs], "keys": [key for _, key in pairs]}
    rows = session.connection().execute(_IN_SNAPSHOTS, given)
    return {(found.snapshot_id, found.record_key): found for found in opened(session, rows, vault)}


def has_records(session: Session, snapshot_id: UUID) -> bool:
    """Whether a snapshot still has its records."""
    query = select(BusinessRecord.id).where(BusinessRecord.snapshot_id == snapshot_id).limit(1)
    return session.exec(query).first() is not None


def opened(session: Session, rows: Iterable[Any], vault: Vault | None = None) -> list[Found]:
    """Rows of records, of one read, with their fields; one read of keys for all."""
    read = list(rows)
    vault = vault or Vault(session)
    vault.load(subjects_in(bytes(row.sealed) for row in read if row.sealed is not None))
    records = []
    for row in read:
        blob = bytes(row.sealed) if row.sealed is not None else None
        parts = vault.open(blob, context=context_of(row.sealed_in, row.record_key))
        records.append(Found(row.record_key, row.snapshot_id, row.taken_at, place(dict(row.body), parts)))
    return records


# Importing


def import_path(
    session: Session,
    dataset_code: str,
    path: Path,
    *,
    actor: str,
    taken_at: datetime | None = None,
    fewer: bool = False,
    mode: LoadMode = LoadMode.FULL,
    progress: RowProgress | None = None,
) -> Snapshot:
    """Load a file of this machine as the dataset's new snapshot. The caller commits.

    A file that cannot be taken over gives a snapshot in state `failed`, and the records there were stay current.
    `fewer`: half as many rows, or a column less, are meant. `mode`: see `registry_changes`.
    """
    digest, size = _measured(path)
    snapshot = Snapshot(
        dataset_code=dataset_code,
        taken_at=taken_at or now(),
        state=ImportState.LOADING,
        sha256=digest,
        size_bytes=size,
        fewer=fewer,
        mode=mode,
    )
    _begin(session, snapshot)
    with path.open("rb") as file:
        source = Source(file, size=size)

        def count(done: int) -> None:
            if progress is not None:
                progress(done, round(done / source.share) if source.share else done)

        load_snapshot(session, snapshot, source, actor=actor, progress=count)
    return snapshot


def request_import(
    session: Session,
    dataset_code: str,
    *,
    upload: Upload,
    taken_at: datetime | None,
    actor: str,
    fewer: bool = False,
    mode: LoadMode = LoadMode.FULL,
) -> Snapshot:
    """Keep a finished upload and have a worker load it. `NotFound` for an unknown dataset; the rest as above."""
    snapshot = Snapshot(
        id=upload.id,
        dataset_code=dataset_code,
        taken_at=taken_at or now(),
        state=ImportState.LOADING,
        sha256=upload.sha256,
        size_bytes=upload.size,
        fewer=fewer,
        mode=mode,
    )
    _begin(session, snapshot)
    upload.keep_key(session)
    object_store().put(_upload_key(snapshot.id), upload.path)
    jobs.enqueue(session, IMPORT_JOB, key=str(snapshot.id), snapshot_id=str(snapshot.id))
    audit.record(
        session,
        actor=actor,
        action="dataset_import_requested",
        object_type="snapshot",
        object_id=str(snapshot.id),
        dataset=dataset_code,
        mode=mode.value,
    )
    return snapshot


def run_import(session: Session, snapshot_id: UUID) -> None:
    """Load an upload that `request_import` kept. Running it again after it ended does nothing.

    The snapshot stays `loading` until a run has come to its end, so a job that is retried, also one that was dead for
    days, simply begins again. The upload is removed by a job of its own: it has to outlive a commit that fails.
    """
    snapshot = session.exec(select(Snapshot).where(Snapshot.id == snapshot_id).with_for_update()).one()
    if snapshot.state is not ImportState.LOADING:
        return
    if snapshot.mode is LoadMode.INCREMENTAL and is_waiting(session, snapshot):
        again = jobs.NewJob(
            IMPORT_JOB, f"{snapshot_id}:{now().isoformat()}", {"snapshot_id": str(snapshot_id)}, delay=WAIT
        )
        jobs.enqueue_many(session, [again])
        return
    vault = Vault(session)
    vault.load([snapshot_id.bytes])
    key = vault.key_of(snapshot_id.bytes)
    reader = SealedReader(object_store().stream(_upload_key(snapshot_id)), context=upload_context(snapshot_id), key=key)
    load_snapshot(session, snapshot, Source(reader, size=snapshot.size_bytes), actor=IMPORT_JOB)
    jobs.enqueue(session, FORGET_JOB, key=str(snapshot_id), snapshot_id=str(snapshot_id))


def forget_upload(snapshot_id: UUID) -> None:
    """Remove the file of a load that has ended: its rows are personal, and kept as records or as refused rows."""
    object_store().delete(_upload_key(snapshot_id))


def datasets(session: Session) -> list[tuple[Dataset, Snapshot | None]]:
    """All datasets with their current snapshot, by code."""
    rows = session.exec(
        select(Dataset, Snapshot)
        .join(Snapshot, col(Snapshot.id) == Dataset.current_snapshot_id, isouter=True)
        .order_by(Dataset.code)
    )
    return [(dataset, snapshot) for dataset, snapshot in rows]


def current_load(session: Session, dataset: Dataset) -> Snapshot | None:
    """The load whose records readers see now."""
    return session.get(Snapshot, dataset.current_snapshot_id) if dataset.current_snapshot_id else None


def check_dataset(session: Session, dataset_code: str) -> None:
    """`NotFound` for an unknown dataset, before a byte of it is read."""
    if session.get(Dataset, dataset_code) is None:
        raise NotFound


def snapshot_of(session: Session, snapshot_id: UUID) -> Snapshot:
    """One load and what became of it. `NotFound` for an unknown id."""
    snapshot = session.get(Snapshot, snapshot_id)
    if snapshot is None:
        raise NotFound
    return snapshot


def rejects_of(session: Session, snapshot_id: UUID, *, actor: str) -> Iterator[bytes]:
    """The refused rows of a load as CSV; `NotFound` where there are none. They are personal, so reading is audited."""
    snapshot = snapshot_of(session, snapshot_id)
    if snapshot.reject_key is None or erased_among(session, [snapshot_id.bytes]):
        raise NotFound
    audit.record(session, actor=actor, action="rejects_read", object_type="snapshot", object_id=str(snapshot_id))
    rows = read_rejects(session, snapshot_id, snapshot.reject_key)
    return chain([next(rows)], rows)


def _begin(session: Session, snapshot: Snapshot) -> None:
    check_dataset(session, snapshot.dataset_code)
    session.add(snapshot)
    session.flush()


def _measured(path: Path) -> tuple[str, int]:
    """SHA-256 and number of bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size


def _upload_key(snapshot_id: UUID) -> str:
    return f"imports/{snapshot_id}"


_CURRENT = """
    SELECT CAST(d.code AS text), s.id, s.taken_at, CAST(d.kind AS text)
    FROM dataset d JOIN snapshot s ON s.id = d.current_snapshot_id
"""
_IN_SNAPSHOT = text(
    """
    SELECT r.record_key, r.snapshot_id, coalesce(r.sealed_in, r.snapshot_id) AS sealed_in, s.taken_at, r.body, r.sealed
    FROM business_record r JOIN snapshot s ON s.id = r.snapshot_id
    WHERE r.snapshot_id = :snapshot AND r.record_key = ANY(:keys)
    """
)
_IN_SNAPSHOTS = text(
    """
    SELECT r.record_key, r.snapshot_id, coalesce(r.sealed_in, r.snapshot_id) AS sealed_in, s.taken_at, r.body, r.sealed
    FROM unnest(CAST(:snapshots AS uuid[]), CAST(:keys AS text[])) AS wanted (snapshot_id, key)
    JOIN snapshot s ON s.id = wanted.snapshot_id
    JOIN business_record r ON r.snapshot_id = wanted.snapshot_id AND r.record_key = wanted.key
    """
)
_BY_KEYS = text(
    """
    SELECT r.record_key, r.snapshot_id, coalesce(r.sealed_in, r.snapshot_id) AS sealed_in, s.taken_at, r.body, r.sealed
    FROM dataset d
    JOIN snapshot s ON s.id = d.current_snapshot_id
    JOIN business_record r ON r.snapshot_id = d.current_snapshot_id
    WHERE d.code = :dataset AND r.record_key = ANY(:keys)
    """
)
