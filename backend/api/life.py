"""The life of data: erasures, and what the law of personal data asks to be shown."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, status
from fastapi.responses import StreamingResponse

from backend.api.deps import DbSession, allowed
from backend.api.downloads import download
from backend.api.fields import After
from backend.core.enums import ErasureState
from backend.services import erasure_requests, retention, subject_access
from backend.services.life_schemas import (
    AccessAsked,
    AccessView,
    ErasurePage,
    ErasureRequest,
    ErasureView,
    RetentionRunPage,
)
from backend.services.sessions import Caller

router = APIRouter(prefix="/life/v1", tags=["数据生命周期 life of data"])


@router.post("/erasures", status_code=status.HTTP_201_CREATED, summary="Ask that somebody's data be erased")
def ask_for_erasure(
    body: ErasureRequest, session: DbSession, caller: Annotated[Caller, Depends(allowed("life.ask_erasure"))]
) -> ErasureView:
    """Nothing happens before a security administrator approves. 申请删除个人信息，须经安全管理员审批。"""
    return erasure_requests.ask(session, caller=caller, request=body)


@router.get(
    "/erasures",
    summary="Erasures, newest first",
    dependencies=[Depends(allowed("life.list_erasures"))],
)
def list_erasures(
    session: DbSession,
    state: ErasureState | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: After = None,
) -> ErasurePage:
    return erasure_requests.list_erasures(session, state=state, limit=limit, before=before)


@router.get(
    "/erasures/{erasure_id}",
    summary="One erasure and its report",
    dependencies=[Depends(allowed("life.read_erasure"))],
)
def read_erasure(erasure_id: UUID, session: DbSession) -> ErasureView:
    return erasure_requests.read(session, erasure_id=erasure_id)


@router.post("/erasures/{erasure_id}/approve", summary="Let an erasure run; somebody else than who asked")
def approve_erasure(
    erasure_id: UUID, session: DbSession, caller: Annotated[Caller, Depends(allowed("life.approve_erasure"))]
) -> ErasureView:
    return erasure_requests.approve(session, caller=caller, erasure_id=erasure_id)


@router.post("/erasures/{erasure_id}/refuse", summary="Refuse an erasure; somebody else than who asked")
def refuse_erasure(
    erasure_id: UUID, session: DbSession, caller: Annotated[Caller, Depends(allowed("life.refuse_erasure"))]
) -> ErasureView:
    return erasure_requests.refuse(session, caller=caller, erasure_id=erasure_id)


@router.get(
    "/retention-runs",
    summary="What was removed because it was kept long enough, newest first",
    dependencies=[Depends(allowed("life.retention_runs"))],
)
def list_retention_runs(
    session: DbSession,
    rule: Annotated[str | None, Query(max_length=32)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: After = None,
) -> RetentionRunPage:
    return retention.runs(session, rule=rule, limit=limit, before=before)


@router.post(
    "/access-requests",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Ask what is held about somebody; a job collects it",
)
def ask_for_access(
    body: AccessAsked, session: DbSession, caller: Annotated[Caller, Depends(allowed("life.ask_access"))]
) -> AccessView:
    return subject_access.ask(session, caller=caller, request=body)


@router.get("/access-requests/{request_id}", summary="One request and whether its file is ready")
def read_access(
    request_id: UUID, session: DbSession, caller: Annotated[Caller, Depends(allowed("life.read_access"))]
) -> AccessView:
    return subject_access.read(session, caller=caller, request_id=request_id)


@router.get(
    "/access-requests/{request_id}/file",
    summary="All that is held about the person, as JSON; once, for who asked; audited",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/json": {}}}},
)
def fetch_access(
    request_id: UUID, session: DbSession, caller: Annotated[Caller, Depends(allowed("life.fetch_access"))]
) -> StreamingResponse:
    content = subject_access.fetch(session, caller=caller, request_id=request_id)
    return download(content, what="access", file_id=request_id, suffix="json", media_type="application/json")
