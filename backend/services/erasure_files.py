"""Files that an erasure takes along: what was made for the person to see, and refused rows of imports."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlmodel import Session

from backend.services import file_removal, sealing
from backend.services.registry_catalogue import naming_datasets


def drop_rejects(session: Session) -> int:
    """Remove the refused rows of imports that may name a human: they are kept by file, so nobody's can be told apart.

    Loads that come later write nothing of him into theirs.
    """
    rows = session.connection().execute(_REJECT_FILES, {"datasets": naming_datasets(session)}).all()
    sealing.destroy_keys(session, [row.id.bytes for row in rows])
    session.connection().execute(_FORGET_REJECT_FILES, {"ids": [row.id for row in rows]})
    file_removal.remove_later(session, [row.reject_key for row in rows])
    return len(rows)


def drop_reports(session: Session, subjects: Sequence[bytes]) -> int:
    """Remove files that were made to show subjects what is held about them."""
    keys = session.connection().execute(_ACCESS_FILES, {"subjects": list(subjects)}).scalars().all()
    file_removal.remove_later(session, keys)
    session.connection().execute(_FORGET_ACCESS_FILES, {"keys": list(keys)})
    return len(keys)


_ACCESS_FILES = text(
    "SELECT object_key FROM access_request WHERE subject = ANY(CAST(:subjects AS bytea[])) AND object_key IS NOT NULL"
)
_FORGET_ACCESS_FILES = text(
    "UPDATE access_request SET object_key = NULL, state = 'expired' WHERE object_key = ANY(CAST(:keys AS text[]))"
)
_REJECT_FILES = text(
    "SELECT id, reject_key FROM snapshot WHERE reject_key IS NOT NULL AND dataset_code = ANY(:datasets)"
)
_FORGET_REJECT_FILES = text("UPDATE snapshot SET reject_key = NULL WHERE id = ANY(CAST(:ids AS uuid[]))")
