"""Field authority (一数一源核实): requests to verify a proposed value, and what departments write of their fields."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from backend.api.deps import DbSession, IfMatch, allowed, tell_version
from backend.api.fields import After
from backend.api.records import not_kept
from backend.core.enums import Kind, VerificationState
from backend.services.sessions import Caller
from sync import stewardship, verifications
from sync.review_schemas import StepAsked, UnmaskAsked, UnmaskedValues
from sync.verification_schemas import (
    DepartmentFields,
    DepartmentWritten,
    VerificationDetail,
    VerificationPage,
    Verified,
)

router = APIRouter(prefix="/reviews/v1", tags=["一数一源核实 verifications"], dependencies=[Depends(not_kept)])


def request_filters(
    kind: Annotated[list[Kind], Query()] = [],  # noqa: B006  FastAPI copies it
    dataset: Annotated[str | None, Query(pattern=r"^[a-z0-9_-]{1,32}$")] = None,
    state: Annotated[list[VerificationState], Query()] = [],  # noqa: B006  FastAPI copies it
    worker: UUID | None = None,
) -> verifications.Filters:
    """Without `state` the open ones."""
    return verifications.Filters(kind, dataset, state, worker)


@router.get("/verifications", summary="核实请求列表（脱敏）· values proposed for departments' fields, oldest first")
def list_requests(
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("verifications.list"))],
    filters: Annotated[verifications.Filters, Depends(request_filters)],
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> VerificationPage:
    """A data steward sees those of his territory, a department those about the fields of its datasets."""
    return verifications.list_requests(session, caller=caller, filters=filters, after=after, limit=limit)


@router.get("/verifications/{request_id}", summary="核实请求详情 · one request with the department's record")
def read_request(
    request_id: UUID,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("verifications.read"))],
    response: Response,
) -> VerificationDetail:
    """The ETag is the version of the record: it goes into the If-Match of a decision."""
    found = verifications.get_request(session, caller=caller, request_id=request_id)
    tell_version(response, found.version)
    return found


@router.post("/verifications/{request_id}/unmask", summary="查看明文（须说明理由）· the values in the clear")
def unmask_request(
    request_id: UUID,
    body: UnmaskAsked,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("verifications.unmask"))],
) -> UnmaskedValues:
    return verifications.unmask_request(session, caller=caller, request_id=request_id, asked=body)


@router.post("/verifications/{request_id}/approve", summary="采纳 · the proposed value becomes the department's")
def approve(
    request_id: UUID,
    body: StepAsked,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("verifications.approve"))],
    version: IfMatch,
    response: Response,
) -> Verified:
    """As a new version of the record; `If-Match` is the version that was read."""
    verified = stewardship.approve(session, caller=caller, request_id=request_id, version=version, asked=body)
    tell_version(response, verified.version)
    return verified


@router.post("/verifications/{request_id}/refuse", summary="驳回 · the department's value stands")
def refuse(
    request_id: UUID,
    body: StepAsked,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("verifications.refuse"))],
    version: IfMatch,
) -> Verified:
    return stewardship.refuse(session, caller=caller, request_id=request_id, version=version, asked=body)


@router.post("/verifications/{request_id}/reopen", summary="重新核实 · look at a refused request again")
def reopen(
    request_id: UUID,
    body: StepAsked,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("verifications.reopen"))],
    version: IfMatch,
) -> Verified:
    return stewardship.reopen(session, caller=caller, request_id=request_id, version=version, asked=body)


@router.post("/documents/{document_id}/department-fields", summary="部门字段 · write fields that a department owns")
def write_fields(
    document_id: UUID,
    body: DepartmentFields,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("verifications.write_fields"))],
    version: IfMatch,
    response: Response,
) -> DepartmentWritten:
    """From then on handhelds' edits of these fields become verification requests."""
    written = stewardship.write_fields(session, caller=caller, document_id=document_id, version=version, asked=body)
    tell_version(response, written.version)
    return written
