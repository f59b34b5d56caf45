"""Claims of photos: read where they make sense, left out where they do not, never an exception."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.exif import Claims, read_claims

PLACE = {1: "N", 2: (22.0, 32.0, 36.0), 3: "E", 4: (114.0, 3.0, 0.0)}


def test_place_is_kept_as_integers_with_its_datum() -> None:
    claims = read_claims({}, {}, PLACE)
    assert (claims.lat, claims.lon, claims.datum) == (225433333, 1140500000, "wgs84")
    assert read_claims({}, {}, {**PLACE, 0x12: "GCJ-02"}).datum == "gcj02"


def test_southern_and_western_places_are_negative() -> None:
    claims = read_claims({}, {}, {**PLACE, 1: "S", 3: "W\0"})
    assert (claims.lat, claims.lon) == (-225433333, -1140500000)


@pytest.mark.parametrize(
    "lie",
    [
        {1: "X"},
        {1: None},
        {2: (float("nan"), 0, 0)},
        {2: (91.0, 0, 0)},
        {2: (1e308, 1e308, 1e308)},
        {2: (22.0, 32.0)},
        {2: 22.5},
        {2: b"abc"},
        {4: ("a", "b", "c")},
    ],
)
def test_an_impossible_place_is_left_out(lie: dict[int, Any]) -> None:
    claims = read_claims({}, {}, {**PLACE, **lie})
    assert (claims.lat, claims.lon, claims.datum) == (None, None, None)


def test_time_is_the_citys_where_the_file_names_no_zone() -> None:
    assert read_claims({}, {0x9003: "2026:03:02 09:12:45"}, {}) == Claims("2026-03-02T09:12:45+08:00")
    with_zone = read_claims({}, {0x9003: "2026:03:02 09:12:45", 0x9011: "-03:30"}, {})
    assert with_zone == Claims("2026-03-02T09:12:45-03:30", offset_known=True)


def test_the_time_of_the_exposure_goes_before_that_of_the_file() -> None:
    assert read_claims({0x0132: "2020:01:01 00:00:00"}, {0x9003: "2026:03:02 09:12:45"}, {}).taken_at is not None
    claims = read_claims({0x0132: "2020:01:01 00:00:00"}, {}, {})
    assert claims.taken_at == "2020-01-01T00:00:00+08:00"


@pytest.mark.parametrize(
    "text", ["0000:00:00 00:00:00", "2026:13:01 00:00:00", "0001:01:01 00:00:00", "9999:12:31 23:59:59", "", 5, b"x"]
)
def test_an_impossible_time_is_left_out_or_exists_in_utc(text: Any) -> None:
    claims = read_claims({}, {0x9003: text, 0x9011: "-12:00"}, {})
    assert claims.taken_at is None or datetime.fromisoformat(claims.taken_at).utctimetuple()


values = st.one_of(st.none(), st.text(), st.binary(), st.floats(), st.integers(), st.tuples(st.floats(), st.floats()))
tags = st.dictionaries(st.sampled_from([1, 2, 3, 4, 0x12, 0x132, 0x9003, 0x9010, 0x9011]), values)


@given(tags, tags, tags)
def test_garbage_never_raises(base: dict[int, Any], detail: dict[int, Any], gps: dict[int, Any]) -> None:
    read_claims(base, detail, gps)
