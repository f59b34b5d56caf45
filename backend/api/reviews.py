"""The desk of conflicts and quarantined rows (冲突与待审数据): lists, one with all it needs, decisions, taking back."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from backend.api.deps import DbSession, IfMatch, allowed, tell_version
from backend.api.fields import After, Moment
from backend.api.records import not_kept
from backend.core.enums import ConflictState, Hardness, Kind, QuarantineCode, QuarantineState
from backend.services.sessions import Caller
from sync import conflicts, dangling, joining, quarantine, release, resolution
from sync.dangling import DanglingPage
from sync.join_schemas import JoinAsked, Joins, JoinView, PartAsked
from sync.quarantine_schemas import (
    Correction,
    Decided,
    DecidedMany,
    QuarantinedDetail,
    QuarantinedPage,
    RowDecisions,
    UnmaskedRow,
)
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
    tell_version(response, found.version)
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
    tell_version(response, resolved.version)
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
    tell_version(response, resolved.version)
    return resolved


def quarantine_filters(
    kind: Annotated[list[Kind], Query()] = [],  # noqa: B006  FastAPI copies it
    code: Annotated[list[QuarantineCode], Query()] = [],  # noqa: B006  FastAPI copies it
    grid: Division | None = None,
    state: Annotated[list[QuarantineState], Query()] = [],  # noqa: B006  FastAPI copies it
    worker: UUID | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
) -> quarantine.Filters:
    """Without `state` those that wait. `since` and `until` bound their age."""
    return quarantine.Filters(kind, code, grid, state, worker, since, until)


QuarantineFilters = Annotated[quarantine.Filters, Depends(quarantine_filters)]


@router.get("/quarantine", summary="待审数据列表 · quarantined rows, oldest first")
def list_quarantined(
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reviews.quarantine"))],
    filters: QuarantineFilters,
    after: After = None,
    limit: Limit = 50,
) -> QuarantinedPage:
    return quarantine.list_rows(session, caller=caller, filters=filters, after=after, limit=limit)


@router.get("/quarantine/counts", summary="待审数据统计 · counts by kind, code, state, grid, worker and age")
def count_quarantined(
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reviews.quarantine_counts"))],
    filters: QuarantineFilters,
) -> Counts:
    return quarantine.count_rows(session, caller=caller, filters=filters)


@router.post("/quarantine/decide", summary="批量审核 · release, reject or reopen many rows, each by itself")
def decide_many(
    body: RowDecisions, session: DbSession, caller: Annotated[Caller, Depends(allowed("reviews.decide_many"))]
) -> DecidedMany:
    return release.decide_many(session, caller=caller, asked=body.rows)


@router.get("/quarantine/{held_id}", summary="待审数据详情（脱敏）· one row, masked, and the record as it stands")
def read_quarantined(
    held_id: UUID, session: DbSession, caller: Annotated[Caller, Depends(allowed("reviews.quarantined"))]
) -> QuarantinedDetail:
    return quarantine.get_row(session, caller=caller, held_id=held_id)


@router.post("/quarantine/{held_id}/unmask", summary="查看明文（须说明理由）· the row in the clear, for a reason")
def unmask_quarantined(
    held_id: UUID,
    body: UnmaskAsked,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reviews.unmask_quarantined"))],
) -> UnmaskedRow:
    return quarantine.unmask_row(session, caller=caller, held_id=held_id, asked=body)


@router.post("/quarantine/{held_id}/release", summary="准予入库 · take the row as it was pushed")
def release_row(
    held_id: UUID,
    body: StepAsked,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reviews.release"))],
) -> Decided:
    """Through the same merge as a push, on behalf of its author: it may merge or conflict like any other."""
    return release.release(session, caller=caller, held_id=held_id, asked=body)


@router.post("/quarantine/{held_id}/correct", summary="更正后入库 · take the row with some fields changed")
def correct_row(
    held_id: UUID,
    body: Correction,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reviews.correct"))],
) -> Decided:
    return release.correct(session, caller=caller, held_id=held_id, asked=body)


@router.post("/quarantine/{held_id}/reject", summary="退回 · reject the row, with a reason its author hears")
def reject_row(
    held_id: UUID,
    body: StepAsked,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reviews.reject"))],
) -> Decided:
    return release.reject(session, caller=caller, held_id=held_id, asked=body)


@router.post("/quarantine/{held_id}/reopen", summary="撤回退回 · look at a rejected row again")
def reopen_row(
    held_id: UUID,
    body: StepAsked,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reviews.reopen"))],
) -> Decided:
    return release.reopen(session, caller=caller, held_id=held_id, asked=body)


@router.get("/documents/{document_id}/joins", summary="合并记录 · what was joined into a record, and taken apart again")
def list_joins(
    document_id: UUID, session: DbSession, caller: Annotated[Caller, Depends(allowed("reviews.joins"))]
) -> Joins:
    return joining.joins_of(session, caller=caller, document_id=document_id)


@router.post("/documents/{document_id}/join", summary="合并重复记录 · join a duplicate into this record")
def join(
    document_id: UUID,
    body: JoinAsked,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reviews.join"))],
    version: IfMatch,
    response: Response,
) -> JoinView:
    """`If-Match` is the version of this record, which keeps its id; the other one becomes a tombstone that names it."""
    joined = joining.join(session, caller=caller, survivor_id=document_id, version=version, asked=body)
    tell_version(response, joined.survivor_version)
    return joined


@router.post("/documents/{document_id}/part", summary="撤销合并 · take a join apart again")
def part(
    document_id: UUID,
    body: PartAsked,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reviews.part"))],
    version: IfMatch,
    response: Response,
) -> JoinView:
    """Both records as they were, as new versions. Refused where the record changed since in what it got by the join."""
    parted = joining.part(session, caller=caller, survivor_id=document_id, version=version, asked=body)
    tell_version(response, parted.survivor_version)
    return parted


@router.get("/dangling", summary="悬空引用 · references to records that are not there")
def dangling_references(
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reviews.dangling"))],
    after: After = None,
    limit: Limit = 100,
) -> DanglingPage:
    """Such as a person whose house never came, or was deleted. They are reported, never refused."""
    return dangling.dangling(session, caller=caller, after=after, limit=limit)
