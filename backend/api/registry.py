"""Departments' datasets: handing a file over, what became of it, and the rows that were refused."""

import asyncio
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict
from starlette.requests import ClientDisconnect

from backend.api.deps import DbSession, allowed
from backend.api.downloads import download
from backend.api.fields import After, Moment
from backend.core.enums import DataGrade, ImportState, Kind, LoadMode
from backend.models import Dataset, Snapshot
from backend.services import registry, registry_catalogue, registry_history, registry_progress
from backend.services.registry_progress import Standing
from backend.services.registry_rows import REASONS
from backend.services.registry_schemas import DatasetChange, DatasetDefinition, LookUp, PullDefinition
from backend.services.registry_specs import SPECS, Column, DatasetSpec, Shape
from backend.services.registry_uploads import ImportCutOff, Upload
from backend.services.sessions import Caller

router = APIRouter(prefix="/registry/v1", tags=["业务数据 registry"])

BLOCK_BYTES = 256 * 1024
STALL_SECONDS = 20.0
FORMATS = (
    "text/csv",
    "application/jsonl",
    "application/vnd.apache.parquet",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
)
"""What departments send. The content says which it is, as many send all of them as `application/octet-stream`."""
FILE_BODY = {
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in FORMATS},
    }
}

Describer = Annotated[Caller, Depends(allowed("registry.describe"))]
Registrar = Annotated[Caller, Depends(allowed("registry.register"))]
Importer = Annotated[Caller, Depends(allowed("registry.import"))]
RejectReader = Annotated[Caller, Depends(allowed("registry.rejects"))]
Historian = Annotated[Caller, Depends(allowed("registry.imports"))]
Reviewer = Annotated[Caller, Depends(allowed("registry.look_up"))]
Lister = Annotated[Caller, Depends(allowed("registry.datasets"))]
Reader = Annotated[Caller, Depends(allowed("registry.read_import"))]


class Reason(BaseModel):
    """Why a row was refused, or the file; what stood there is in the reject file only. Line 0 is no line of a file."""

    line: int
    column: str
    code: str
    text: str


class Progress(BaseModel):
    """How far a load is that is going on: rows read, and how much of the file that is, from 0 to 1."""

    rows: int
    share: float | None
    at: datetime


