"""Photographs as the rest of the system knows them: expected from a manifest, or received whole.

A photo is told by the id its taker gave it and by its SHA-256. `link_photos` is for records that name photos, and
`receive_photo` for bytes that arrived; either may come first. The media room does the rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256 as new_sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend import jobs
from backend.core.clock import now
from backend.core.enums import PhotoState, SourceType
from backend.core.errors import TooLarge, ZhiwangError
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.core.statements import rows
from backend.services import audit, file_removal
from backend.services.objects import object_store

PROCESS_JOB = "media.process"
ASSESS_JOB = "media.assess"
DERIVATIVES = "derivatives/"
"""What the keys of all derivatives begin with: a bucket can give rights by it."""

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
    """Whether the photo is here already, whole. `PhotoIdTaken` where the caller uses its id for other bytes.

    Whoever brings the very bytes may do so, as handhelds are handed on with photos that wait. What others call by this
    id is no hindrance and none of the caller's business.
    """
    found = rows(session, "SELECT owner_id, sha256, state FROM photo WHERE taken_as = %(id)s", {"id": photo_id})
    for _, known, state in found:
        if known == sha256:
            return bool(state != PhotoState.EXPECTED)
    if any(owner == owner_id for owner, _, _ in found):
        raise PhotoIdTaken(photo_id=str(photo_id))
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
    device_id: UUID | None = None,
) -> None:
    """Keep a whole photo: original stored, row `received`, processing asked for. Again with equal bytes: no effect.

    An expected photo becomes the property of whoever brings it. A `Path` must come with the SHA-256 of what it holds,
    and is given away (`ObjectStore.take`). `device_id` is the handheld that brings it; `actor` is what the audit names
    where no account owns the photo. The photo is safe once the caller's transaction has committed. Raises `PhotoEmpty`,
    `PhotoTooLarge`, `PhotoIdTaken`, and the errors of the object store.
    """
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    check_size(size)
    digest = sha256 or new_sha256(_in_memory(content)).hexdigest()
    if check_photo(session, photo_id=photo_id, owner_id=owner_id, sha256=digest):
        return
    # The key names the bytes, so that of two racing uploads neither can replace what the other one recorded.
    key = original_key(photo_id, digest)
    file_removal.lock(session, key)
    if isinstance(content, Path):
        object_store().take(key, content)
    else:
        object_store().put(key, content)
    row = {"taken_as": photo_id, "owner": owner_id, "sha256": digest, "size": size, "mime": mime[:64], "key": key}
    written = _write_received(session, {**row, "device": device_id, "now": now()})
    if written is None:
        check_photo(session, photo_id=photo_id, owner_id=owner_id, sha256=digest)
        return
    jobs.enqueue(session, PROCESS_JOB, key=str(written), photo_id=str(written))
    audit.record(
        session,
        actor=actor or str(owner_id or "citizen"),
        action="photo.received",
        object_type="photo",
        object_id=str(written),
        size=size,
    )


def _write_received(session: Session, row: Mapping[str, Any]) -> UUID | None:
    """The id under which the photo is noted: the taker's where it is free. None where somebody was faster.

    The second try sees what a racing transaction, for whose end the first one waited, has written.
    """
    for photo_id in (row["taken_as"], new_id()):
        for written in rows(session, _RECEIVE, {**row, "id": photo_id}):
            return UUID(str(written[0]))
    return None


def link_photos(
    session: Session,
    *,
    source_type: SourceType,
    owner_id: UUID | None,
    links: Sequence[tuple[UUID, Sequence[ManifestEntry]]],
    device_id: UUID | None = None,
) -> None:
    """Note which photos records name, for a whole batch in three statements, or up to five.

    A photo never heard of becomes `expected`, to be uploaded by `owner_id` from `device_id`. Its manifest follows a
    later one of the same owner while it is expected; once received it is never changed. A link stays when a later
    version of the record no longer names the photo: it is the record's history, and completeness counts the current
    manifest only.

    A photo is named by id and hash together: who names another one's id by a hash of his own has a photo of his own.
    Naming gives no access. A received photo is linked only by its owner, or, while nothing names it yet, by who knows
    its hash: the handheld that took it. An expected one is linked by all who name it. Entries that make no link stay
    in the record and show nothing.
    """
    entries = {
        (UUID(str(entry["photo_id"])), str(entry["sha256"])): entry for _, manifest in links for entry in manifest
    }
    if not entries:
        return
    keys = sorted(entries)
    named = {
        "taken_as": [photo_id for photo_id, _ in keys],
        "sha256": [sha256 for _, sha256 in keys],
        "sizes": [entries[key]["size"] for key in keys],
        "mimes": [entries[key]["mime"] for key in keys],
        "owner": owner_id,
        "device": device_id,
        "now": now(),
    }
    run = session.connection().execute
    run(_AMEND, named)
    if run(_EXPECT, {**named, "ids": named["taken_as"]}).rowcount < len(keys):
        run(_EXPECT, {**named, "ids": [new_id() for _ in keys]})
    pairs = sorted(
        {(source, UUID(str(entry["photo_id"])), entry["sha256"]) for source, part in links for entry in part}
    )
    arrived = run(
        _LINK,
        {
            "source_type": source_type.value,
            "sources": [source for source, _, _ in pairs],
            "photos": [photo_id for _, photo_id, _ in pairs],
            "sha256": [sha256 for _, _, sha256 in pairs],
            "owner": owner_id,
        },
    )
    assess_later(session, [(photo_id, str(source)) for photo_id, source in arrived])


def assess_later(session: Session, wanted: Iterable[tuple[UUID, str]]) -> None:
    """Ask for photos to be assessed against the entries that name them, once for each cause given with them."""
    jobs.enqueue_many(
        session,
        [jobs.NewJob(ASSESS_JOB, f"{photo_id}:{cause}", {"photo_id": str(photo_id)}) for photo_id, cause in wanted],
    )


@dataclass(frozen=True, slots=True)
class Cause:
    """That an entry has changed in what bears on its photos, why, and by which request where that is not the
    context's."""

    source_type: SourceType
    source_id: UUID
    cause: str
    request_id: str | None = None


