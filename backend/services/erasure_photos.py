"""Photos of what was erased: files, copies, claims and links go, where no other record shows the photo."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend import jobs
from backend.core.enums import SourceType
from backend.services import file_removal, photos
from backend.services.objects import object_store

FORGET_JOB = "media.forget_uploads"
FILES_AT_ONCE = 1000


def forget(session: Session, *, source_type: SourceType, source_ids: Sequence[UUID]) -> dict[str, int]:
    """Unlink the photos of these records or reports, and remove those that nothing else names: files after the commit.

    An erasure holds up every push while it runs, so it does not wait for the object store.
    """
    run = session.connection().execute
    linked = run(_UNLINK, {"type": source_type.value, "sources": list(source_ids)}).scalars().all()
    keys, counts = _drop_rows(session, sorted(set(linked)))
    file_removal.remove_later(session, keys)
    return {"photo_link": len(linked), **counts}


def remove(session: Session, *, photo_ids: Sequence[UUID]) -> dict[str, int]:
    """Remove those of these photos that no link names: files, copies, claims, uploads, keys and rows.

    Files go before the commit: where it fails, the next run finds the rows and removes what is left.
    """
    keys, counts = _drop_rows(session, photo_ids)
    for key in keys:
        object_store().delete(key)
    return counts


def _drop_rows(session: Session, photo_ids: Sequence[UUID]) -> tuple[Sequence[str], dict[str, int]]:
    """Remove the rows; gives the keys of their files, and counts."""
    run = session.connection().execute
    ids = list(run(_LONELY, {"ids": list(photo_ids)}).scalars())
    if not ids:
        return [], {}
    named = {"ids": ids, "subjects": [photo_id.bytes for photo_id in ids]}
    keys = run(_FILES, named).scalars().all()
    counts = {"file": len(keys), "upload": drop_uploads(session, photo_ids=ids)}
    for part, statement in _DELETES.items():
        counts[part] = run(statement, named).rowcount
    return keys, counts


def drop_expired_uploads(session: Session, *, before: datetime, limit: int) -> int:
    """Forget uploads that expired before a moment; gives how many.

    An original that was stored, and whose transaction then failed, has no row. It goes with the upload that brought it.
    """
    rows = session.connection().execute(_DROP_EXPIRED, {"before": before, "limit": limit}).all()
    file_removal.remove_later(session, [photos.original_key(row.photo_id, row.sha256) for row in rows if row.sha256])
    _forget_files(session, [row.id for row in rows])
    return len(rows)


def drop_uploads(session: Session, *, photo_ids: Sequence[UUID]) -> int:
    """Forget unfinished and finished uploads of these photos; the media room removes their files."""
    gone = session.connection().execute(_DROP_UPLOADS, {"ids": list(photo_ids)}).scalars().all()
    _forget_files(session, gone)
    return len(gone)


def _forget_files(session: Session, upload_ids: Sequence[UUID]) -> None:
    ids = sorted(str(upload_id) for upload_id in upload_ids)
    parts = [ids[start : start + FILES_AT_ONCE] for start in range(0, len(ids), FILES_AT_ONCE)]
    jobs.enqueue_many(session, [jobs.NewJob(FORGET_JOB, part[0], {"upload_ids": part}) for part in parts])


_DROP_EXPIRED = text(
    """
    DELETE FROM upload WHERE id IN (SELECT id FROM upload WHERE expires_at < :before ORDER BY id LIMIT :limit)
    RETURNING id, photo_id, CASE WHEN NOT finished THEN declared ->> 'sha256' END AS sha256
    """
)
_DROP_UPLOADS = text(
    """
    DELETE FROM upload USING photo
    WHERE photo.id = ANY(:ids) AND upload.photo_id = photo.taken_as AND upload.declared ->> 'sha256' = photo.sha256
    RETURNING upload.id
    """
)
_UNLINK = text(
    "DELETE FROM photo_link WHERE source_type = :type AND source_id = ANY(CAST(:sources AS uuid[])) RETURNING photo_id"
)
_LONELY = text(
    """
    SELECT id FROM photo WHERE id = ANY(CAST(:ids AS uuid[]))
      AND NOT EXISTS (SELECT FROM photo_link WHERE photo_link.photo_id = photo.id)
    ORDER BY id FOR UPDATE
    """
)
_FILES = text(
    """
    SELECT original_key FROM photo WHERE id = ANY(:ids) AND original_key IS NOT NULL
    UNION
    SELECT storage_key FROM derivative WHERE photo_id = ANY(:ids)
    """
)
_DELETES = {
    "derivative": text("DELETE FROM derivative WHERE photo_id = ANY(:ids)"),
    "photo_print": text("DELETE FROM photo_print WHERE photo_id = ANY(:ids)"),
    "photo_evidence": text("DELETE FROM photo_evidence WHERE photo_id = ANY(:ids)"),
    "photo": text("DELETE FROM photo WHERE id = ANY(:ids)"),
    "keys": text("DELETE FROM subject_key WHERE subject_id = ANY(:subjects)"),
}
