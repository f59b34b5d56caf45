"""How messages of one citizen become one report. Pure: the clock and the code tables are arguments.

A draft does not depend on the order in which its messages are taken: notes are sorted by when they were sent, of two
places the later one counts, and a confirmation that comes before what it confirms is remembered.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from backend.core.enums import Datum, PhotoState
from backend.kinds.geodesy import SCALE, to_wgs84

MAX_PHOTOS = 20
MAX_NOTES = 50
INCOMPLETE_KEPT = timedelta(hours=24)
CONFIRMATIONS = frozenset({"提交", "完成", "确认", "确认提交"})
PUNCTUATION = " \t\r\n。.!！~～"


@dataclass(frozen=True, slots=True)
class Words:
    """A text."""

    text: str


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The citizen says that the report is complete."""


class Wish(StrEnum):
    """What a citizen may ask of us besides reporting."""

    AGREE = "agree"
    WITHDRAW = "withdraw"
    ERASE = "erase"
    SEE = "see"


WISHES: Mapping[str, Wish] = {
    "同意": Wish.AGREE,
    "撤回同意": Wish.WITHDRAW,
    "删除我的信息": Wish.ERASE,
    "查询我的信息": Wish.SEE,
}
"""The whole text must be one of these, so that a report about somebody's consent is a report."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The citizen asks something about his own data."""

    wish: Wish


@dataclass(frozen=True, slots=True)
class Place:
    """A location in degrees of WGS-84."""

    lat: float
    lon: float


@dataclass(frozen=True, slots=True)
class Picture:
    """A photo that WeChat keeps under this id for three days."""

    media_id: str


@dataclass(frozen=True, slots=True)
class Followed:
    """The citizen began to follow the account."""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A voice message, a sticker, a location out of range: kept as it came, no part of a report."""


Part = Words | Confirmation | Asked | Place | Picture | Followed | Unsupported


@dataclass(frozen=True, slots=True)
class Draft:
    """A report while it grows. Coordinates are integers of 1e-7 degree, WGS-84; times are when messages were sent.

    `settled` says that the window ran out after the last message.
    """

    notes: tuple[tuple[datetime, str], ...] = ()
    located: tuple[datetime, int, int] | None = None
    photos: Mapping[str, PhotoState] = field(default_factory=dict)
    confirmed: bool = False
    settled: bool = False

    @property
    def text(self) -> str:
        """What the citizen wrote, in the order written."""
        return "\n".join(note for _, note in self.notes)

    @property
    def location(self) -> dict[str, Any] | None:
        """The place in the shape of a record's location."""
        if self.located is None:
            return None
        _, lat, lon = self.located
        return {"lat": lat, "lon": lon, "datum": Datum.WGS84.value}

    @property
    def photo_ids(self) -> list[str]:
        """The photos that came or may still come."""
        return sorted(photo for photo, state in self.photos.items() if state is not PhotoState.FAILED)

    @property
    def full(self) -> bool:
        """Whether another message starts another report."""
        return len(self.photos) >= MAX_PHOTOS or len(self.notes) >= MAX_NOTES


@dataclass(frozen=True, slots=True)
class Span:
    """When a report's first and last messages were sent, and the window that joins messages to it."""

    opened_at: datetime
    last_at: datetime
    window: timedelta

    def reaches(self, at: datetime) -> bool:
        """Whether a message sent `at` is near enough."""
        return self.opened_at - self.window <= at <= self.last_at + self.window


def part_of(message: Mapping[str, str]) -> Part:
    """What one WeChat message contributes. Location_X is the latitude, and both are GCJ-02 (domain.md)."""
    match message.get("MsgType"):
        case "text":
            return _words(message.get("Content", ""))
        case "image" if message.get("MediaId"):
            return Picture(message["MediaId"])
        case "location":
            return _place(message.get("Location_X", ""), message.get("Location_Y", ""))
        case "event" if message.get("Event") == "subscribe":
            return Followed()
        case _:
            return Unsupported()


