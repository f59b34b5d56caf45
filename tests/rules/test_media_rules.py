"""Pure rules of the media room."""

import base64
from contextlib import suppress
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.enums import PhotoState
from media.rules import (
    FAILURE_TEXTS,
    BadHeader,
    Failure,
    completeness,
    format_metadata,
    parse_checksum,
    parse_count,
    parse_declared,
    parse_metadata,
    parse_range,
)

PHOTO = "0198c3a0-0000-7000-8000-000000000001"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_metadata_is_read_as_tus_clients_write_it() -> None:
    header = f"photo_id {encoded(PHOTO)}, filename {encoded('../../etc/passwd')},is_private"
    assert parse_metadata(header) == {"photo_id": PHOTO, "filename": "../../etc/passwd", "is_private": ""}


@pytest.mark.parametrize("header", ["photo_id !!!", "photo_id /w==", f"a {encoded('1')},a {encoded('2')}"])
def test_unreadable_metadata_is_refused(header: str) -> None:
    with pytest.raises(BadHeader):
        parse_metadata(header)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), st.text(max_size=40), max_size=5))
def test_metadata_survives_a_round_trip(values: dict[str, str]) -> None:
    assert parse_metadata(format_metadata(values)) == values


@given(st.text(max_size=200))
def test_any_metadata_is_read_or_refused(header: str) -> None:
    with suppress(BadHeader):
        assert all(isinstance(value, str) for value in parse_metadata(header).values())


def test_a_declaration_takes_id_digest_and_type_and_never_a_name() -> None:
    values = {"photo_id": PHOTO, "sha256": SHA256.upper(), "filetype": "image/jpeg", "filename": "../../etc"}
    declared = parse_declared(values, size=5)
    assert declared.photo_id == UUID(PHOTO)
    assert (declared.sha256, declared.size, declared.mime) == (SHA256, 5, "image/jpeg")


@pytest.mark.parametrize("mime", ["", "image/jpeg\r\nSet-Cookie: a=b", "x" * 200, "图片"])
def test_a_strange_type_is_replaced(mime: str) -> None:
    declared = parse_declared({"photo_id": PHOTO, "sha256": SHA256, "mime": mime}, size=5)
    assert declared.mime == "application/octet-stream"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"photo_id": PHOTO},
        {"photo_id": "../../etc", "sha256": SHA256},
        {"photo_id": PHOTO, "sha256": SHA256[:-1]},
        {"photo_id": PHOTO, "sha256": SHA256 + "\n"},
    ],
)
def test_an_incomplete_declaration_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(BadHeader):
        parse_declared(values, size=5)


@pytest.mark.parametrize("text", [None, "", "-1", "1.5", "٣", "1" * 16, "0x10", " 5"])
def test_an_odd_count_of_bytes_is_refused(text: str | None) -> None:
    with pytest.raises(BadHeader):
        parse_count(text, name="Upload-Length")


def test_checksums_of_both_algorithms_are_read() -> None:
    assert parse_checksum(None) is None
    for algorithm, length in (("sha1", 20), ("sha256", 32)):
        found = parse_checksum(f"{algorithm} {base64.b64encode(bytes(length)).decode()}")
        assert found is not None
        assert (found.algorithm, found.digest) == (algorithm, bytes(length))


@pytest.mark.parametrize("header", ["md5 AAAA", "sha1 AAAA", "sha1", "sha256 ***", "sha1 \x80"])
def test_a_checksum_that_cannot_be_checked_is_refused(header: str) -> None:
    with pytest.raises(BadHeader):
        parse_checksum(header)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=4-400", (4, 10)),
        (None, None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=1-2", None),
    ],
)
def test_ranges_are_read_as_rfc_9110_says(header: str | None, expected: tuple[int, int] | None) -> None:
    assert parse_range(header, size=10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=5-4", "bytes=-0"])
def test_a_range_outside_is_told(header: str) -> None:
    with pytest.raises(ValueError, match="outside"):
        parse_range(header, size=10)


def test_completeness_counts_every_named_photo_once() -> None:
    counts = completeness([None, PhotoState.EXPECTED, PhotoState.RECEIVED, PhotoState.PROCESSED, PhotoState.FAILED])
    assert (counts.expected, counts.received, counts.processed, counts.failed) == (5, 3, 1, 1)
    assert not counts.complete
    assert completeness([]).complete
    assert completeness([PhotoState.FAILED]).complete


def test_every_failure_has_words_in_both_languages() -> None:
    assert set(FAILURE_TEXTS) == set(Failure)
    assert all(len(failure.value) <= 32 for failure in Failure)
    assert all(zh and en for zh, en in FAILURE_TEXTS.values())
