"""The searcher behind `make canaries` finds what was planted, wherever and however, and nothing else."""

import random
from pathlib import Path

import pytest
from stdnum.cn import ric

from bench.canary import search as file_search
from bench.canary.needles import Searcher, writings_of
from bench.canary.people import MOST, corners, identity
from bench.canary.places import Place

SOME = [identity(number) for number in (0, 1, 77, 9_999, MOST - 1)]
VALUES = [
    pytest.param(one.number, field, writing, id=f"{field}-{one.number}-{place}")
    for one in SOME
    for field, writings in one.values().items()
    for place, writing in enumerate(writings)
]


def test_id_numbers_are_valid_and_all_values_are_distinct() -> None:
    everyone = [identity(number) for number in range(MOST)]
    for field in ("name", "id_number", "phone", "address", "lat", "lon"):
        assert len({getattr(one, field) for one in everyone}) == MOST
    assert all(ric.calc_check_digit(one.id_number) == one.id_number[-1] for one in everyone)


@pytest.mark.parametrize(("number", "field", "writing"), VALUES)
def test_a_planted_value_is_found_in_every_encoding(number: int, field: str, writing: str) -> None:
    searcher = Searcher(SOME)
    noise = random.Random(7).randbytes(500)
    for encoding, written in writings_of(writing):
        if encoding.startswith("base64") and field in ("lat", "lon"):
            continue
        found = searcher.search(noise + b"\0" + written + b"\0" + noise)
        assert (field, number) in {(one.field, one.number) for one in found}, encoding


@pytest.mark.parametrize("shift", range(3))
def test_a_place_is_found_in_base64(shift: int) -> None:
    import base64

    one = SOME[3]
    written = base64.b64encode(b"x" * shift + f'{{"lat":{one.lat},"lon":{one.lon}}}'.encode())
    assert {found.number for found in Searcher(SOME).search(written)} == {one.number}


def test_marks_of_other_people_and_random_digits_are_no_sightings() -> None:
    strangers = "".join(identity(number).text() for number in range(100, 140))
    digits = "".join(random.Random(3).choices("0123456789", k=200_000))
    assert Searcher(SOME).search(f"{strangers}{digits}".encode()) == []
    assert Searcher(SOME).search(f"a{SOME[3].phone}".encode()) == []


def test_the_seconds_of_a_time_are_no_latitude_and_a_latitude_after_a_colon_is() -> None:
    one = SOME[3]
    degrees = f"{one.lat / 1e7:.6f}"
    assert Searcher(SOME).search(f"2026-11-25 23:44:{degrees}+00".encode()) == []
    for writing in (f'{{"lat":{degrees}}}', f"lat: {degrees}", f"lat:{degrees}"):
        assert [found.field for found in Searcher(SOME).search(writing.encode())] == ["lat"], writing


def test_masked_writings_are_no_sightings() -> None:
    from backend.services import masking

    for one in SOME:
        masked = [
            masking.mask_name(one.name),
            masking.mask_id_number(one.id_number),
            masking.mask_phone(one.phone),
            masking.mask_address(one.address),
            masking.mask_date(one.birth_date),
        ]
        assert Searcher(SOME).search("，".join(masked).encode()) == []


def test_a_sighting_is_told_by_its_place_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_search, "CHUNK", 1000)
    file = tmp_path / "dump"
    file.write_bytes(b"." * 2345 + SOME[2].phone.encode() + b"." * 400)
    file_search._begin([SOME[2].number], {})
    pieces = list(file_search._pieces([Place("here", (file,))]))
    assert [found.sighting.offset for found in file_search._search(pieces)] == [2345]


def test_no_canary_lives_at_a_corner_of_a_grid() -> None:
    lats, lons = corners()
    everyone = [identity(number).values() for number in range(MOST)]
    assert lats
    assert not any(lats.intersection(one["lat"]) for one in everyone)
    assert lons
    assert not any(lons.intersection(one["lon"]) for one in everyone)
