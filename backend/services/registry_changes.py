"""Incremental loads: a new snapshot made of the records there are, and of a file that says what changed in them.

Such a file has the columns of its dataset and may have one more, 变更: 删除 takes the record of that key away, anything
else, also nothing, puts the row in the place of the record of its key. Records that the file does not name are carried
over by one statement as they are: ciphertexts stay bound to the snapshot they were sealed for (`sealed_in`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID

from sqlmodel import Session, col, select

from backend.core import statements
from backend.core.enums import ImportState
from backend.models import BusinessRecord, Snapshot
from backend.services.registry_specs import Column, DatasetSpec
from backend.services.registry_tables import ImportRefused

NAME = "_change"
DELETE = "delete"
CHANGE = Column(NAME, "变更", choices={"新增": "upsert", "修改": "upsert", "删除": DELETE})


class ImportWithoutBase(ImportRefused):
    """Changes to a dataset that has no records."""

    code = "import_without_base"
    title_zh = "数据集还没有数据，请先导入完整的文件"
    title_en = "The dataset has no records yet: load a whole file first"


def with_changes(spec: DatasetSpec) -> DatasetSpec:
    """What an incremental file of a dataset looks like."""
    return replace(spec, columns=(*spec.columns, CHANGE))


def is_waiting(session: Session, snapshot: Snapshot) -> bool:
    """Whether an older load of the dataset is still to come: changes are made in the order they were handed over."""
    older = select(Snapshot.id).where(
        Snapshot.dataset_code == snapshot.dataset_code,
        Snapshot.state == ImportState.LOADING,
        col(Snapshot.id) < snapshot.id,
    )
    return session.exec(older.limit(1)).first() is not None


def carry_over(session: Session, *, old: UUID, new: UUID, deleted: Iterable[str]) -> tuple[int, int]:
    """Take the records that a file did not name into the new snapshot; how many those are, and how many went."""
    keys: Sequence[str] = sorted(deleted)
    [(gone,)] = statements.rows(session, _GONE, {"old": old, "keys": keys})
    [(carried,)] = statements.rows(session, _CARRY, {"old": old, "new": new, "keys": keys})
    return carried, gone


_GONE = "SELECT count(*) FROM business_record WHERE snapshot_id = %(old)s AND record_key = ANY(%(keys)b::text[])"
_KEPT = [name for name in BusinessRecord.model_fields if name not in {"id", "snapshot_id", "sealed_in"}]
_CARRY = f"""
    WITH carried AS (
        INSERT INTO business_record (snapshot_id, sealed_in, {", ".join(_KEPT)})
        SELECT %(new)s, coalesce(o.sealed_in, o.snapshot_id), {", ".join(f"o.{name}" for name in _KEPT)}
        FROM business_record o
        WHERE o.snapshot_id = %(old)s
          AND NOT EXISTS (SELECT FROM business_record n WHERE n.snapshot_id = %(new)s AND n.record_key = o.record_key)
          AND NOT EXISTS (SELECT FROM unnest(%(keys)b::text[]) AS d (key) WHERE d.key = o.record_key)
        RETURNING 1)
    SELECT count(*) FROM carried
"""
