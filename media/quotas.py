"""How much one account may have on its way, and how full the disk may become.

Soft limits: two creations at the same moment may pass together, which no disk minds.
"""

import shutil
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlmodel import Session

from backend.core.clock import now
from backend.core.settings import get_settings
from backend.core.statements import rows
from backend.services.objects import StoreFull
from media.errors import UploadQuota
from media.partials import folder
from media.rules import Declared

DAY = timedelta(hours=24)
WAIT_SECONDS = 600


def take_place(session: Session, *, owner_id: UUID, declared: Declared, only_begun: bool) -> Sequence[UUID]:
    """Refuse what would be too much, before its first byte: `UploadQuota` for the account, `StoreFull` for all.

    What the account had begun of the same photo is forgotten, and does not count; gives the ids of those uploads.
    Where the upload is `only_begun`, the commit does not wait for the disk: should the database lose it in a crash, the
    client begins again, and whatever counts is committed later.
    """
    settings = get_settings()
    if shutil.disk_usage(folder()).free < declared.size + settings.min_free_bytes:
        raise StoreFull
    moment = now()
    given: dict[str, Any] = {"owner": owner_id, "photo": declared.photo_id, "sha256": declared.sha256}
    given |= {"now": moment, "since": moment - DAY, "only_begun": only_begun}
    ((begun, waiting, total, _),) = rows(session, _TAKE_PLACE, given)
    if waiting >= settings.max_open_uploads:
        raise UploadQuota(retry_after=WAIT_SECONDS, max_open=settings.max_open_uploads)
    if total + declared.size > settings.max_upload_bytes_per_day:
        raise UploadQuota(retry_after=WAIT_SECONDS, max_bytes_per_day=settings.max_upload_bytes_per_day)
    return begun or ()


# Both parts see the table as it was before, so the second leaves out what the first removes.
_TAKE_PLACE = """
    WITH begun AS (
        DELETE FROM upload
        WHERE owner_id = %(owner)s AND photo_id = %(photo)s AND declared ->> 'sha256' = %(sha256)s AND NOT finished
        RETURNING id
    )
    SELECT (SELECT array_agg(id) FROM begun),
           count(*) FILTER (WHERE NOT finished AND expires_at > %(now)s),
           coalesce(sum(length) FILTER (WHERE created_at > %(since)s), 0),
           CASE WHEN %(only_begun)s THEN set_config('synchronous_commit', 'off', true) END
    FROM upload
    WHERE owner_id = %(owner)s
      AND NOT (photo_id = %(photo)s AND declared ->> 'sha256' = %(sha256)s AND NOT finished)
"""
