"""The supervisor's desk: queues, cases, and what may be done to them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from backend.api.deps import DbSession, IfMatch, allowed, tell_version
from backend.core.enums import CaseState
from backend.services.sessions import Caller
from workflows.cases import reading, service
from workflows.cases.rules import Action
from workflows.cases.schemas import ActionRequest, CaseDetail, CasePage, CaseSummary, Code, QueueCounts

router = APIRouter(prefix="/cases/v1", tags=["案件 cases"])

QueueReader = Annotated[Caller, Depends(allowed("cases.queues"))]
Counter = Annotated[Caller, Depends(allowed("cases.summary"))]
Lister = Annotated[Caller, Depends(allowed("cases.list"))]
Reader = Annotated[Caller, Depends(allowed("cases.read"))]
Desk = Annotated[Caller, Depends(allowed("cases.act"))]


@router.get("/queues", summary="12345 queues with counts by state")
def list_queues(session: DbSession, caller: QueueReader) -> list[QueueCounts]:
    return reading.queues(session, caller=caller)


@router.get("/summary", summary="Counts by queue and state")
def summarise(session: DbSession, caller: Counter) -> CaseSummary:
    return reading.summary(session, caller=caller)


@router.get("/cases", summary="Cases by deadline; open ones where no state is named")
def list_cases(
    session: DbSession,
    caller: Lister,
    queue: Code | None = None,
    state: Annotated[list[CaseState], Query()] = [],  # noqa: B006  FastAPI copies it
    overdue: bool | None = None,
    mine: bool = False,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> CasePage:
    return reading.list_cases(
        session,
        caller=caller,
        queue_code=queue,
        states=state,
        overdue=overdue,
        mine=mine,
        cursor=cursor,
        limit=limit,
    )


@router.get("/cases/{case_id}", summary="One case with its history; its version is the ETag")
def get_case(case_id: UUID, session: DbSession, caller: Reader, response: Response) -> CaseDetail:
    return _tagged(response, reading.get_case(session, caller=caller, case_id=case_id))


@router.post("/cases/{case_id}/actions/{action}", summary="Move a case on; If-Match names the version that was read")
def act(
    case_id: UUID,
    action: Action,
    body: ActionRequest,
    session: DbSession,
    caller: Desk,
    version: IfMatch,
    response: Response,
) -> CaseDetail:
    case = service.act(session, caller=caller, case_id=case_id, action=action, version=version, request=body)
    return _tagged(response, reading.detail(session, caller=caller, case=case))


def _tagged(response: Response, case: CaseDetail) -> CaseDetail:
    tell_version(response, case.version)
    return case
