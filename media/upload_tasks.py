"""Jobs of the upload half of the room. A worker shares the folder of uploads with the API."""

from uuid import UUID

from sqlmodel import Session

from backend import jobs
from backend.services.erasure_photos import FORGET_JOB
from backend.tasks import REAP_JOB
from media import reaping
from media.partials import remove_partial


@jobs.handler(FORGET_JOB)
def forget_uploads(_session: Session, *, upload_ids: list[str]) -> None:
    """Remove the files of uploads whose rows are gone."""
    for upload_id in upload_ids:
        remove_partial(UUID(upload_id))


@jobs.handler(REAP_JOB)
def reap(session: Session) -> None:
    """Remove the files that no upload will go on with."""
    reaping.reap(session)
