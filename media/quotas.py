"""How much one account may have on its way, and how full the disk may become.

Soft limits: two creations at the same moment may pass together, which no disk minds.
"""

import shutil
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.settings import get_settings
from backend.services.objects import StoreFull
from media.errors import UploadQuota
from media.partials import folder

DAY = timedelta(hours=24)
WAIT_SECONDS = 600


def check_quota(session: Session, *, owner_id: UUID, length: int) -> None:
    """Refuse what would be too much, before its first byte: `UploadQuota` for the account, `StoreFull` for all."""
    settings = get_settings()
    if shutil.disk_usage(folder()).free < length + settings.min_free_bytes:
        raise StoreFull
    moment = now()
    used = session.connection().execute(_USED, {"owner": owner_id, "now": moment, "since": moment - DAY}).one()
    if used.open >= settings.max_open_uploads:
        raise UploadQuota(retry_after=WAIT_SECONDS, max_open=settings.max_open_uploads)
    if used.bytes + length > settings.max_upload_bytes_per_day:
        raise UploadQuota(retry_after=WAIT_SECONDS, max_bytes_per_day=settings.max_upload_bytes_per_day)


_USED = text(
    """
    SELECT count(*) FILTER (WHERE NOT finished AND expires_at > :now) AS open,
           coalesce(sum(length) FILTER (WHERE created_at > :since), 0) AS bytes
    FROM upload WHERE owner_id = :owner
    """
)
