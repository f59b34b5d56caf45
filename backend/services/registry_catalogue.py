"""Datasets that departments registered: what their files look like, and how that fits the base stores.

A base dataset (`registry_specs.SPECS`) has its columns from the code; a department adds what its own files call them,
and which of its columns are nobody's business here. A dataset of a department's own is described whole by its row: it
is stored, loaded and given out as the base ones are. Where its columns are fields that the base dataset of its kind
knows, they are held to the same rules; all others are its own, and no check reads them.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlmodel import Session, col, select

from backend.core.enums import DataGrade, Kind
from backend.core.errors import NotFound, ZhiwangError
from backend.models import Dataset, Department
from backend.services import audit, registry_sources
from backend.services.registry_schemas import ColumnDefinition, DatasetChange, DatasetDefinition
from backend.services.registry_specs import GRID, LOCATION, SPECS, Column, DatasetSpec, Shape

LONGEST_KEY = 64
PLACES = (GRID, *LOCATION)
"""Fields that a record about no kind has in common with all others."""


class DatasetExists(ZhiwangError):
    code = "dataset_exists"
    status = 409
    title_zh = "数据集编码已被使用"
    title_en = "There is a dataset of this code"


class DatasetDefinitionUnfit(ZhiwangError):
    """`fault` says in a word what does not fit: see docs/errors.md."""

    code = "dataset_definition"
    status = 422
    title_zh = "数据集的定义有误，请检查列、字段与主键"
    title_en = "The columns, fields or key of the dataset do not fit together"


class DatasetInUse(ZhiwangError):
    """Records were loaded with these fields: they may get other titles and neighbours, and not go or change."""

    code = "dataset_in_use"
    status = 409
    title_zh = "数据集已有数据，原有字段不能删除或改变"
    title_en = "Records were loaded: present fields cannot go or change"


def spec_of(dataset: Dataset) -> DatasetSpec:
    """What the files of a dataset look like."""
    own = [ColumnDefinition.model_validate(column) for column in dataset.columns]
    ignored = frozenset(column.title for column in own if column.field is None)
    base = SPECS.get(dataset.code)
    if base is not None:
        titles = {column.field: column.title for column in own}
        columns = tuple(replace(column, alias=titles.get(column.name)) for column in base.columns)
        return replace(base, columns=columns, ignored=ignored)
    known = _known(dataset.kind)
    columns = tuple(_column(column, known, dataset.key) for column in own if column.field is not None)
    names = {column.name for column in columns}
    pairs = _base(dataset.kind).identities if dataset.kind else ()
    return DatasetSpec(
        code=dataset.code,
        title=dataset.name,
        kind=dataset.kind,
        columns=columns,
        key=dataset.key,
        extra_public=frozenset(column.field for column in own if column.public and column.field),
        identities=tuple(pair for pair in pairs if names.issuperset(pair)),
        ignored=ignored,
    )


def load_spec(session: Session, code: str) -> DatasetSpec:
    """The same by code. `NotFound` for an unknown dataset."""
    dataset = session.get(Dataset, code)
    if dataset is None:
        raise NotFound
    return spec_of(dataset)


def human_datasets(session: Session) -> list[str]:
    """The datasets whose records are about one human each."""
    own = session.exec(select(Dataset.code).where(Dataset.kind == Kind.PERSON)).all()
    return [*(code for code, spec in SPECS.items() if spec.about_people), *own]


def naming_datasets(session: Session) -> list[str]:
    """The datasets whose files may name humans: of those of a department's own nobody can rule it out."""
    own = session.exec(select(Dataset.code).where(col(Dataset.code).not_in(list(SPECS)))).all()
    return [*(code for code, spec in SPECS.items() if spec.identities), *own]


def register(session: Session, definition: DatasetDefinition, *, actor: str) -> Dataset:
    """A dataset of a department's own. `DatasetExists`, `DatasetDefinitionUnfit`."""
    if definition.code in SPECS or session.get(Dataset, definition.code) is not None:
        raise DatasetExists
    dataset = Dataset(**_row(session, definition), code=definition.code, kind=definition.kind, key=definition.key)
    _check(dataset, definition.columns)
    session.add(dataset)
    session.flush()
    _audit(session, "dataset_registered", dataset, actor)
    return dataset


