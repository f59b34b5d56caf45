"""The records of a dataset in force as rows of an export: general data, masked, below the account's territory."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from backend.core.enums import DataGrade
from backend.core.errors import NotFound, ZhiwangError
from backend.kinds.geodesy import SCALE
from backend.models import Dataset
from backend.services import registry
from backend.services.export_schemas import ExportFilters
from backend.services.registry_catalogue import spec_of
from backend.services.registry_history import masked
from backend.services.registry_specs import Column, DatasetSpec, Shape
from backend.services.scope import IN_TERRITORY, territory_parameters
from backend.services.sessions import Caller

BATCH = 500


class ExportGrade(ZhiwangError):
    """Only general data leave: important data need a decision that no request for an export can be."""

    code = "export_grade"
    status = 409
    title_zh = "该数据集不是一般数据，不能导出"
    title_en = "The dataset is no general data and cannot be exported"


def fields_of(session: Session, code: str | None) -> list[str]:
    """What may be exported of a dataset. `NotFound` where there is none, `ExportGrade`."""
    dataset = session.get(Dataset, code)
    if dataset is None:
        raise NotFound
    if dataset.grade is not DataGrade.GENERAL:
        raise ExportGrade(grade=dataset.grade.value)
    return [column.name for column in spec_of(dataset).columns]


def rows(session: Session, caller: Caller, filters: ExportFilters, limit: int) -> Iterator[dict[str, Any]]:
    """By key. Nothing where the dataset is graded higher meanwhile; what is of erased people is left out.

    Records that lie in no grid are the city's business, as everywhere.
    """
    dataset = session.get(Dataset, filters.dataset)
    if dataset is None or dataset.grade is not DataGrade.GENERAL:
        return
    spec = spec_of(dataset)
    given = {
        **territory_parameters(caller),
        "snapshot": dataset.current_snapshot_id,
        "prefix": filters.grid_prefix or "",
        "limit": limit,
    }
    found = session.connection().execute(_RECORDS.execution_options(yield_per=BATCH), given)
    for batch in found.partitions():
        for record in registry.opened(session, batch):
            if not spec.about_people or "id_number" in record.fields:
                yield _cells(spec, masked(spec, record.fields))


def _cells(spec: DatasetSpec, fields: dict[str, Any]) -> dict[str, Any]:
    return {column.name: _cell(column, fields) for column in spec.columns}


def _cell(column: Column, fields: dict[str, Any]) -> Any:
    """The value at a column's path. Degrees as departments write them."""
    name, _, part = column.name.partition(".")
    value = fields.get(name)
    if part:
        value = value.get(part) if isinstance(value, dict) else None
    return value / SCALE if column.shape is Shape.DEGREES and isinstance(value, int) else value


_RECORDS = text(
    f"""
    SELECT r.record_key, r.snapshot_id, coalesce(r.sealed_in, r.snapshot_id) AS sealed_in, s.taken_at, r.body, r.sealed
    FROM business_record r JOIN snapshot s ON s.id = r.snapshot_id
    WHERE r.snapshot_id = :snapshot AND {IN_TERRITORY.format(grid_id="(r.body ->> 'grid_id')")}
      AND (:prefix = '' OR starts_with(r.body ->> 'grid_id', :prefix))
    ORDER BY r.record_key LIMIT :limit
    """
)