def assess_sources_later(session: Session, causes: Sequence[Cause]) -> None:
    """The same for all photos of entries."""
    if not causes:
        return
    types, ids = [one.source_type.value for one in causes], [one.source_id for one in causes]
    asked = [(causes[place - 1], photo_id) for place, photo_id in rows(session, _OF, {"types": types, "ids": ids})]
    jobs.enqueue_many(
        session,
        [
            jobs.NewJob(ASSESS_JOB, f"{photo_id}:{one.cause}", {"photo_id": str(photo_id)}, request_id=one.request_id)
            for one, photo_id in asked
        ],
    )


def assess_edited_later(session: Session, versions: Mapping[UUID, int]) -> None:
    """The same for records that were edited, by their new versions: time, place and grid may be others now.

    Photos that are still to come are assessed when they have come.
    """
    found = rows(session, _PROCESSED_OF, {"records": list(versions)})
    assess_later(session, [(photo_id, f"{record_id}:{versions[record_id]}") for photo_id, record_id in found])


def follow(session: Session, *, source_id: UUID, target_id: UUID) -> None:
    """Link the photos of a record to the one it was joined into, whoever owns them. Its own links stay, as history."""
    session.connection().execute(_FOLLOW, {"source": source_id, "target": target_id})


def original_key(photo_id: UUID, sha256: str) -> str:
    """Where the original is kept, apart from its derivatives, by the id its taker gave it.

    The last digits of the id spread folders evenly.
    """
    return f"originals/{photo_id.hex[-2:]}/{photo_id}-{sha256[:16]}"


def derivative_key(photo_id: UUID, name: str) -> str:
    """Where a derivative is kept."""
    return f"{DERIVATIVES}{photo_id.hex[-2:]}/{photo_id}-{name}"


def _in_memory(content: bytes | Path) -> bytes:
    if isinstance(content, Path):
        raise TypeError("a file needs its SHA-256")
    return content


