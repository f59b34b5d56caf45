"""The score of a photo: each reason found where it belongs, weighed as the rule set says, and nothing else."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from backend.seed.territory import DATA
from media.evidence import bands
from media.evidence.rules import TEXTS, Code, Facts, Rules, Twin, assess

RULES = Rules.model_validate(json.loads((DATA / "photo_rules_1.json").read_text(encoding="utf-8")))
NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
HERE = (22.6, 114.05)
GRID, OTHER_GRID = "440305001001001", "440305001001002"
GOOD = Facts(
    taken_at=NOON,
    place=HERE,
    place_grid=GRID,
    entry_at=NOON + timedelta(minutes=5),
    entry_made_by_handheld=True,
    entry_place=HERE,
    entry_grid=GRID,
    skew=timedelta(0),
    detail=80,
)


def codes(facts: Facts) -> set[Code]:
    return {reason.code for reason in assess(facts, RULES).reasons}


def twin(number: int, *, bits: int = 4, same: bool = False, by_another: bool = True) -> Twin:
    return Twin(UUID(int=number), bits, same, "document", UUID(int=1000 + number), by_another, NOON)


def test_a_photo_that_fits_has_the_full_score_and_says_why() -> None:
    found = assess(GOOD, RULES)
    assert found.score == 100
    assert codes(GOOD) == {Code.TIME_FITS, Code.PLACE_FITS}


@pytest.mark.parametrize(
    ("change", "code", "measured"),
    [
        ({"taken_at": None}, Code.TIME_MISSING, {}),
        ({"taken_at": NOON - timedelta(days=3)}, Code.TIME_EARLIER, {"minutes": 3 * 1440 + 5}),
        ({"taken_at": NOON + timedelta(hours=2)}, Code.TIME_LATER, {"minutes": 115}),
        ({"place": None, "place_grid": None}, Code.PLACE_MISSING, {}),
        ({"place": (22.61, 114.05)}, Code.PLACE_FAR, {"metres": 1112}),
        ({"place_grid": OTHER_GRID}, Code.PLACE_OUT_OF_GRID, {"grid": OTHER_GRID}),
        ({"place_grid": None}, Code.PLACE_OUT_OF_GRID, {"grid": None}),
        ({"detail": 3}, Code.LITTLE_DETAIL, {"detail": 3}),
        ({"skew": timedelta(minutes=10)}, Code.CLOCK_OFF, {"skew_seconds": 600}),
    ],
)
def test_each_reason_takes_its_weight(change: dict[str, Any], code: Code, measured: dict[str, object]) -> None:
    found = assess(replace(GOOD, **change), RULES)
    (reason,) = [reason for reason in found.reasons if reason.code is code]
    assert (reason.weight, reason.measured) == (RULES.weights[code], measured)
    assert found.score == 100 - RULES.weights[code]


def test_a_clock_that_is_off_is_taken_into_account_where_the_entrys_time_is_not_of_the_same_clock() -> None:
    ahead = timedelta(hours=8)
    off = replace(GOOD, taken_at=NOON + ahead, skew=ahead, entry_made_by_handheld=False)
    assert Code.TIME_FITS in codes(off)
    assert Code.TIME_LATER in codes(replace(off, skew=timedelta(0)))
    assert Code.TIME_LATER in codes(replace(off, entry_made_by_handheld=True))


def test_the_likest_older_photo_counts_once() -> None:
    found = assess(replace(GOOD, twins=[twin(1, bits=20), twin(2, bits=3), twin(3, bits=9)]), RULES)
    (reason,) = [reason for reason in found.reasons if reason.code is Code.REUSED_NEAR]
    assert reason.measured["photo_id"] == str(UUID(int=2))
    assert (reason.measured["older"], reason.measured["bits"]) == (3, 3)
    assert found.score == 100 - RULES.weights[Code.REUSED_NEAR]
    same = assess(replace(GOOD, twins=[twin(1, bits=0), twin(2, bits=0, same=True)]), RULES)
    assert Code.REUSED_SAME in {reason.code for reason in same.reasons}


def test_a_score_never_falls_below_nothing_and_every_reason_has_its_words() -> None:
    worst = replace(
        GOOD, taken_at=NOON - timedelta(days=9), place=(23.0, 114.05), place_grid=None, detail=0, twins=[twin(1)]
    )
    assert assess(worst, RULES).score == 0
    assert TEXTS.keys() == set(Code)
    assert RULES.near_bits <= bands.FURTHEST


def test_whoever_differs_in_few_bits_shares_a_probe_and_others_hardly_ever() -> None:
    """The claim of multi-index hashing, tried at its edge: two bits in every band but one, which has one."""
    draw = random.Random(5)
    for _ in range(200):
        bits = draw.randbytes(32)
        spread = [place for band in range(16) for place in draw.sample(range(band * 16, band * 16 + 16), 2)]
        changed = int.from_bytes(bits)
        for place in spread[:31]:
            changed ^= 1 << place
        assert set(bands.probes(bits)) & set(bands.keys(changed.to_bytes(32)))
    strangers = sum(
        bool(set(bands.probes(draw.randbytes(32))) & set(bands.keys(draw.randbytes(32)))) for _ in range(2000)
    )
    assert strangers < 40
    assert len(set(bands.probes(bytes(32)))) == 272


def test_bits_are_written_as_the_database_reads_them() -> None:
    assert bands.text(b"\x80" + bytes(30) + b"\x01") == "1" + "0" * 254 + "1"
    assert bands.keys(b"\x80\x00" + bytes(30))[:2] == [0x8000, 0x10000]