class Import(BaseModel):
    """One load of a dataset. `reasons` are those of the first hundred refused rows; `failure` is an error code.

    Of changes (`mode` incremental) `accepted` counts the rows that were put in, `deleted` the records that went, and
    `carried` those that stayed from the snapshot they are `based_on`. `progress`: while it loads, from the first rows.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "snapshot_id": "0199c5f0-2b1e-7c00-9a51-3f2f6f0c9d11",
                    "dataset": "population",
                    "state": "current",
                    "mode": "full",
                    "based_on": None,
                    "taken_at": "2026-10-09T08:00:00Z",
                    "loaded_at": "2026-10-09T08:00:12Z",
                    "accepted": 100000,
                    "rejected": 1,
                    "carried": 0,
                    "deleted": 0,
                    "progress": None,
                    "failure": None,
                    "reasons": [{"line": 27, "column": "证件号码", "code": "check_digit", "text": "校验位不正确"}],
                }
            ]
        }
    )

    snapshot_id: UUID
    dataset: str
    state: ImportState
    mode: LoadMode
    based_on: UUID | None
    taken_at: datetime
    loaded_at: datetime | None
    accepted: int
    rejected: int
    carried: int
    deleted: int
    progress: Progress | None
    failure: str | None
    reasons: list[Reason]


class ColumnView(BaseModel):
    """A column of a dataset's file: its header is the title, the alias or the name. `choices` lists what cells may say.

    `public`: stored readable, as it is not personal.
    """

    title: str
    alias: str | None
    name: str
    required: bool
    shape: Shape
    public: bool
    choices: list[str]


class DatasetView(BaseModel):
    """A dataset, what its files look like, and the load that readers see now, if any.

    `base`: one of the base stores (基础库). `kind`: what its records are about. `key`: the field that tells them apart,
    null for people, where it is the identity document. `ignored`: titles of columns that are left unread.
    `due_at`: when the next load should have come.
    """

    code: str
    name: str
    base: bool
    kind: Kind | None
    key: str | None
    department_code: str
    legal_basis: str
    grade: DataGrade
    refresh_days: int | None
    history: int
    pull: PullDefinition | None
    pulled_at: datetime | None
    due_at: datetime | None
    columns: list[ColumnView]
    ignored: list[str]
    current: Import | None


class Imports(BaseModel):
    """`before` of the next page is the last `snapshot_id`; no page follows one that is not full."""

    imports: list[Import]


class LookedUp(BaseModel):
    """A record and the snapshot that has it."""

    snapshot_id: UUID
    state: ImportState
    taken_at: datetime
    loaded_at: datetime | None
    record_key: str
    fields: dict[str, Any]


class Datasets(BaseModel):
    datasets: list[DatasetView]


@router.get("/datasets", summary="Departments' datasets and their current snapshots")
def list_datasets(session: DbSession, _: Lister) -> Datasets:
    return Datasets(datasets=[_dataset(*pair) for pair in registry.datasets(session)])


@router.post("/datasets", status_code=201, summary="Register a dataset of a department's own")
def register_dataset(definition: DatasetDefinition, session: DbSession, caller: Registrar) -> DatasetView:
    return _dataset(registry_catalogue.register(session, definition, actor=str(caller.account_id)), None)


@router.put("/datasets/{code}", summary="Describe a dataset anew: department, legal basis, grade, schedule, columns")
def describe_dataset(code: str, wanted: DatasetChange, session: DbSession, caller: Describer) -> DatasetView:
    dataset = registry_catalogue.change(session, code, wanted, actor=str(caller.account_id))
    return _dataset(dataset, registry.current_load(session, dataset))


@router.post(
    "/datasets/{code}/imports",
    status_code=202,
    summary="Hand over a file (CSV, XLSX, JSON lines or Parquet) as the dataset's next snapshot",
    openapi_extra=FILE_BODY,
)
async def import_dataset(
    code: str,
    request: Request,
    session: DbSession,
    caller: Importer,
    taken_at: Annotated[Moment | None, Query(description="When the department took the data")] = None,
    fewer: Annotated[bool, Query(description="Less than half of the present rows, or a column less, is meant")] = False,
    mode: Annotated[LoadMode, Query(description="A whole dataset, or what changed since")] = LoadMode.FULL,
) -> Import:
    """The file is sealed while it comes in; no database connection is held meanwhile."""
    await run_in_threadpool(registry.check_dataset, session, code)
    await run_in_threadpool(session.commit)
    with Upload() as upload:
        await _receive(request, upload)
        snapshot = await run_in_threadpool(
            registry.request_import,
            session,
            code,
            upload=upload,
            taken_at=taken_at,
            actor=str(caller.account_id),
            fewer=fewer,
            mode=mode,
        )
    return _import(snapshot)


@router.get("/datasets/{code}/imports", summary="The loads of a dataset, newest first, also those that failed")
def list_imports(
    code: str, session: DbSession, _: Historian, limit: Annotated[int, Query(ge=1, le=200)] = 50, before: After = None
) -> Imports:
    return Imports(imports=[_import(one) for one in registry_history.loads(session, code, limit=limit, before=before)])


@router.post(
    "/datasets/{code}/lookup", summary="A record, masked, as a snapshot has it: now, or as of a moment; audited"
)
def look_up(code: str, wanted: LookUp, session: DbSession, caller: Reviewer) -> LookedUp:
    snapshot, found = registry_history.look_up(session, code, wanted, actor=str(caller.account_id))
    return LookedUp(
        snapshot_id=snapshot.id,
        state=snapshot.state,
        taken_at=snapshot.taken_at,
        loaded_at=snapshot.loaded_at,
        record_key=found.record_key,
        fields=found.fields,
    )


@router.get("/imports/{snapshot_id}", summary="What became of a load, with the first hundred refused rows")
def read_import(snapshot_id: UUID, session: DbSession, _: Reader) -> Import:
    snapshot = registry.snapshot_of(session, snapshot_id)
    return _import(snapshot, registry_progress.standing(session, snapshot_id))


@router.get(
    "/imports/{snapshot_id}/rejects",
    summary="The refused rows as they came, as CSV; audited",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {}}}},
)
def read_rejects(snapshot_id: UUID, session: DbSession, caller: RejectReader) -> StreamingResponse:
    rows = registry.rejects_of(session, snapshot_id, actor=str(caller.account_id))
    return download(rows, what="rejects", file_id=snapshot_id, suffix="csv", media_type="text/csv")


async def _receive(request: Request, upload: Upload) -> None:
    """Take the body into the upload. `ImportCutOff` where it stops before its end."""
    stream = request.stream()
    block = bytearray()
    while True:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                part = await anext(stream, None)
        except (ClientDisconnect, TimeoutError) as error:
            raise ImportCutOff from error
        block += part or b""
        if part is None or len(block) >= BLOCK_BYTES:
            await run_in_threadpool(upload.write, bytes(block))
            block.clear()
        if part is None:
            return await run_in_threadpool(upload.finish)


def _dataset(dataset: Dataset, current: Snapshot | None) -> DatasetView:
    spec = registry_catalogue.spec_of(dataset)
    every = timedelta(days=dataset.refresh_days) if dataset.refresh_days else None
    return DatasetView(
        code=dataset.code,
        name=dataset.name,
        base=dataset.code in SPECS,
        kind=spec.kind,
        key=spec.key,
        department_code=dataset.department_code,
        legal_basis=dataset.legal_basis,
        grade=dataset.grade,
        refresh_days=dataset.refresh_days,
        history=dataset.history,
        pull=PullDefinition.model_validate(dataset.pull) if dataset.pull else None,
        pulled_at=dataset.pulled_at,
        due_at=current.taken_at + every if current and every else None,
        columns=[_column(spec, column) for column in spec.columns],
        ignored=sorted(spec.ignored),
        current=_import(current) if current else None,
    )


def _column(spec: DatasetSpec, column: Column) -> ColumnView:
    return ColumnView(
        title=column.title,
        alias=column.alias,
        name=column.name,
        required=column.required,
        shape=column.shape,
        public=column.name.partition(".")[0] in spec.public,
        choices=list(column.choices),
    )


def _import(snapshot: Snapshot, standing: Standing | None = None) -> Import:
    return Import(
        snapshot_id=snapshot.id,
        dataset=snapshot.dataset_code,
        state=snapshot.state,
        mode=snapshot.mode,
        based_on=snapshot.based_on,
        taken_at=snapshot.taken_at,
        loaded_at=snapshot.loaded_at,
        accepted=snapshot.accepted,
        rejected=snapshot.rejected,
        carried=snapshot.carried,
        deleted=snapshot.deleted,
        progress=Progress(**asdict(standing)) if standing else None,
        failure=snapshot.failure,
        reasons=[Reason(**reason, text=REASONS[reason["code"]]) for reason in snapshot.reasons],
    )
