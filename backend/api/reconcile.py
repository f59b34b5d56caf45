"""Bulk reconciliations: asked for by those who keep the data, made by jobs, read as a report and as charts."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response, status

from backend.api.deps import DbSession, allowed
from backend.api.fields import After
from backend.services.sessions import Caller
from workflows.reconcile import reading, service
from workflows.reconcile.schemas import Chart, DatasetCode, Report, RunOut, RunPage, RunRequest

router = APIRouter(prefix="/reconciliations/v1", tags=["批量比对 reconciliations"])


@router.post("/runs", status_code=status.HTTP_202_ACCEPTED, summary="Reconcile what was collected with a dataset")
def ask_for_run(
    body: RunRequest, session: DbSession, caller: Annotated[Caller, Depends(allowed("reconciliations.create"))]
) -> RunOut:
    """Against the snapshot in force now, also when another one comes meanwhile. 与当前生效的业务数据整体比对。"""
    run = service.ask(session, caller=caller, dataset=body.dataset, grids=body.grids, territory=body.territory)
    return reading.run_out(session, run)


@router.get("/runs", summary="Runs in the caller's territory, newest first")
def list_runs(
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reconciliations.list"))],
    dataset: Annotated[DatasetCode | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: After = None,
) -> RunPage:
    return reading.listed(session, caller=caller, dataset=dataset, before=before, limit=limit)


@router.get("/runs/{run_id}", summary="One run and how far it is")
def read_run(
    run_id: UUID, session: DbSession, caller: Annotated[Caller, Depends(allowed("reconciliations.read"))]
) -> RunOut:
    return reading.run_out(session, service.seen(session, caller=caller, run_id=run_id))


@router.post("/runs/{run_id}/cancel", summary="End a run; what it wrote in whole steps stays")
def cancel_run(
    run_id: UUID, session: DbSession, caller: Annotated[Caller, Depends(allowed("reconciliations.cancel"))]
) -> RunOut:
    return reading.run_out(session, service.cancel(session, caller=caller, run_id=run_id))


@router.get("/runs/{run_id}/report", summary="Match rates, conflicting fields, duplicates and coverage")
def read_report(
    run_id: UUID, session: DbSession, caller: Annotated[Caller, Depends(allowed("reconciliations.report"))]
) -> Report:
    return reading.report_of(session, caller=caller, run_id=run_id)


@router.get(
    "/runs/{run_id}/charts/{chart}",
    summary="The report drawn",
    response_class=Response,
    responses={200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}}},
)
def read_chart(
    run_id: UUID,
    chart: Chart,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("reconciliations.chart"))],
) -> Response:
    drawn = reading.chart_of(session, caller=caller, run_id=run_id, chart=chart)
    return Response(drawn, media_type="image/svg+xml")
