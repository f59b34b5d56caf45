"""Runs as they are shown: where they are, what they came to, and that drawn."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from backend.core.enums import ReconciliationState
from backend.models import Job, Reconciliation, ReconciliationGrid, Snapshot
from backend.services.scope import below
from backend.services.sessions import Caller
from workflows.reconcile import service
from workflows.reconcile.charts import Bar, bars
from workflows.reconcile.errors import ReconciliationNotDone
from workflows.reconcile.schemas import Chart, Counts, FieldCounts, GridCounts, Report, RunOut, RunPage, Waiting

BARS = 30
"""Grids drawn in a chart: those with the most collected records."""


def run_out(session: Session, run: Reconciliation) -> RunOut:
    """A run, and the job that it waits for."""
    taken_at = session.get_one(Snapshot, run.snapshot_id).taken_at
    return RunOut(
        **run.model_dump(exclude={"dataset_code", "cursor", "tally"}),
        dataset=run.dataset_code,
        taken_at=taken_at,
        parts=run.tally.get("parts"),
        waiting=_waiting(session, run),
    )


def _waiting(session: Session, run: Reconciliation) -> Waiting | None:
    if run.state is not ReconciliationState.RUNNING:
        return None
    query = select(Job).where(Job.name == service.JOB, Job.key == service.key_of(run.id, run.step))
    job = session.exec(query).first()
    return Waiting(state=job.state, attempts=job.attempts, reason=job.reason) if job else None


def listed(session: Session, *, caller: Caller, dataset: str | None, before: UUID | None, limit: int) -> RunPage:
    """Runs of which all lies in the caller's territory, newest first."""
    query = select(Reconciliation).where(below(Reconciliation.territory_code, caller))
    query = query.order_by(col(Reconciliation.id).desc()).limit(limit + 1)
    if dataset is not None:
        query = query.where(Reconciliation.dataset_code == dataset)
    if before is not None:
        query = query.where(col(Reconciliation.id) < before)
    rows = session.exec(query).all()
    more = rows[limit - 1].id if len(rows) > limit else None
    return RunPage(runs=[run_out(session, row) for row in rows[:limit]], next=more)


def report_of(session: Session, *, caller: Caller, run_id: UUID) -> Report:
    """What a run came to. `NotFound`; `ReconciliationNotDone` before its end."""
    run = service.seen(session, caller=caller, run_id=run_id)
    if run.state is not ReconciliationState.DONE:
        raise ReconciliationNotDone(state=run.state.value)
    rows = session.exec(
        select(ReconciliationGrid).where(ReconciliationGrid.run_id == run_id).order_by(ReconciliationGrid.grid_id)
    ).all()
    return Report(
        run=run_out(session, run),
        totals=Counts(**_counted(run.tally["totals"])),
        grids=[GridCounts(grid_id=row.grid_id, **_counted(row.model_dump())) for row in rows],
        fields=[
            FieldCounts(field=name, **count, rate=_rate(count["differs"], count["compared"]))
            for name, count in sorted(run.tally.get("fields", {}).items())
        ],
        pairs=run.tally.get("pairs", 0),
    )


def _counted(row: dict[str, Any]) -> dict[str, Any]:
    linked = row["by_key"] + row["by_phone"] + row["probable"]
    counts = {name: row[name] for name in Counts.model_fields if name in row}
    return counts | {
        "absent": row["documents"] - linked,
        "match_rate": _rate(linked, row["documents"]),
        "coverage": _rate(row["records_linked"], row["records"]),
    }


def _rate(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def chart_of(session: Session, *, caller: Caller, run_id: UUID, chart: Chart) -> str:
    """One chart of a run's report, as SVG. The errors of `report_of`."""
    report = report_of(session, caller=caller, run_id=run_id)
    if chart is Chart.FIELDS:
        rows = [Bar(one.field, [one.rate or 0], f"{one.differs} / {one.compared}") for one in report.fields]
        return bars("不一致的字段 · Fields that differ", ["不一致 · differs"], rows)
    ranked = sorted(report.grids, key=lambda grid: (-grid.documents, grid.grid_id))[:BARS]
    places: Sequence[tuple[str, Counts]] = [("合计 · all", report.totals), *((grid.grid_id, grid) for grid in ranked)]
    if chart is Chart.COVERAGE:
        rows = [Bar(name, [one.coverage or 0], f"{one.records_linked} / {one.records}") for name, one in places]
        return bars("采集覆盖率 · Records that were collected", ["已采集 · collected"], rows)
    rows = [Bar(name, _outcomes(one), _percent(one.match_rate)) for name, one in places]
    return bars(
        "比中率 · Collected records by outcome", ["证件 · key", "电话 · phone", "概率 · likely", "未比中 · none"], rows
    )


def _outcomes(one: Counts) -> list[float]:
    whole = max(one.documents, 1)
    return [number / whole for number in (one.by_key, one.by_phone, one.probable, one.absent)]


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1%}"
