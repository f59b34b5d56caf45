"""What verdicts led to (认定): shown with its reasons, taken back; and looks on site (上门核实) answered."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

from backend.api.deps import DbSession, allowed
from backend.api.entries import NamedSource
from backend.services.sessions import Caller
from backend.services.settlement_schemas import SettlementOut
from workflows.cases import answering, undoing
from workflows.cases.settling_schemas import Undo, VisitAnswer, VisitAnswered
from workflows.crosscheck import explaining
from workflows.crosscheck.schemas import Explained

router = APIRouter(prefix="/checks/v1", tags=["认定 settlements"])

Lister = Annotated[Caller, Depends(allowed("settlements.list"))]
Reader = Annotated[Caller, Depends(allowed("settlements.read"))]
Undoer = Annotated[Caller, Depends(allowed("settlements.undo"))]
Answerer = Annotated[Caller, Depends(allowed("visits.answer"))]


@router.get("/settlements", summary="一条数据的认定经过 · what one entry has been settled as")
def list_settlements(session: DbSession, caller: Lister, source: NamedSource) -> list[SettlementOut]:
    """The newest first; name exactly one record, report or declaration."""
    return explaining.settlements_of(session, caller, *source)


@router.get("/settlements/{settlement_id}", summary="为何如此认定 · one settlement with all that it rests on")
def explain_settlement(session: DbSession, caller: Reader, settlement_id: UUID) -> Explained:
    """Rule, rule version, snapshot, evidence (masked), and whose value of each field stands."""
    return explaining.explained(session, caller, settlement_id)


@router.post("/settlements/{settlement_id}/undo", summary="撤回并另行认定 · put another settlement in its place")
def undo_settlement(session: DbSession, caller: Undoer, settlement_id: UUID, body: Undo) -> SettlementOut:
    """Audited. What was before stays readable; this one can be taken back like any other."""
    return undoing.undo(session, caller=caller, settlement_id=settlement_id, asked=body)


@router.post("/visits/{visit_id}/answer", summary="上门核实：采集无误 · the record is right as it was collected")
def answer_visit(session: DbSession, caller: Answerer, visit_id: UUID, body: VisitAnswer) -> VisitAnswered:
    """By whoever holds the grid now. A record that is wrong is corrected by a push instead."""
    return answering.answer(session, caller=caller, visit_id=visit_id, asked=body)
