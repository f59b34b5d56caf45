"""How far a photo bears out the entry it came with: a score with its reasons, never a verdict by itself. Pure.

Every reason is for a human to weigh: clocks are wrong, pictures are sent on by honest people, and a photo without a
place is the rule, not the exception. What each weighs is data (`photo_rule_set`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from backend.kinds.geodesy import distance_m

FULL = 100

Point = tuple[float, float]
"""Latitude and longitude in degrees of WGS-84."""


class Code(StrEnum):
    """What speaks for or against a photo."""

    TIME_FITS = "time_fits"
    TIME_MISSING = "time_missing"
    TIME_EARLIER = "time_earlier"
    TIME_LATER = "time_later"
    CLOCK_OFF = "clock_off"
    PLACE_FITS = "place_fits"
    PLACE_MISSING = "place_missing"
    PLACE_FAR = "place_far"
    PLACE_OUT_OF_GRID = "place_out_of_grid"
    REUSED_SAME = "reused_same"
    REUSED_NEAR = "reused_near"
    LITTLE_DETAIL = "little_detail"


TEXTS: dict[Code, tuple[str, str]] = {
    Code.TIME_FITS: ("拍摄时间与采集时间相符", "Taken when the entry was made"),
    Code.TIME_MISSING: ("照片没有拍摄时间", "The photo names no time"),
    Code.TIME_EARLIER: ("拍摄时间早于采集时间", "Taken before the entry was made"),
    Code.TIME_LATER: ("拍摄时间晚于采集时间", "Taken after the entry was made"),
    Code.CLOCK_OFF: ("手持终端时钟不准，已按偏差折算", "The handheld's clock was off; times were corrected by that"),
    Code.PLACE_FITS: ("拍摄地点与采集地点相符", "Taken where the entry is"),
    Code.PLACE_MISSING: ("照片没有拍摄地点", "The photo names no place"),
    Code.PLACE_FAR: ("拍摄地点远离采集地点", "Taken far from the entry's place"),
    Code.PLACE_OUT_OF_GRID: ("拍摄地点不在该网格内", "Taken outside the entry's grid"),
    Code.REUSED_SAME: ("与更早记录的照片完全相同", "The very photo of an older entry"),
    Code.REUSED_NEAR: ("与更早记录的照片几乎相同", "Nearly the photo of an older entry"),
    Code.LITTLE_DETAIL: ("画面细节过少，无法查重", "Too little detail to find it again"),
}


class Rules(BaseModel):
    """Limits and weights of one rule set. A weight is what a reason takes from the full score."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time_tolerance_minutes: int
    clock_tolerance_seconds: int
    place_tolerance_m: int
    near_bits: int
    least_detail: int
    weights: dict[Code, int]


@dataclass(frozen=True, slots=True)
class Twin:
    """A photo of an older entry that looks the same: how many bits of 256 differ, and where it came from."""

    photo_id: UUID
    bits: int
    same_bytes: bool
    source_type: str
    source_id: UUID
    by_another: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a photo and of its entry.

    Times are as claimed; `skew` is how far the handheld's clock was ahead.
    `entry_made_by_handheld`: the entry's time was read from the same clock as the photo's, so both are off alike.
    """

    taken_at: datetime | None
    place: Point | None
    place_grid: str | None
    entry_at: datetime
    entry_made_by_handheld: bool
    entry_place: Point | None
    entry_grid: str | None
    skew: timedelta
    detail: int
    twins: Sequence[Twin] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: a code, and what was measured (whole numbers, ids and codes only)."""

    code: Code
    weight: int
    measured: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Assessment:
    """From 0 to 100, where 100 says that nothing speaks against the photo."""

    score: int
    reasons: tuple[Reason, ...]


def assess(facts: Facts, rules: Rules) -> Assessment:
    """Weigh a photo against its entry."""
    reasons = tuple(
        Reason(code, rules.weights.get(code, 0), measured)
        for part in (_time, _place, _twins)
        for code, measured in part(facts, rules)
    )
    return Assessment(max(0, FULL - sum(reason.weight for reason in reasons)), reasons)


Found = Iterator[tuple[Code, dict[str, Any]]]


def _time(facts: Facts, rules: Rules) -> Found:
    """EXIF time against the entry's, each as the server's clock would have read."""
    if abs(facts.skew.total_seconds()) > rules.clock_tolerance_seconds:
        yield Code.CLOCK_OFF, {"skew_seconds": round(facts.skew.total_seconds())}
    if facts.taken_at is None:
        yield Code.TIME_MISSING, {}
        return
    ahead = facts.taken_at - facts.entry_at
    if not facts.entry_made_by_handheld:
        ahead -= facts.skew
    minutes = round(ahead.total_seconds() / 60)
    if abs(minutes) <= rules.time_tolerance_minutes:
        yield Code.TIME_FITS, {"minutes": minutes}
    else:
        yield Code.TIME_LATER if minutes > 0 else Code.TIME_EARLIER, {"minutes": abs(minutes)}


def _place(facts: Facts, rules: Rules) -> Found:
    if facts.place is None:
        yield Code.PLACE_MISSING, {}
        return
    fits = True
    if facts.entry_grid is not None and facts.place_grid != facts.entry_grid:
        fits = False
        yield Code.PLACE_OUT_OF_GRID, {"grid": facts.place_grid}
    if facts.entry_place is not None:
        metres = round(distance_m(facts.place, facts.entry_place))
        if metres > rules.place_tolerance_m:
            fits = False
            yield Code.PLACE_FAR, {"metres": metres}
    if fits:
        yield Code.PLACE_FITS, {}


def _twins(facts: Facts, rules: Rules) -> Found:
    """The likest older photo counts; the others are named with it."""
    if facts.detail < rules.least_detail:
        yield Code.LITTLE_DETAIL, {"detail": facts.detail}
    if not facts.twins:
        return
    first = min(facts.twins, key=lambda twin: (not twin.same_bytes, twin.bits, twin.at))
    code = Code.REUSED_SAME if first.same_bytes else Code.REUSED_NEAR
    yield (
        code,
        {
            "bits": first.bits,
            "photo_id": str(first.photo_id),
            "source_type": first.source_type,
            "source_id": str(first.source_id),
            "by_another": first.by_another,
            "older": len({twin.source_id for twin in facts.twins}),
        },
    )
