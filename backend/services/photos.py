"""Photographs as the rest of the system knows them: expected from a manifest, or received whole.

A photo has the id its taker gave it and is bound to its SHA-256. `link_photos` is for records that name photos, and
`receive_photo` for bytes that arrived; either may come first. The media room does the rest.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256 as new_sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import PhotoState, SourceType
from backend.core.errors import NotFound, TooLarge, ZhiwangError
from backend.core.settings import get_settings
from backend.models import Photo
from backend.services import audit
from backend.services.objects import object_store

PROCESS_JOB = "media.process"

ManifestEntry = Mapping[str, Any]
"""`{photo_id, sha256, size, mime}` of a record's manifest, as validated by its kind."""


class PhotoTooLarge(TooLarge):
    code = "photo_too_large"
    title_zh = "照片文件过大，请降低分辨率后重新拍摄"
    title_en = "The photo file is too large"


class PhotoEmpty(ZhiwangError):
    code = "photo_empty"
    status = 400
    title_zh = "照片文件是空的，请重新拍摄"
    title_en = "The photo is empty; take it again"


class PhotoIdTaken(ZhiwangError):
    """One id never names two different pictures: evidence that could be exchanged would be none."""

    code = "photo_id_taken"
    status = 409
    title_zh = "该照片编号已用于另一张照片，请以新编号重新提交"
    title_en = "This photo id names other bytes already; send the photo under a new id"


def check_size(size: int) -> None:
    """Refuse a photo of no or too many bytes."""
    if size == 0:
        raise PhotoEmpty
    if size > get_settings().max_photo_bytes:
        raise PhotoTooLarge(max_bytes=get_settings().max_photo_bytes)


def check_photo(session: Session, *, photo_id: UUID, owner_id: UUID | None, sha256: str) -> bool:
    """Whether the photo is here already, whole. Of other bytes than are known: `PhotoIdTaken`, `NotFound` to strangers.

    Whoever brings the very bytes may do so, as handhelds are handed on with photos that wait. Nobody has brought any
    bytes of an expected photo, so there the first to bring some is believed before the first to name it.
    """
    query = select(Photo.owner_id, Photo.sha256, Photo.state).where(Photo.id == photo_id)
    found = session.exec(query).first()
    if found is None:
        return False
    owner, known_sha256, state = found
    if known_sha256 == sha256:
        return state is not PhotoState.EXPECTED
    if owner == owner_id:
        raise PhotoIdTaken(photo_id=str(photo_id))
    if state is not PhotoState.EXPECTED:
        raise NotFound
    return False


def receive_photo(
    session: Session,
    *,
    photo_id: UUID,
    owner_id: UUID | None,
    content: bytes | Path,
    mime: str,
    sha256: str | None = None,
    actor: str | None = None,
) -> None:
    """Keep a whole photo: original stored, row `received`, processing asked for. Again with equal bytes: no effect.

    An expected photo becomes the property of whoever brings it. A `Path` must come with the SHA-256 of what it holds.
    `actor` is what the audit names where no account owns the photo. The photo is safe once the caller's transaction
    has committed. Raises `PhotoEmpty`, `PhotoTooLarge`, `PhotoIdTaken`, `NotFound` (the id is somebody else's), and
    the errors of the object store.
    """
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    check_size(size)
    digest = sha256 or new_sha256(_in_memory(content)).hexdigest()
    if check_photo(session, photo_id=photo_id, owner_id=owner_id, sha256=digest):
        return
    # The key names the bytes, so that of two racing uploads neither can replace what the other one recorded.
    key = original_key(photo_id, digest)
    object_store().put(key, content)
    row = {
        "id": photo_id,
        "owner": owner_id,
        "sha256": digest,
        "size": size,
        "mime": mime[:64],
        "key": key,
        "now": now(),
    }
    written = session.connection().execute(_RECEIVE, row)
    if not written.rowcount:
        check_photo(session, photo_id=photo_id, owner_id=owner_id, sha256=digest)
        return
    jobs.enqueue(session, PROCESS_JOB, key=str(photo_id), photo_id=str(photo_id))
    audit.record(
        session,
        actor=actor or str(owner_id or "citizen"),
        action="photo.received",
        object_type="photo",
        object_id=str(photo_id),
        size=size,
    )


