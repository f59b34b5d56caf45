"""Reading photos: who may see which, in what state they are, their cleaned copies, and what a record still lacks.

The original is not served: only copies without metadata are.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, or_, select

from backend.core.clock import now
from backend.core.enums import PhotoState, Role, SourceType
from backend.core.errors import NotFound
from backend.models import Derivative, Document, Photo, PhotoEvidence, PhotoLink
from backend.services.objects import object_store
from backend.services.scope import IN_TERRITORY, OFFICE_ROLES, territory_parameters
from backend.services.sessions import Caller
from backend.services.thumbnails import copy_address
from media.errors import PhotoNotReady, RangeOutside
from media.evidence.rules import TEXTS as REASON_TEXTS
from media.evidence.rules import Code
from media.rules import FAILURE_TEXTS, Failure, Variant, completeness, parse_range
from media.schemas import (
    AssessedPhotosView,
    AssessedPhotoView,
    CompletenessView,
    EvidenceView,
    ExpectedPhotoView,
    FailureView,
    PhotosView,
    PhotoView,
    ReasonView,
    VariantView,
)


def photo_view(session: Session, caller: Caller, *, photo_id: UUID) -> PhotoView:
    """A photo the caller may see. `NotFound` for any other."""
    photo = _visible_photo(session, caller, photo_id)
    copies = session.exec(select(Derivative).where(Derivative.photo_id == photo.id).order_by(Derivative.variant)).all()
    return _photo_view(photo, photo_id, copies)


def _photo_view(photo: Photo, photo_id: UUID, copies: Sequence[Derivative]) -> PhotoView:
    """A photo under the id by which it was asked for."""
    return PhotoView(
        photo_id=photo_id,
        state=photo.state,
        sha256=photo.sha256,
        size=photo.size,
        mime=photo.mime,
        width=photo.width,
        height=photo.height,
        taken_at=photo.taken_at,
        placeholder=photo.placeholder,
        received=photo.state is not PhotoState.EXPECTED,
        failure=failure_view(photo.failure),
        variants=[_variant_view(copy) for copy in copies],
    )


def variant_row(session: Session, caller: Caller, *, photo_id: UUID, variant: Variant) -> Derivative:
    """The row of a cleaned copy the caller may see. `PhotoNotReady` where there is none yet, or never will be."""
    photo = _visible_photo(session, caller, photo_id)
    copy = session.get(Derivative, (photo.id, variant.value))
    if copy is None:
        raise PhotoNotReady
    return copy


def variant_bytes(copy: Derivative, *, range_header: str | None) -> tuple[bytes, tuple[int, int] | None]:
    """The bytes of a copy, and which half-open range of it they are where only a part was asked for."""
    try:
        part = parse_range(range_header, size=copy.size)
    except ValueError as error:
        raise RangeOutside(size=copy.size) from error
    if part is None:
        return object_store().get(copy.storage_key), None
    return object_store().get_range(copy.storage_key, *part), part


def record_completeness(
    session: Session, caller: Caller, *, source_type: SourceType, source_id: UUID
) -> CompletenessView:
    """What became of the photos a record or report names now. `NotFound` where the caller may not see it."""
    if not _sees_source(session, caller, source_type, source_id):
        raise NotFound
    named = _named_photos(session, source_type, source_id)
    photos = _linked_photos(session, source_type, source_id, named)
    counts = completeness(photos[photo_id].state if photo_id in photos else None for photo_id in named)
    return CompletenessView(
        expected=counts.expected,
        received=counts.received,
        processed=counts.processed,
        failed=counts.failed,
        complete=counts.complete,
        photos=[_expected_view(photo_id, photos.get(photo_id)) for photo_id in named],
    )


def photos_of(session: Session, caller: Caller, *, source_type: SourceType, source_id: UUID) -> PhotosView:
    """The photos a record or report names now, with their copies, in two statements. `NotFound` as completeness."""
    if not _sees_source(session, caller, source_type, source_id):
        raise NotFound
    named = _named_photos(session, source_type, source_id)
    photos = _linked_photos(session, source_type, source_id, named)
    ids = [photo.id for photo in photos.values()]
    copies: dict[UUID, list[Derivative]] = {photo_id: [] for photo_id in ids}
    query = select(Derivative).where(col(Derivative.photo_id).in_(ids)).order_by(Derivative.variant)
    for copy in session.exec(query):
        copies[copy.photo_id].append(copy)
    in_order = [photos[taken_as] for taken_as in named if taken_as in photos]
    return PhotosView(photos=[_photo_view(photo, photo.id, copies[photo.id]) for photo in in_order])


def evidence_of(session: Session, caller: Caller, *, source_type: SourceType, source_id: UUID) -> AssessedPhotosView:
    """As `photos_of`, and beside each photo how far it bears out the entry."""
    shown = photos_of(session, caller, source_type=source_type, source_id=source_id).photos
    query = select(PhotoEvidence).where(PhotoEvidence.source_type == source_type, PhotoEvidence.source_id == source_id)
    found = {evidence.photo_id: evidence for evidence in session.exec(query)}
    return AssessedPhotosView(
        photos=[AssessedPhotoView(photo=photo, evidence=_evidence_view(found.get(photo.photo_id))) for photo in shown]
    )


def _evidence_view(evidence: PhotoEvidence | None) -> EvidenceView | None:
    if evidence is None:
        return None
    return EvidenceView(
        score=evidence.score,
        source_version=evidence.source_version,
        rule_version=evidence.rule_version,
        assessed_at=evidence.assessed_at,
        reasons=[_reason_view(reason) for reason in evidence.reasons],
    )


def _reason_view(reason: Mapping[str, Any]) -> ReasonView:
    text_zh, text_en = REASON_TEXTS[Code(reason["code"])]
    return ReasonView(
        code=reason["code"],
        weight=reason["weight"],
        measured=reason["measured"],
        text_zh=text_zh,
        text_en=text_en,
    )


def failure_view(code: str | None) -> FailureView | None:
    """A failing verdict in words."""
    if code is None:
        return None
    text_zh, text_en = FAILURE_TEXTS[Failure(code)]
    return FailureView(code=code, text_zh=text_zh, text_en=text_en)


def _expected_view(photo_id: UUID, photo: Photo | None) -> ExpectedPhotoView:
    if photo is None:
        return ExpectedPhotoView(photo_id=photo_id, state=PhotoState.EXPECTED, failure=None, href=None)
    return ExpectedPhotoView(
        photo_id=photo_id,
        state=photo.state,
        failure=failure_view(photo.failure),
        href=f"/media/v1/photos/{photo.id}",
    )


def _variant_view(copy: Derivative) -> VariantView:
    return VariantView(
        variant=Variant(copy.variant),
        mime=copy.mime,
        width=copy.width,
        height=copy.height,
        size=copy.size,
        href=copy_address(copy.photo_id, copy.variant, copy.storage_key),
    )


def _named_photos(session: Session, source_type: SourceType, source_id: UUID) -> Mapping[UUID, str | None]:
    """The photos of the current manifest, with their hashes: of a record its own, of a report all that came with it."""
    if source_type is SourceType.DOCUMENT:
        document = session.get_one(Document, source_id)
        manifest: list[dict[str, Any]] = document.body.get("photos") or []
        return {UUID(str(entry["photo_id"])): entry["sha256"] for entry in manifest}
    query = select(PhotoLink.photo_id).where(PhotoLink.source_type == source_type, PhotoLink.source_id == source_id)
    return dict.fromkeys(session.exec(query.order_by(col(PhotoLink.photo_id))))


def _linked_photos(
    session: Session, source_type: SourceType, source_id: UUID, named: Mapping[UUID, str | None]
) -> dict[UUID, Photo]:
    """What is known of the photos named, where they are the source's own: of others it hears nothing."""
    query = select(Photo).join(PhotoLink, col(PhotoLink.photo_id) == col(Photo.id))
    query = query.where(PhotoLink.source_type == source_type, PhotoLink.source_id == source_id)
    photos = session.exec(query.where(col(Photo.taken_as).in_(named)))
    return {photo.taken_as: photo for photo in photos if named[photo.taken_as] in (None, photo.sha256)}


