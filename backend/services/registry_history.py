"""What a dataset said at a time: its loads, and a record as a past snapshot had it, masked."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from backend.core.enums import ImportState, Kind
from backend.core.errors import NotFound, ZhiwangError
from backend.kinds import Document, identity_of
from backend.models import Dataset, Snapshot
from backend.services import audit, masking, registry
from backend.services.records import id_index
from backend.services.registry import Found
from backend.services.registry_catalogue import spec_of
from backend.services.registry_schemas import LookUp
from backend.services.registry_sealing import record_key
from backend.services.registry_specs import DatasetSpec

LOADED = (ImportState.CURRENT, ImportState.SUPERSEDED)


class SnapshotGone(ZhiwangError):
    """There was such a snapshot, and its records were removed: see `history` of the dataset."""

    code = "snapshot_gone"
    status = 410
    title_zh = "该快照的数据已按保存规则清除"
    title_en = "The records of this snapshot were removed"


def loads(session: Session, code: str, *, limit: int, before: UUID | None) -> Sequence[Snapshot]:
    """The loads of a dataset, newest first, also those that failed. `NotFound` for an unknown dataset."""
    registry.check_dataset(session, code)
    page = select(Snapshot).where(Snapshot.dataset_code == code).order_by(col(Snapshot.id).desc()).limit(limit)
    if before is not None:
        page = page.where(col(Snapshot.id) < before)
    return session.exec(page).all()


def look_up(session: Session, code: str, wanted: LookUp, *, actor: str) -> tuple[Snapshot, Found]:
    """A record, masked, as a snapshot has it: the one named, the newest taken by a moment, or the current one.

    `NotFound` for a dataset, snapshot or record that is not there, `SnapshotGone`. Audited.
    """
    dataset = session.get(Dataset, code)
    snapshot = _snapshot(session, dataset, wanted) if dataset is not None else None
    if dataset is None or snapshot is None:
        raise NotFound
    spec = spec_of(dataset)
    found = registry.find_in_snapshot(session, snapshot.id, [_key(spec, wanted)])
    if not found:
        if not registry.has_records(session, snapshot.id):
            raise SnapshotGone
        raise NotFound
    [record] = found.values()
    audit.record(
        session,
        actor=actor,
        action="business_record_read",
        object_type="snapshot",
        object_id=str(snapshot.id),
        dataset=code,
    )
    return snapshot, Found(record.record_key, record.snapshot_id, record.taken_at, masked(spec, record.fields))


def _snapshot(session: Session, dataset: Dataset, wanted: LookUp) -> Snapshot | None:
    if wanted.snapshot_id is not None:
        named = session.get(Snapshot, wanted.snapshot_id)
        fits = named is not None and named.dataset_code == dataset.code and named.state in LOADED
        return named if fits else None
    if wanted.as_of is None:
        return registry.current_load(session, dataset)
    return _newest(session, dataset.code, wanted.as_of)


def _newest(session: Session, code: str, moment: datetime) -> Snapshot | None:
    """What was known of a moment: of two snapshots taken at once the one that was loaded later."""
    return session.exec(
        select(Snapshot)
        .where(Snapshot.dataset_code == code, col(Snapshot.state).in_(LOADED), Snapshot.taken_at <= moment)
        .order_by(col(Snapshot.taken_at).desc(), col(Snapshot.loaded_at).desc())
        .limit(1)
    ).first()


def _key(spec: DatasetSpec, wanted: LookUp) -> str:
    """`NotFound` where the dataset is asked by a key that it does not have."""
    if spec.key is not None and wanted.key is not None:
        return record_key(spec, {spec.key: wanted.key})
    identity = identity_of({"id_type": wanted.id_type, "id_number": wanted.id_number})
    if spec.key is not None or identity is None:
        raise NotFound
    return id_index(identity).hex()


def masked(spec: DatasetSpec, fields: Document) -> Document:
    """A record as an office sees it: what the dataset declares public as it is."""
    return {name: _shown(spec, name, value) for name, value in fields.items()}


def _shown(spec: DatasetSpec, name: str, value: Any) -> Any:
    if name in spec.public:
        return value
    if isinstance(value, dict):
        return {part: masking.shown(spec.kind or Kind.PERSON, f"{name}.{part}", inner) for part, inner in value.items()}
    return masking.shown(spec.kind or Kind.PERSON, name, value)
