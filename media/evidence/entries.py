"""The entries that name a photo: what of them bears on it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from backend.core.enums import Datum, SourceType
from backend.kinds.geodesy import SCALE, to_wgs84
from backend.models import Account, Device, Document, PhotoLink, Report
from backend.services import records
from backend.services.sealing import open_value
from media.evidence.rules import Point

CITIZEN = "WECHAT"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: when, where and by whose hand. `collector` is a login; of a citizen only where it came from."""

    source_type: SourceType
    source_id: UUID
    version: int
    at: datetime
    made_by_handheld: bool
    place: Point | None
    grid_id: str | None
    skew: timedelta
    account_id: UUID | None
    collector: str


def entries_of(session: Session, photo_id: UUID) -> Iterator[Entry]:
    """All living entries that name a photo, the oldest first within their sort."""
    links = session.exec(select(PhotoLink).where(PhotoLink.photo_id == photo_id).order_by(col(PhotoLink.source_id)))
    for link in links.all():
        read = _document if link.source_type is SourceType.DOCUMENT else _report
        entry = read(session, link.source_id)
        if entry is not None:
            yield entry


def _document(session: Session, document_id: UUID) -> Entry | None:
    """A record by its current version. Its time is the handheld's, where it told one."""
    document = session.get(Document, document_id)
    if document is None or document.deleted:
        return None
    (fields,) = records.open_rows(session, [records.StoredRow(document.id, document.body, document.sealed)])
    account = session.get(Account, document.account_id) if document.account_id else None
    device = session.get(Device, document.device_id) if document.device_id else None
    return Entry(
        source_type=SourceType.DOCUMENT,
        source_id=document.id,
        version=document.version,
        at=document.captured_at or document.created_at,
        made_by_handheld=document.captured_at is not None,
        place=point_of(fields.get("location")),
        grid_id=document.grid_id,
        skew=timedelta(milliseconds=device.skew_ms if device else 0),
        account_id=document.account_id,
        collector=account.login if account else "-",
    )


def _report(session: Session, report_id: UUID) -> Entry | None:
    """A citizen's report; its times are the messenger's and ours."""
    report = session.get(Report, report_id)
    if report is None:
        return None
    told = open_value(session, report.sealed, context=report.id.bytes) or {}
    return Entry(
        source_type=SourceType.REPORT,
        source_id=report.id,
        version=report.version,
        at=report.submitted_at or report.opened_at,
        made_by_handheld=False,
        place=point_of(told.get("location")),
        grid_id=report.grid_id,
        skew=timedelta(0),
        account_id=None,
        collector=CITIZEN,
    )


def point_of(location: Any) -> Point | None:
    """A place as records and claims write it, in degrees of WGS-84. None for anything else."""
    if not isinstance(location, Mapping):
        return None
    lat, lon = location.get("lat"), location.get("lon")
    if not isinstance(lat, int) or not isinstance(lon, int):
        return None
    return to_wgs84(lat / SCALE, lon / SCALE, Datum(location.get("datum") or Datum.WGS84))