def _visible_photo(session: Session, caller: Caller, photo_id: UUID) -> Photo:
    """The photo that the caller knows by this id: his own before any other, and what he may see only."""
    named = select(Photo).where(or_(col(Photo.id) == photo_id, col(Photo.taken_as) == photo_id)).order_by(col(Photo.id))
    photos = session.exec(named).all()
    own = [photo for photo in photos if photo.owner_id == caller.account_id]
    for photo in own or sorted(photos, key=lambda photo: photo.id != photo_id):
        values = {**_scope(caller), "photo": photo.id}
        if own or session.connection().execute(_SEES_PHOTO, values).scalar_one():
            return photo
    raise NotFound


def _sees_source(session: Session, caller: Caller, source_type: SourceType, source_id: UUID) -> bool:
    values = {**_scope(caller), "type": source_type.value, "id": source_id}
    return bool(session.connection().execute(_SEES_SOURCE, values).scalar_one())


def _scope(caller: Caller) -> dict[str, Any]:
    return {
        "account": caller.account_id,
        "worker": caller.role is Role.GRID_WORKER,
        "office": caller.role in OFFICE_ROLES,
        **territory_parameters(caller),
        "department": caller.department_code if caller.role is Role.HANDLER else None,
        "now": now(),
    }


# Anybody can name any photo before it arrives; who names it by its own hash has it from the handheld that took it.
_NAMES_IT = """
    (photo_link.source_type = 'report' OR EXISTS (
        SELECT FROM document_version AS version
        CROSS JOIN json_array_elements(
            CASE json_typeof(version.body -> 'photos') WHEN 'array' THEN version.body -> 'photos' ELSE '[]' END
        ) AS entry
        WHERE version.document_id = photo_link.source_id
          AND CAST(entry ->> 'photo_id' AS uuid) = photo.taken_as AND entry ->> 'sha256' = photo.sha256))
"""
# A source is a record or a report. A report lies in no worker's business, nor does a deleted record any longer.
_SOURCE = """
    SELECT 'document' AS type, id, grid_id, NOT deleted AS live FROM document
    UNION ALL
    SELECT 'report', id, grid_id, false FROM report
"""
_SEES = f"""
    (CAST(:office AS boolean) AND {IN_TERRITORY.format(grid_id="source.grid_id")}
     OR CAST(:worker AS boolean) AND source.live AND EXISTS (
        SELECT FROM membership
        WHERE account_id = :account AND grid_id = source.grid_id
          AND starts_at <= :now AND (ends_at IS NULL OR ends_at > :now))
     OR EXISTS (
        SELECT FROM case_file
        WHERE source_type = source.type AND source_id = source.id AND department_code = CAST(:department AS text)))
"""
_SEES_PHOTO = text(
    f"""
    SELECT EXISTS (
        SELECT FROM photo JOIN photo_link ON photo_link.photo_id = photo.id
        JOIN ({_SOURCE}) AS source ON source.type = photo_link.source_type AND source.id = photo_link.source_id
        WHERE photo.id = :photo AND {_NAMES_IT} AND {_SEES})
    """
)
_SEES_SOURCE = text(
    f"""
    SELECT EXISTS (
        SELECT FROM ({_SOURCE}) AS source
        WHERE source.type = :type AND source.id = :id AND {_SEES})
    """
)
