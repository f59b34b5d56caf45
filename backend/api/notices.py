"""The inbox of an account, and where its handheld can be woken."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, status

from backend.api.deps import DbSession, allowed
from backend.api.fields import After
from backend.services.sessions import Caller
from workflows.notify import service
from workflows.notify.schemas import Inbox, NoticeView, PushTarget

router = APIRouter(prefix="/notices/v1", tags=["notices 通知"])

Reader = Annotated[Caller, Depends(allowed("notices.inbox"))]
Marker = Annotated[Caller, Depends(allowed("notices.read"))]
Handheld = Annotated[Caller, Depends(allowed("notices.push_target"))]


@router.get("/inbox")
def read_inbox(
    session: DbSession,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: After = None,
) -> Inbox:
    """Notices of the caller, newest first. 本人的通知，最新的在前。"""
    return service.inbox(session, caller, limit=limit, before=before)


@router.post("/inbox/{notice_id}/read")
def read_notice(session: DbSession, caller: Marker, notice_id: UUID) -> NoticeView:
    """Mark a notice as read. 标为已读。"""
    return service.mark_read(session, caller, notice_id=notice_id)


@router.put("/push-target", status_code=status.HTTP_204_NO_CONTENT)
def put_push_target(session: DbSession, caller: Handheld, target: PushTarget) -> None:
    """Say where Firebase finds this handheld. 登记本机的推送标识。"""
    service.set_push_target(session, caller, target=target.target, kind=target.kind)
