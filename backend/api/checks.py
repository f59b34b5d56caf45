"""Verdicts of the cross-check (数据比对结论)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

from backend.api.deps import DbSession, allowed
from backend.api.entries import NamedSource
from backend.services.sessions import Caller
from workflows.crosscheck import reading
from workflows.crosscheck.schemas import Summary, VerdictDetail, VerdictOut

router = APIRouter(prefix="/checks/v1", tags=["checks"])

Lister = Annotated[Caller, Depends(allowed("checks.list"))]
Reader = Annotated[Caller, Depends(allowed("checks.read"))]
Counter = Annotated[Caller, Depends(allowed("checks.summary"))]


@router.get("/verdicts", summary="比对结论列表 · verdicts on one entry")
def list_verdicts(session: DbSession, caller: Lister, source: NamedSource) -> list[VerdictOut]:
    """All verdicts on one record, report or declaration, the newest first; name exactly one of them."""
    return reading.verdicts_of(session, caller, *source)


@router.get("/verdicts/{verdict_id}", summary="比对结论及依据 · one verdict with its evidence")
def show_verdict(session: DbSession, caller: Reader, verdict_id: UUID) -> VerdictDetail:
    """Personal values are masked, except what a grid worker entered himself."""
    return reading.verdict_with_evidence(session, caller, verdict_id)


@router.get("/summary", summary="比对结论统计 · counts of verdicts")
def summary(session: DbSession, caller: Counter) -> Summary:
    """Counts by kind of verdict and by source over the entries in the caller's scope."""
    return reading.summary(session, caller)
