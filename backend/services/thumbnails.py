"""Small pictures for lists: one for each entry of a page, by one statement for the whole page.

An address leads to the API, or, where photos are kept in S3, straight to the store for a few minutes. Signing asks
nobody, so a page of them costs nothing more. It is the caller's to show only entries that may be seen.
"""

from collections.abc import Iterable
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlmodel import Session

from backend.core.enums import SourceType
from backend.core.settings import get_settings
from backend.services.objects import object_store
from backend.services.photos import DERIVATIVES

Source = tuple[SourceType, UUID]


class Thumbnail(BaseModel):
    """The first photo of an entry, 400 pixels on its long side. `placeholder` is a BlurHash to paint meanwhile."""

    photo_id: UUID
    href: str = Field(examples=["/media/v1/photos/0198c3a0-0000-7000-8000-000000000001/thumb"])
    placeholder: str | None = Field(examples=["LEHV6nWB2yk8pyo0adR*.7kCMdnj"])
    width: int = Field(examples=[400])
    height: int = Field(examples=[300])


def thumbnails(session: Session, sources: Iterable[Source]) -> dict[Source, Thumbnail]:
    """The thumbnail of each entry that has a processed photo, in one statement for any number of entries."""
    wanted = list(sources)
    if not wanted:
        return {}
    named = {"types": [kind.value for kind, _ in wanted], "ids": [source_id for _, source_id in wanted]}
    rows = session.connection().execute(_FIRST, named)
    return {
        (SourceType(row.source_type), row.source_id): Thumbnail(
            photo_id=row.photo_id,
            href=copy_address(row.photo_id, row.variant, row.storage_key),
            placeholder=row.placeholder,
            width=row.width,
            height=row.height,
        )
        for row in rows
    }


def copy_address(photo_id: UUID, variant: str, storage_key: str) -> str:
    """Where a copy can be fetched: at the store for a while, where it signs addresses, else at the API."""
    return signed_address(storage_key) or f"/media/v1/photos/{photo_id}/{variant}"


def signed_address(storage_key: str) -> str | None:
    """A short-lived address at the store. None from a folder, or where addresses are switched off.

    `ValueError` for anything but a derivative: nobody gets an original this way.
    """
    if not storage_key.startswith(DERIVATIVES):
        raise ValueError("only copies have addresses")
    seconds = get_settings().media_address_seconds
    return object_store().address(storage_key, seconds=seconds) if seconds else None


_FIRST = text(
    """
    SELECT DISTINCT ON (link.source_type, link.source_id)
           link.source_type, link.source_id, photo.id AS photo_id, photo.placeholder,
           derivative.variant, derivative.storage_key, derivative.width, derivative.height
    FROM unnest(CAST(:types AS text[]), CAST(:ids AS uuid[])) AS wanted (source_type, source_id)
    JOIN photo_link AS link ON link.source_type = wanted.source_type AND link.source_id = wanted.source_id
    JOIN photo ON photo.id = link.photo_id
    JOIN derivative ON derivative.photo_id = photo.id AND derivative.variant = 'thumb'
    ORDER BY link.source_type, link.source_id, photo.created_at, photo.id
    """
)
