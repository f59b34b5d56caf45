"""Jobs of this room."""

from uuid import UUID

from sqlmodel import Session

from backend import jobs
from workflows.notify import sending, service


@jobs.handler("workflows.notify.case_changed")
def case_changed(session: Session, *, case_id: str, version: int) -> None:
    """Tell whoever brought a case what became of it."""
    service.case_changed(session, case_id=UUID(case_id), version=version)


@jobs.handler("workflows.notify.send")
def send(session: Session, *, notice_id: str, tries: int = 0) -> None:
    """Send a notice to a handheld or a citizen."""
    sending.send(session, notice_id=UUID(notice_id), tries=tries)
