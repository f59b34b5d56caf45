"""Jobs of this room."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlmodel import Session

from backend import jobs
from workflows.notify import sending, service
from workflows.notify.service import Changed


@jobs.handler("workflows.notify.case_changed")
def case_changed(session: Session, *, case_id: str, version: int) -> None:
    """Tell whoever brought a case what became of it."""
    service.case_changed(session, case_id=UUID(case_id), version=version)


@jobs.mixed_handler("workflows.notify.case_changed")
def cases_changed(session: Session, batch: Sequence[jobs.Claimed]) -> Mapping[int, str]:
    """The same for many."""
    changes = [Changed(UUID(job.payload["case_id"]), job.payload["version"], job.request_id) for job in batch]
    return service.cases_changed(session, changes)


@jobs.handler("workflows.notify.send")
def send(session: Session, *, notice_id: str, tries: int = 0) -> None:
    """Send a notice to a handheld or a citizen."""
    sending.send(session, notice_id=UUID(notice_id), tries=tries)
