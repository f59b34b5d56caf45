"""Jobs of this room."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Session

from backend import jobs
from workflows.channels import pictures, service


@jobs.handler("workflows.channels.message")
def message(session: Session, *, message_id: str) -> None:
    """Make a stored WeChat message part of a report."""
    service.take_messages(session, message_id=UUID(message_id))


@jobs.handler("workflows.channels.fetch_photo")
def fetch_photo(session: Session, *, message_id: str, tries: int) -> None:
    """Fetch the photo of a message."""
    pictures.fetch_photo(session, message_id=UUID(message_id), tries=tries)


@jobs.handler("workflows.channels.settle")
def settle(session: Session, *, report_id: str, last_message_at: str) -> None:
    """Close the window of a report."""
    service.settle(session, report_id=UUID(report_id), last_message_at=datetime.fromisoformat(last_message_at))