_OF = """
    SELECT named.place, link.photo_id
    FROM unnest(%(types)b::text[], %(ids)b::uuid[]) WITH ORDINALITY AS named (source_type, source_id, place)
    JOIN photo_link link ON link.source_type = named.source_type AND link.source_id = named.source_id
"""
_RECEIVE = """
    WITH came AS (
        UPDATE photo SET state = 'received', original_key = %(key)s, size = %(size)s, owner_id = %(owner)s,
                         mime = %(mime)s, device_id = coalesce(device_id, %(device)s)
        WHERE taken_as = %(taken_as)s AND sha256 = %(sha256)s AND state = 'expected'
        RETURNING id
    ), written AS (
        INSERT INTO photo (id, taken_as, owner_id, device_id, sha256, size, mime, state, original_key, created_at)
        SELECT %(id)s, %(taken_as)s, %(owner)s::uuid, %(device)s::uuid, %(sha256)s, %(size)s, %(mime)s, 'received',
               %(key)s, %(now)s
        WHERE NOT EXISTS (
            SELECT FROM photo
            WHERE taken_as = %(taken_as)s
              AND (sha256 = %(sha256)s OR owner_id IS NOT DISTINCT FROM %(owner)s::uuid))
        ON CONFLICT DO NOTHING
        RETURNING id
    )
    SELECT id FROM came UNION ALL SELECT id FROM written
"""
_ENTRIES = """
    unnest(CAST(:ids AS uuid[]), CAST(:taken_as AS uuid[]), CAST(:sha256 AS text[]), CAST(:sizes AS bigint[]),
           CAST(:mimes AS text[])) AS entry (id, taken_as, sha256, size, mime)
"""
_EXPECT = text(
    f"""
    INSERT INTO photo (id, taken_as, owner_id, device_id, sha256, size, mime, state, created_at)
    SELECT id, taken_as, CAST(:owner AS uuid), CAST(:device AS uuid), sha256, size, mime, 'expected', :now
    FROM {_ENTRIES}
    WHERE NOT EXISTS (
        SELECT FROM photo
        WHERE photo.taken_as = entry.taken_as
          AND (photo.sha256 = entry.sha256 OR photo.owner_id IS NOT DISTINCT FROM CAST(:owner AS uuid)))
    ON CONFLICT DO NOTHING
    """
)
_AMEND = text(
    """
    UPDATE photo SET sha256 = entry.sha256, size = entry.size, mime = entry.mime
    FROM unnest(CAST(:taken_as AS uuid[]), CAST(:sha256 AS text[]), CAST(:sizes AS bigint[]), CAST(:mimes AS text[]))
         AS entry (taken_as, sha256, size, mime)
    WHERE photo.taken_as = entry.taken_as AND photo.state = 'expected'
      AND photo.owner_id IS NOT DISTINCT FROM CAST(:owner AS uuid)
      AND NOT EXISTS (
          SELECT FROM photo AS known WHERE known.taken_as = entry.taken_as AND known.sha256 = entry.sha256)
    """
)
_LINK = text(
    """
    WITH linked AS (
        INSERT INTO photo_link (source_type, source_id, photo_id)
        SELECT DISTINCT :source_type, entry.source_id, photo.id
        FROM unnest(CAST(:sources AS uuid[]), CAST(:photos AS uuid[]), CAST(:sha256 AS text[]))
             AS entry (source_id, taken_as, sha256)
        JOIN photo ON photo.taken_as = entry.taken_as AND (photo.owner_id = :owner OR photo.sha256 = entry.sha256)
        WHERE photo.state = 'expected' OR photo.owner_id = :owner
           OR NOT EXISTS (SELECT FROM photo_link WHERE photo_link.photo_id = photo.id)
        ON CONFLICT DO NOTHING
        RETURNING photo_id, source_id
    )
    SELECT photo.id, linked.source_id FROM linked JOIN photo ON photo.id = linked.photo_id
    WHERE photo.state <> 'expected'
    """
)
_PROCESSED_OF = """
    SELECT photo.id, link.source_id FROM photo_link AS link JOIN photo ON photo.id = link.photo_id
    WHERE link.source_type = 'document' AND link.source_id = ANY(%(records)s::uuid[]) AND photo.state = 'processed'
    ORDER BY 2, 1
"""
_FOLLOW = text(
    """
    INSERT INTO photo_link (source_type, source_id, photo_id)
    SELECT source_type, :target, photo_id FROM photo_link WHERE source_type = 'document' AND source_id = :source
    ON CONFLICT DO NOTHING
    """
)
