"""Records for the offices (查询登记信息): masked by default, in the clear for a reason that is written down."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from backend.api.deps import DbSession, allowed
from backend.services import record_search, unmasking
from backend.services.record_schemas import RecordView, SearchHits, SearchRequest, Unmasked, UnmaskRequest
from backend.services.sessions import Caller


def not_kept(response: Response) -> None:
    """Nothing of an answer here may stay in a cache, a browser's included."""
    response.headers["Cache-Control"] = "no-store"


router = APIRouter(prefix="/records/v1", tags=["登记信息 records"], dependencies=[Depends(not_kept)])


@router.get("/documents/{document_id}", summary="登记信息（脱敏）· one record, masked")
def read_record(
    document_id: UUID, session: DbSession, caller: Annotated[Caller, Depends(allowed("records.read"))]
) -> RecordView:
    """Grid workers see the records of the grids they hold as they are; to everybody else personal values are masked."""
    return record_search.read_record(session, caller, document_id)


@router.post("/documents/{document_id}/unmask", summary="查看明文（须说明理由）· values in the clear, for a reason")
def unmask(
    document_id: UUID,
    body: UnmaskRequest,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("records.unmask"))],
) -> Unmasked:
    """Each call is in the audit trail with the names of the fields and the reason. 每次查看均留痕。"""
    return unmasking.unmask(session, caller, document_id, body)


@router.post("/search", summary="按证件号码或电话查询 · a person by a whole number")
def search(
    body: SearchRequest, session: DbSession, caller: Annotated[Caller, Depends(allowed("records.search"))]
) -> SearchHits:
    """POST, because a number must stand in no address. Each search is in the audit trail, without the number."""
    return record_search.search(session, caller, body)