def change(session: Session, code: str, wanted: DatasetChange, *, actor: str) -> Dataset:
    """Describe a dataset anew, whole. `NotFound`, `DatasetDefinitionUnfit`, `DatasetInUse`."""
    dataset = session.exec(select(Dataset).where(Dataset.code == code).with_for_update()).first()
    if dataset is None:
        raise NotFound
    before = spec_of(dataset)
    for name, value in _row(session, wanted).items():
        setattr(dataset, name, value)
    _check(dataset, wanted.columns)
    if dataset.current_snapshot_id is not None and not _keeps(before, spec_of(dataset)):
        raise DatasetInUse
    session.flush()
    _audit(session, "dataset_changed", dataset, actor)
    return dataset


def _row(session: Session, wanted: DatasetChange) -> dict[str, Any]:
    if session.get(Department, wanted.department_code) is None:
        raise DatasetDefinitionUnfit(fault="department")
    if wanted.pull is not None and wanted.pull.source not in registry_sources.sources():
        raise DatasetDefinitionUnfit(fault="source")
    return {
        "name": wanted.name,
        "department_code": wanted.department_code,
        "legal_basis": wanted.legal_basis,
        "grade": wanted.grade,
        "refresh_days": wanted.refresh_days,
        "history": wanted.history,
        "columns": [column.model_dump(mode="json") for column in wanted.columns],
        "pull": wanted.pull.model_dump(mode="json") if wanted.pull else None,
    }


def _check(dataset: Dataset, columns: Sequence[ColumnDefinition]) -> None:
    """`DatasetDefinitionUnfit` with the first fault."""
    fields = [column.field for column in columns if column.field is not None]
    titles = [column.title for column in columns]
    faults = {
        "title_twice": len(set(titles)) < len(titles),
        "field_twice": len(set(fields)) < len(fields),
        "grade": dataset.grade is DataGrade.CORE,
        **(_base_faults(dataset, fields, titles) if dataset.code in SPECS else _own_faults(dataset, columns, fields)),
    }
    if fault := next((name for name, found in faults.items() if found), None):
        raise DatasetDefinitionUnfit(fault=fault)


def _base_faults(dataset: Dataset, fields: Sequence[str], titles: Sequence[str]) -> dict[str, bool]:
    known = {column.name for column in SPECS[dataset.code].columns}
    taken = known | {column.title for column in SPECS[dataset.code].columns}
    return {"field_unknown": not known.issuperset(fields), "title_taken": not taken.isdisjoint(titles)}


def _own_faults(dataset: Dataset, columns: Sequence[ColumnDefinition], fields: Sequence[str]) -> dict[str, bool]:
    known = _known(dataset.kind)
    base = _base(dataset.kind) if dataset.kind else None
    key_fits = dataset.key in fields if base is None else dataset.key == base.key
    parts = {field for field in fields if "." in field}
    return {
        "key": not key_fits or (base is not None and base.key is None and not {"id_type", "id_number"} <= set(fields)),
        "key_missing": base is not None and base.key is not None and base.key not in fields,
        "parts": not known.keys() >= parts or len({"location.lat", "location.lon"} & parts) == 1,
        "compound": any(
            field in {part.partition(".")[0] for part in {*parts, *known} if "." in part} for field in fields
        ),
        "public_personal": any(column.public and column.field in known for column in columns),
    }


def _known(kind: Kind | None) -> dict[str, Column]:
    return {column.name: column for column in (_base(kind).columns if kind else PLACES)}


def _base(kind: Kind) -> DatasetSpec:
    return next(spec for spec in SPECS.values() if spec.kind is kind)


def _column(definition: ColumnDefinition, known: dict[str, Column], key: str | None) -> Column:
    assert definition.field is not None
    if (column := known.get(definition.field)) is not None:
        needed = definition.field in {key, *(("id_type", "id_number") if key is None else ())}
        return replace(column, title=definition.title, required=definition.required or needed)
    is_key = definition.field == key
    return Column(
        definition.field,
        definition.title,
        required=definition.required or is_key,
        shape=Shape(definition.shape),
        longest=min(definition.longest, LONGEST_KEY) if is_key else definition.longest,
        choices=dict(definition.choices),
        bounds=WIDEST if definition.shape == "integer" else None,
    )


def _keeps(before: DatasetSpec, after: DatasetSpec) -> bool:
    """Whether what was loaded still means the same: every field is there, in the same shape, as open as it was."""
    now_there = {column.name: column.shape for column in after.columns}
    same = all(now_there.get(column.name) is column.shape for column in before.columns)
    return same and before.public & now_there.keys() == after.public & {column.name for column in before.columns}


def _audit(session: Session, action: str, dataset: Dataset, actor: str) -> None:
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="dataset",
        object_id=dataset.code,
        department=dataset.department_code,
        grade=dataset.grade.value,
        columns=len(dataset.columns),
    )


WIDEST = (-(2**53), 2**53)
"""Integers that every reader of JSON keeps."""
