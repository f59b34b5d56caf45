"""The job of the media room: from a received photo to its cleaned copies, or to a verdict why there are none."""

from datetime import datetime
from hashlib import sha256
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend import jobs
from backend.core.clock import now
from backend.core.enums import PhotoState
from backend.core.errors import Unavailable
from backend.models import Photo
from backend.services import audit
from backend.services.objects import object_store
from backend.services.photos import ASSESS_JOB, PROCESS_JOB, assess_later, derivative_key
from backend.services.sealing import seal_value
from media.evidence import stamping
from media.evidence.service import assess_photo, note_print
from media.exif import Claims
from media.pictures import Copy, Picture
from media.rules import Failure, Unusable
from media.sandbox import decoder

ACTOR = PROCESS_JOB


class OriginalDamaged(Unavailable):
    """The store gives back other bytes than were put in. A fault of ours, so no verdict on the photo."""

    code = "original_damaged"
    title_zh = "照片原件读取异常，请联系管理员"
    title_en = "The stored original is not what was received; tell the operator"


@jobs.handler(PROCESS_JOB)
def process(session: Session, *, photo_id: str) -> None:
    """Make the copies of one received photo and note its claims. A photo that is through already is left alone."""
    photo = session.get(Photo, UUID(photo_id))
    if photo is None or photo.original_key is None:
        raise jobs.Discard("photo_unknown")
    if photo.state is not PhotoState.RECEIVED:
        return
    try:
        picture = decoder().decode(_original(photo))
    except Unusable as verdict:
        _refuse(session, photo.id, verdict.failure)
    else:
        _accept(session, photo.id, picture)


@jobs.handler(ASSESS_JOB)
def assess(session: Session, *, photo_id: str) -> None:
    """Assess a processed photo, and stamp a copy where an entry that names it has a case."""
    found = UUID(photo_id)
    entries = assess_photo(session, photo_id=found)
    entry = stamping.due(session, photo_id=found, entries=entries)
    photo = session.get(Photo, found)
    if entry is None or photo is None or photo.original_key is None:
        return
    try:
        copy = decoder().stamp(_original(photo), stamping.lines_of(photo, entry))
    except Unusable:  # it was usable before: limits may have been lowered since
        return
    session.connection().execute(_DERIVATIVE, _stored(found, copy))


def _original(photo: Photo) -> bytes:
    assert photo.original_key is not None
    content = object_store().get(photo.original_key)
    if sha256(content).hexdigest() != photo.sha256:
        raise OriginalDamaged
    return content


def _accept(session: Session, photo_id: UUID, picture: Picture) -> None:
    claims = picture.claims
    if not _settle(
        session,
        photo_id,
        state=PhotoState.PROCESSED,
        mime=picture.mime,
        width=picture.width,
        height=picture.height,
        taken_at=datetime.fromisoformat(claims.taken_at) if claims.taken_at else None,
        claims=_sealed(session, photo_id, claims),
        placeholder=picture.placeholder,
    ):
        return
    rows = [_stored(photo_id, copy) for copy in picture.copies]
    session.connection().execute(_DERIVATIVE, rows)
    note_print(session, photo_id=photo_id, bits=bytes.fromhex(picture.fingerprint), detail=picture.detail)
    assess_later(session, [(photo_id, "processed")])
    audit.record(
        session,
        actor=ACTOR,
        action="photo.processed",
        object_type="photo",
        object_id=str(photo_id),
        width=picture.width,
        height=picture.height,
    )


def _refuse(session: Session, photo_id: UUID, failure: Failure) -> None:
    if _settle(session, photo_id, state=PhotoState.FAILED, failure=failure.value):
        audit.record(
            session,
            actor=ACTOR,
            action="photo.failed",
            object_type="photo",
            object_id=str(photo_id),
            code=failure.value,
        )


def _settle(session: Session, photo_id: UUID, *, state: PhotoState, **values: object) -> bool:
    """Move the photo on from `received`; False where another run of this job did so first."""
    row = dict.fromkeys(("failure", "mime", "width", "height", "taken_at", "claims", "placeholder")) | values
    moved = session.connection().execute(_SETTLE, {**row, "id": photo_id, "state": state.value, "now": now()})
    return bool(moved.rowcount)


def _sealed(session: Session, photo_id: UUID, claims: Claims) -> bytes | None:
    """The claims under the photo's own key: erasing the photo makes them unreadable."""
    if claims == Claims():
        return None
    value = {
        "taken_at": claims.taken_at,
        "offset_known": claims.offset_known,
        "lat": claims.lat,
        "lon": claims.lon,
        "datum": claims.datum,
    }
    return seal_value(session, photo_id.bytes, value, context=photo_id.bytes)


def _stored(photo_id: UUID, copy: Copy) -> dict[str, object]:
    """Store one copy and give its row. Decoding is deterministic, so a second run writes the same object."""
    digest = sha256(copy.content).hexdigest()
    suffix = copy.mime.removeprefix("image/")
    key = derivative_key(photo_id, f"{copy.variant.split('.')[0]}-{digest[:12]}.{suffix}")
    object_store().put(key, copy.content, mime=copy.mime)
    return {
        "photo": photo_id,
        "variant": copy.variant.value,
        "key": key,
        "mime": copy.mime,
        "width": copy.width,
        "height": copy.height,
        "size": len(copy.content),
        "sha256": digest,
    }


_SETTLE = text(
    """
    UPDATE photo SET state = :state, failure = :failure, mime = coalesce(:mime, mime), width = :width,
                     height = :height, taken_at = :taken_at, claims = :claims, placeholder = :placeholder,
                     processed_at = :now
    WHERE id = :id AND state = 'received'
    """
)
_DERIVATIVE = text(
    """
    INSERT INTO derivative (photo_id, variant, storage_key, mime, width, height, size, sha256)
    VALUES (:photo, :variant, :key, :mime, :width, :height, :size, :sha256)
    ON CONFLICT (photo_id, variant) DO UPDATE
    SET storage_key = excluded.storage_key, mime = excluded.mime, width = excluded.width,
        height = excluded.height, size = excluded.size, sha256 = excluded.sha256
    """
)
