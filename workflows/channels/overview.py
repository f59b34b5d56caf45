"""Citizens' reports for those who watch over them."""

from uuid import UUID

from sqlalchemy import func
from sqlmodel import Session, col, select

from backend.core.enums import ReportState, SourceType
from backend.models import Report
from backend.services.scope import in_territory
from backend.services.sealing import open_values
from backend.services.sessions import Caller
from backend.services.thumbnails import Thumbnail, thumbnails
from workflows.channels.drafts import unsealed
from workflows.channels.rules import masked, missing
from workflows.channels.schemas import ReportPage, ReportSummary, ReportView


def reports(
    session: Session, caller: Caller, *, state: ReportState | None, limit: int, before: UUID | None
) -> ReportPage:
    """A page of the reports in the caller's territory, newest first, with masked text."""
    page = select(Report).where(in_territory(Report.grid_id, caller)).order_by(col(Report.id).desc()).limit(limit + 1)
    if state is not None:
        page = page.where(Report.state == state)
    if before is not None:
        page = page.where(col(Report.id) < before)
    rows = session.exec(page).all()
    shown = rows[:limit]
    opened = open_values(session, {row.id.bytes: row.sealed for row in shown})
    pictures = thumbnails(session, [(SourceType.REPORT, row.id) for row in shown])
    more = shown[-1].id if len(rows) > limit else None
    views = [_view(row, opened.get(row.id.bytes), pictures.get((SourceType.REPORT, row.id))) for row in shown]
    return ReportPage(reports=views, next=more)


def summary(session: Session, caller: Caller) -> ReportSummary:
    """Counts by state in the caller's territory; a state without reports counts zero."""
    counted = select(Report.state, func.count()).where(in_territory(Report.grid_id, caller)).group_by(col(Report.state))
    found = {ReportState(state): count for state, count in session.exec(counted)}
    return ReportSummary(by_state={state: found.get(state, 0) for state in ReportState})


def _view(report: Report, sealed: object, thumbnail: Thumbnail | None) -> ReportView:
    draft = unsealed(report, sealed)
    return ReportView(
        id=report.id,
        state=report.state,
        class_code=report.body.get("class_code"),
        grid_id=report.grid_id,
        text=masked(draft.text),
        photos=len(draft.photo_ids),
        missing=missing(draft),
        opened_at=report.opened_at,
        submitted_at=report.submitted_at,
        thumbnail=thumbnail,
    )
