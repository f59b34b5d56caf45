"""Job handlers of the base nouns."""

from uuid import UUID

from sqlmodel import Session

from backend import jobs
from backend.services import registry


@jobs.handler(registry.IMPORT_JOB)
def import_dataset(session: Session, *, snapshot_id: str) -> None:
    """Load an uploaded file as its dataset's new snapshot."""
    registry.run_import(session, UUID(snapshot_id))
