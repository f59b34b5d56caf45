"""Jobs of the case room."""

from uuid import UUID

from sqlmodel import Session

from backend import jobs
from workflows.cases import service


@jobs.handler("workflows.cases.consider")
def consider(session: Session, *, verdict_id: str) -> None:
    """Open a case for a verdict, or come again to the one that is open."""
    service.consider(session, verdict_id=UUID(verdict_id))