def sent_at(message: Mapping[str, str], *, received_at: datetime) -> datetime:
    """When WeChat says it was sent, never later than it was received; without a sane time, when it was received."""
    text = message.get("CreateTime", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return received_at
    return min(datetime.fromtimestamp(int(text), UTC), received_at)


def with_part(draft: Draft, part: Part, *, at: datetime, photo_id: str) -> Draft:
    """The draft with one more message, sent `at`. `photo_id` names the photo where the message brings one."""
    draft = replace(draft, settled=False)
    match part:
        case Words(text):
            return replace(draft, notes=tuple(sorted({*draft.notes, (at, text)})))
        case Confirmation():
            return replace(draft, confirmed=True)
        case Place(lat, lon):
            here = (at, round(lat * SCALE), round(lon * SCALE))
            return replace(draft, located=max(draft.located or here, here))
        case Picture():
            return replace(draft, photos={photo_id: PhotoState.EXPECTED, **draft.photos})
        case _:
            return draft


def with_photo(draft: Draft, photo_id: str, state: PhotoState) -> Draft:
    """The draft after a photo was fetched or given up."""
    return replace(draft, photos={**draft.photos, photo_id: state})


def missing(draft: Draft) -> list[str]:
    """What a citizen must still send. A photo that is being fetched is not missing."""
    lacks = {"photo": not draft.photo_ids, "location": draft.located is None}
    return [name for name, lacking in lacks.items() if lacking]


def due(draft: Draft) -> bool:
    """Whether the report is to be submitted: a photo is here, the place is known, and the citizen has finished."""
    here = PhotoState.RECEIVED in draft.photos.values()
    return here and draft.located is not None and (draft.confirmed or draft.settled)


def belongs(draft: Draft, part: Part, *, at: datetime, span: Span) -> bool:
    """Whether a message sent `at` is part of this unfinished report.

    It is when sent within the window. Within a day it is also when it is what the citizen was asked for: just what
    the report lacks, or the word that it is complete. What follows that word begins another report, also while a
    photo of this one is still on its way.
    """
    asked_for = span.opened_at <= at <= span.last_at + INCOMPLETE_KEPT
    if isinstance(part, Confirmation):
        return span.reaches(at) or asked_for
    finished = draft.confirmed and not missing(draft) and at >= span.last_at
    if draft.full or finished:
        return False
    brings = {Picture: "photo", Place: "location"}.get(type(part))
    return span.reaches(at) or (asked_for and brings in missing(draft))


def came_late(part: Part, *, at: datetime, span: Span) -> bool:
    """Whether a message belongs to a report that was submitted before the message got here.

    It was sent before the last message of the report, or it says once more that the report is complete.
    """
    return span.reaches(at) and (at < span.last_at or isinstance(part, Confirmation))


def class_of(text: str, keywords: Sequence[tuple[str, str]], *, default: str) -> str:
    """The class of the keyword that stands first in the text; of two at one place the longer; else the default."""
    found = [(text.find(word), -len(word), code) for word, code in keywords if word in text]
    return min(found)[2] if found else default


def masked(text: str) -> str:
    """Free text for people who need no more than to tell reports apart: the first character and the length."""
    return f"{text[:1]}**（共{len(text)}字）" if text else ""


def _words(content: str) -> Part:
    text = content.strip()
    said = text.strip(PUNCTUATION)
    if said in CONFIRMATIONS:
        return Confirmation()
    if said in WISHES:
        return Asked(WISHES[said])
    return Words(text.replace("\x00", "")) if text else Unsupported()


def _place(lat_text: str, lon_text: str) -> Part:
    try:
        lat, lon = float(lat_text), float(lon_text)
    except ValueError:
        return Unsupported()
    if not (math.isfinite(lat) and math.isfinite(lon) and abs(lat) <= 90 and abs(lon) <= 180):
        return Unsupported()
    return Place(*to_wgs84(lat, lon, Datum.GCJ02))
