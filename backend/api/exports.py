"""Exports: asked for with a purpose, made by a job, fetched as a CSV or Parquet file."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, status
from fastapi.responses import StreamingResponse

from backend.api.deps import DbSession, allowed
from backend.api.downloads import download
from backend.api.fields import After
from backend.core.enums import ExportFormat
from backend.services import exports
from backend.services.export_schemas import ExportPage, ExportRequest, ExportView
from backend.services.sessions import Caller

router = APIRouter(prefix="/exports/v1", tags=["导出 exports"])

MEDIA_TYPES = {ExportFormat.CSV: "text/csv", ExportFormat.PARQUET: "application/vnd.apache.parquet"}


@router.post("", status_code=status.HTTP_202_ACCEPTED, summary="Ask for a table; a job makes it")
def ask_for_export(
    body: ExportRequest, session: DbSession, caller: Annotated[Caller, Depends(allowed("exports.create"))]
) -> ExportView:
    """Personal fields are masked. The file says who exported it, when, and for what. 导出内容默认脱敏并带水印。"""
    return exports.ask(session, caller=caller, request=body)


@router.get("", summary="Exports, newest first: one's own, or all for those who watch over them")
def list_exports(
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("exports.list"))],
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: After = None,
) -> ExportPage:
    return exports.list_exports(session, caller=caller, limit=limit, before=before)


@router.get("/{export_id}", summary="One export and whether its file is ready")
def read_export(
    export_id: UUID, session: DbSession, caller: Annotated[Caller, Depends(allowed("exports.read"))]
) -> ExportView:
    return exports.read(session, caller=caller, export_id=export_id)


@router.get(
    "/{export_id}/file",
    summary="The file of one's own export; audited",
    response_class=StreamingResponse,
    responses={200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}}},
)
def fetch_export(
    export_id: UUID, session: DbSession, caller: Annotated[Caller, Depends(allowed("exports.fetch"))]
) -> StreamingResponse:
    format_, content = exports.fetch(session, caller=caller, export_id=export_id)
    return download(content, what="export", file_id=export_id, suffix=format_.value, media_type=MEDIA_TYPES[format_])
