"""The durable job of the bulk reconciliation: `workflows.reconcile`, one for each step of a run."""

from uuid import UUID

from sqlmodel import Session

from backend import jobs
from workflows.reconcile import service


@jobs.handler(service.JOB)
def reconcile(session: Session, *, run_id: str, step: int) -> None:
    """Make one step of a run and ask for the next. Running it again changes nothing."""
    service.run_step(session, run_id=UUID(run_id), step=step)
