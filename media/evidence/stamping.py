"""The copy for case files: who took it, when and in which grid, burnt into the picture."""

from collections.abc import Sequence
from uuid import UUID

from sqlmodel import Session, select

from backend.core.clock import CITY_TIME
from backend.models import Case, Derivative, Photo
from media.evidence.entries import Entry
from media.rules import Variant


def due(session: Session, *, photo_id: UUID, entries: Sequence[Entry]) -> Entry | None:
    """The entry whose stamp the photo should bear, where one has a case and the photo has no stamped copy yet."""
    if session.get(Derivative, (photo_id, Variant.STAMPED.value)) is not None:
        return None
    return next((entry for entry in entries if _has_case(session, entry)), None)


def lines_of(photo: Photo, entry: Entry) -> list[str]:
    """What is written on it. A time that the file claims is said to be one; without it the entry's stands there."""
    taken = photo.taken_at
    moment, origin = (taken, "EXIF") if taken is not None else (entry.at, "ENTRY")
    return [
        f"{moment.astimezone(CITY_TIME):%Y-%m-%d %H:%M:%S %z} ({origin})",
        f"GRID {entry.grid_id or '-'}   BY {entry.collector}",
        f"PHOTO {photo.id}",
    ]


def _has_case(session: Session, entry: Entry) -> bool:
    query = select(Case.id).where(Case.source_type == entry.source_type, Case.source_id == entry.source_id).limit(1)
    return session.exec(query).first() is not None
