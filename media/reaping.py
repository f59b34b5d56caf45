"""Removing what uploads leave behind: files of those that expired, ended or were forgotten, and halves of a crash.

The rows of expired uploads stay a day longer (`backend.services.retention`), so that their clients hear
410 and not 404; their bytes do not.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.settings import get_settings
from media.errors import UploadBusy
from media.partials import PART, Partial, folder

KEPT_SECONDS = 3600.0
"""How old the leavings of a crash must be, beyond the longest request, before nobody can be writing to them."""


def reap(session: Session) -> int:
    """Remove the files in the folder of uploads that nobody will go on with; gives how many."""
    paths = sorted(folder().iterdir())
    parts = {upload_id: path for path in paths if (upload_id := _upload_of(path)) is not None}
    wanted = _wanted(session, list(parts))
    removed = sum(_remove_part(upload_id) for upload_id in parts.keys() - wanted)
    return removed + sum(_remove_old(path) for path in paths if _upload_of(path) is None)


def _wanted(session: Session, upload_ids: Sequence[UUID]) -> set[UUID]:
    given = {"ids": list(upload_ids), "now": now()}
    return set(session.connection().execute(_WANTED, given).scalars())


def _upload_of(path: Path) -> UUID | None:
    with suppress(ValueError):
        return UUID(path.stem) if path.suffix == PART else None
    return None


def _remove_part(upload_id: UUID) -> bool:
    """Remove under the lock: a request that finished the upload a moment ago may still be looking at the file."""
    try:
        Partial(upload_id).remove()
    except UploadBusy:
        return False
    return True


def _remove_old(path: Path) -> bool:
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > get_settings().upload_seconds + KEPT_SECONDS:
            path.unlink(missing_ok=True)
            return True
    return False


_WANTED = text("SELECT id FROM upload WHERE id = ANY(CAST(:ids AS uuid[])) AND NOT finished AND expires_at > :now")
