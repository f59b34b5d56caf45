"""Job handlers of the base nouns."""

from uuid import UUID

from sqlmodel import Session

from backend import jobs
from backend.services import registry


@jobs.handler(registry.IMPORT_JOB)
def import_dataset(session: Session, *, snapshot_id: str) -> None:
    """Load an uploaded file as its dataset's new snapshot."""
    registry.run_import(session, UUID(snapshot_id))


@jobs.handler(registry.FORGET_JOB)
def forget_upload(_session: Session, *, snapshot_id: str) -> None:
    """Remove the uploaded file of a load that has ended."""
    registry.forget_upload(UUID(snapshot_id))