def link_photos(
    session: Session,
    *,
    source_type: SourceType,
    owner_id: UUID | None,
    links: Sequence[tuple[UUID, Sequence[ManifestEntry]]],
) -> None:
    """Note which photos records or reports name, for a whole batch in three statements.

    A photo never heard of becomes `expected`, to be uploaded by `owner_id`. Its manifest follows a later one of the
    same owner while it is expected; once received it is never changed. A link stays when a later version of the record
    no longer names the photo: it is the record's history, and completeness counts the current manifest only.

    Naming a photo gives no access to it. A received photo is linked only by its owner, or, while nothing names it yet,
    by who knows its hash: the handheld that took it. An expected one is linked by all who name it, and readers
    (`media.service`) let a link to a record count only where a version of the record names the photo's own hash.
    Entries that make no link stay in the record and show nothing.
    """
    entries = {UUID(str(entry["photo_id"])): entry for _, manifest in links for entry in manifest}
    if not entries:
        return
    photo_ids = sorted(entries)
    named = sorted(
        {(source, UUID(str(entry["photo_id"])), entry["sha256"]) for source, manifest in links for entry in manifest}
    )
    photos = {
        "ids": photo_ids,
        "sha256": [entries[photo_id]["sha256"] for photo_id in photo_ids],
        "sizes": [entries[photo_id]["size"] for photo_id in photo_ids],
        "mimes": [entries[photo_id]["mime"] for photo_id in photo_ids],
        "owner": owner_id,
    }
    connection = session.connection()
    connection.execute(_EXPECT, {**photos, "now": now()})
    connection.execute(_AMEND, photos)
    connection.execute(
        _LINK,
        {
            "source_type": source_type.value,
            "sources": [source for source, _, _ in named],
            "photos": [photo_id for _, photo_id, _ in named],
            "sha256": [sha256 for _, _, sha256 in named],
            "owner": owner_id,
        },
    )


def follow(session: Session, *, source_id: UUID, target_id: UUID) -> None:
    """Link the photos of a record to the one it was joined into, whoever owns them. Its own links stay, as history."""
    session.connection().execute(_FOLLOW, {"source": source_id, "target": target_id})


def original_key(photo_id: UUID, sha256: str) -> str:
    """Where the original is kept, apart from its derivatives. The last digits of the id spread folders evenly."""
    return f"originals/{photo_id.hex[-2:]}/{photo_id}-{sha256[:16]}"


def derivative_key(photo_id: UUID, name: str) -> str:
    """Where a derivative is kept."""
    return f"derivatives/{photo_id.hex[-2:]}/{photo_id}-{name}"


def _in_memory(content: bytes | Path) -> bytes:
    if isinstance(content, Path):
        raise TypeError("a file needs its SHA-256")
    return content


_RECEIVE = text(
    """
    INSERT INTO photo (id, owner_id, sha256, size, mime, state, original_key, created_at)
    VALUES (:id, :owner, :sha256, :size, :mime, 'received', :key, :now)
    ON CONFLICT (id) DO UPDATE
    SET state = 'received', original_key = excluded.original_key, size = excluded.size, owner_id = excluded.owner_id,
        sha256 = excluded.sha256, mime = excluded.mime
    WHERE photo.state = 'expected'
      AND (photo.sha256 = excluded.sha256 OR photo.owner_id IS DISTINCT FROM excluded.owner_id)
    """
)
_EXPECT = text(
    """
    INSERT INTO photo (id, owner_id, sha256, size, mime, state, created_at)
    SELECT id, :owner, sha256, size, mime, 'expected', :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:sha256 AS text[]), CAST(:sizes AS bigint[]), CAST(:mimes AS text[]))
         AS entry (id, sha256, size, mime)
    ON CONFLICT (id) DO NOTHING
    """
)
_AMEND = text(
    """
    UPDATE photo SET sha256 = entry.sha256, size = entry.size, mime = entry.mime
    FROM unnest(CAST(:ids AS uuid[]), CAST(:sha256 AS text[]), CAST(:sizes AS bigint[]), CAST(:mimes AS text[]))
         AS entry (id, sha256, size, mime)
    WHERE photo.id = entry.id AND photo.state = 'expected' AND photo.owner_id IS NOT DISTINCT FROM :owner
      AND photo.sha256 <> entry.sha256
    """
)
_LINK = text(
    """
    INSERT INTO photo_link (source_type, source_id, photo_id)
    SELECT :source_type, entry.source_id, photo.id
    FROM unnest(CAST(:sources AS uuid[]), CAST(:photos AS uuid[]), CAST(:sha256 AS text[]))
         AS entry (source_id, photo_id, sha256)
    JOIN photo ON photo.id = entry.photo_id
    WHERE photo.state = 'expected' OR photo.owner_id = :owner
       OR photo.sha256 = entry.sha256 AND NOT EXISTS (SELECT FROM photo_link WHERE photo_link.photo_id = photo.id)
    ON CONFLICT DO NOTHING
    """
)
_FOLLOW = text(
    """
    INSERT INTO photo_link (source_type, source_id, photo_id)
    SELECT source_type, :target, photo_id FROM photo_link WHERE source_type = 'document' AND source_id = :source
    ON CONFLICT DO NOTHING
    """
)
