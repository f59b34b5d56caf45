"""What a bulk reconciliation found, as rows of an export: ids, codes and counts, no value of a record."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, select

from backend.core.enums import ReconciliationState
from backend.core.errors import NotFound
from backend.models import Reconciliation, ReconciliationGrid
from backend.services.export_schemas import ExportFilters
from backend.services.registry_catalogue import load_spec
from backend.services.scope import is_below
from backend.services.sessions import Caller

LINK_FIELDS = ["grid_id", "document_id", "outcome", "score", "differs"]
GRID_FIELDS = [
    *("grid_id", "documents", "by_key", "by_phone", "probable", "conflicting", "duplicates"),
    *("records", "records_linked", "record_duplicates"),
]


def done(session: Session, caller: Caller, run_id: UUID) -> Reconciliation:
    """A run that came to its end. `NotFound` for others, and for those outside the caller's territory."""
    run = session.get(Reconciliation, run_id)
    if run is None or run.state is not ReconciliationState.DONE or not is_below(run.territory_code, caller):
        raise NotFound
    return run


def links(session: Session, caller: Caller, filters: ExportFilters, limit: int) -> Iterator[dict[str, Any]]:
    """Each document of the run with its outcome: the rule that linked it, or `absent`.

    Documents that came while the run went on are left out where nothing linked them.
    """
    run = _visible(session, caller, filters)
    if run is None:
        return
    kind = load_spec(session, run.dataset_code).kind
    values = {
        "run": run.id,
        "kind": kind.value if kind else "",
        "before": run.requested_at,
        "territory": run.territory_code,
        "grids": run.grids,
        "prefix": filters.grid_prefix or "",
        "limit": limit,
    }
    for row in session.connection().execute(_LINKS, values):
        yield {**row._mapping, "differs": None if row.differs is None else list(row.differs)}


def grids(session: Session, caller: Caller, filters: ExportFilters, limit: int) -> Iterator[dict[str, Any]]:
    """What the run counted in each grid."""
    run = _visible(session, caller, filters)
    if run is None:
        return
    query = select(ReconciliationGrid).where(ReconciliationGrid.run_id == run.id)
    for row in session.exec(query.order_by(ReconciliationGrid.grid_id).limit(limit)):
        if row.grid_id.startswith(filters.grid_prefix or ""):
            yield row.model_dump()


def _visible(session: Session, caller: Caller, filters: ExportFilters) -> Reconciliation | None:
    """The run, where the account still sees it when the file is made."""
    assert filters.reconciliation_id is not None
    try:
        return done(session, caller, filters.reconciliation_id)
    except NotFound:
        return None


_LINKS = text(
    """
    SELECT d.grid_id, d.id AS document_id, coalesce(l.rule, 'absent') AS outcome, l.score, l.differs
    FROM document d LEFT JOIN reconciliation_link l ON l.run_id = :run AND l.document_id = d.id
    WHERE d.kind = :kind AND starts_with(d.grid_id, :prefix) AND starts_with(d.grid_id, :territory)
      AND (CAST(:grids AS text[]) IS NULL OR d.grid_id = ANY(CAST(:grids AS text[])))
      AND (l.document_id IS NOT NULL OR NOT d.deleted AND d.created_at < :before)
    ORDER BY d.id LIMIT :limit
    """
)
