"""The desk of conflicts and quarantined rows (冲突与待审数据): lists, one with all it needs, decisions, taking back."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from backend.api.deps import DbSession, IfMatch, allowed
from backend.api.fields import Moment
from backend.api.records import not_kept
from backend.core.enums import ConflictState, Hardness, Kind
from backend.services.sessions import Caller
from sync import conflicts, resolution
from sync.review_schemas import (
    ConflictDetail,
    ConflictPage,
    Counts,
    Resolution,
    Resolutions,
    Resolved,
    ResolvedMany,
    StepAsked,
    UnmaskAsked,
    UnmaskedValues,
)

router = APIRouter(prefix="/reviews/v1", tags=["冲突与待审 reviews"], dependencies=[Depends(not_kept)])

Division = Annotated[str, Query(pattern=r"^[0-9]{4,15}$", description="a grid, or the code of any division above it")]
Limit = Annotated[int, Query(ge=1, le=200)]
After = Annotated[UUID | None, Query(description="`next` of the page before")]


def conflict_filters(
    kind: Annotated[list[Kind], Query()] = [],  # noqa: B006  FastAPI copies it
    grid: Division | None = None,
    hardness: Hardness | None = None,
    state: Annotated[list[ConflictState], Query()] = [],  # noqa: B006  FastAPI copies it
    worker: UUID | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
) -> conflicts.Filters:
    """Without `state` those that wait for a decision: open and contested ones. `since` and `until` bound their age."""
    return conflicts.Filters(kind, grid, hardness, state, worker, since, until)


ConflictFilters = Annotated[conflicts.Filters, Depends(conflict_filters)]


@router.get("/conflicts", summary="冲突列表（脱敏）· conflicts, oldest first, masked")
def list_conflicts(
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reviews.conflicts"))],
    filters: ConflictFilters,
    after: After = None,
    limit: Limit = 50,
) -> ConflictPage:
    return conflicts.list_conflicts(session, caller=caller, filters=filters, after=after, limit=limit)


@router.get("/conflicts/counts", summary="冲突分类统计 · counts by kind, hardness, state, grid, worker and age")
def count_conflicts(
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reviews.conflict_counts"))],
    filters: ConflictFilters,
) -> Counts:
    return conflicts.count_conflicts(session, caller=caller, filters=filters)


@router.get("/conflicts/{conflict_id}", summary="冲突详情 · all sides, the department's value, the history")
def read_conflict(
    conflict_id: UUID,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reviews.conflict"))],
    response: Response,
) -> ConflictDetail:
    """The ETag is the version of the record: it goes into the If-Match of a resolution."""
    found = conflicts.get_conflict(session, caller=caller, conflict_id=conflict_id)
    response.headers["ETag"] = f'"{found.version}"'
    return found


@router.post("/conflicts/{conflict_id}/unmask", summary="查看明文（须说明理由）· the values in the clear, for a reason")
def unmask_conflict(
    conflict_id: UUID,
    body: UnmaskAsked,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reviews.unmask_conflict"))],
) -> UnmaskedValues:
    return conflicts.unmask_conflict(session, caller=caller, conflict_id=conflict_id, asked=body)


@router.post("/documents/resolve", summary="批量处理冲突 · resolve the conflicts of many records, each by itself")
def resolve_many(
    body: Resolutions, session: DbSession, caller: Annotated[Caller, Depends(allowed("reviews.resolve_many"))]
) -> ResolvedMany:
    """Each record names the version that was read. What stands against one of them is its own result."""
    return resolution.resolve_many(session, caller=caller, asked=body.records)


@router.post("/documents/{document_id}/resolve", summary="处理冲突 · resolve conflicts of one record")
def resolve(
    document_id: UUID,
    body: Resolution,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reviews.resolve"))],
    version: IfMatch,
    response: Response,
) -> Resolved:
    """`If-Match` is the version of the record that the decision was made on; the ETag of the answer is the next one."""
    resolved = resolution.resolve(session, caller=caller, document_id=document_id, version=version, asked=body)
    response.headers["ETag"] = f'"{resolved.version}"'
    return resolved


@router.post("/conflicts/{conflict_id}/undo", summary="撤回处理 · take a resolution back")
def undo(
    conflict_id: UUID,
    body: StepAsked,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reviews.undo"))],
    version: IfMatch,
    response: Response,
) -> Resolved:
    """As a new version with the value before. Refused where the field changed since (`field_changed`)."""
    resolved = resolution.undo(session, caller=caller, conflict_id=conflict_id, version=version, asked=body)
    response.headers["ETag"] = f'"{resolved.version}"'
    return resolved
