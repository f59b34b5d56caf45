"""The audit trail for auditors, who alone may read it. Reading is itself audited."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from backend.api.deps import DbSession, allowed
from backend.api.fields import Moment
from backend.services import audit_search
from backend.services.audit_search import EntryPage, TrailView
from backend.services.sessions import Caller

router = APIRouter(prefix="/audit/v1", tags=["审计 audit"])

Reader = Annotated[Caller, Depends(allowed("audit.entries"))]
StatusReader = Annotated[Caller, Depends(allowed("audit.status"))]
Code = Annotated[str | None, Query(max_length=64, pattern=r"^[A-Za-z0-9_.:,-]*$")]


@router.get("/entries", summary="Who did what to which object; the last 31 days where no time is given")
def list_entries(
    session: DbSession,
    caller: Reader,
    actor: Code = None,
    action: Code = None,
    object_type: Code = None,
    object_id: Code = None,
    request_id: Code = None,
    since: Annotated[Moment | None, Query(alias="from")] = None,
    until: Annotated[Moment | None, Query(alias="to", description="Not included")] = None,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> EntryPage:
    return audit_search.search(
        session,
        reader=str(caller.account_id),
        wanted={
            "actor": actor,
            "action": action,
            "object_type": object_type,
            "object_id": object_id,
            "request_id": request_id,
        },
        since=since,
        until=until,
        cursor=cursor,
        limit=limit,
    )


@router.get("/status", summary="How far the trail is sealed and anchored")
def status(session: DbSession, caller: StatusReader) -> TrailView:
    return audit_search.status(session, reader=str(caller.account_id))
