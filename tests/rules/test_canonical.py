"""Canonical bytes: the vectors of RFC 8785, and what of a document counts."""

import json
import struct

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from sync.canonical import canonical, hash_of

ID = "01a20a4f-01ef-77d1-82aa-d2d92b391549"
SCALARS = st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    SCALARS | TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)


def test_the_example_of_the_rfc() -> None:
    """RFC 8785, 3.2.2 and 3.2.3."""
    document = json.loads(
        r"""{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],
            "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"""
    )
    wanted = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert rfc8785.dumps(document) == wanted.encode()


def test_keys_are_sorted_by_their_utf_16_units() -> None:
    """RFC 8785, 3.2.3: a character beyond the basic plane stands before U+FB33."""
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    written = canonical({"id": ID} | dict.fromkeys(keys, 0)).decode()
    assert [key for key in json.loads(written) if key in keys] == ["\r", "1", "\x80", "ö", "€", "\U0001f600", "\ufb33"]


@pytest.mark.parametrize(
    ("bits", "written"),
    [  # RFC 8785, Appendix B
        (0x0000000000000000, "0"),
        (0x8000000000000000, "0"),
        (0x0000000000000001, "5e-324"),
        (0x7FEFFFFFFFFFFFFF, "1.7976931348623157e+308"),
        (0x4340000000000000, "9007199254740992"),
        (0x4430000000000000, "295147905179352830000"),
        (0x44B52D02C7E14AF5, "9.999999999999997e+22"),
        (0x444B1AE4D6E2EF50, "1e+21"),
        (0x3EB0C6F7A0B5ED8D, "0.000001"),
        (0x41B3DE4355555557, "333333333.33333343"),
    ],
)
def test_numbers_are_written_as_the_rfc_says(bits: int, written: str) -> None:
    (number,) = struct.unpack(">d", struct.pack(">Q", bits))
    assert json.loads(canonical({"id": ID, "n": 0}))["n"] == 0
    assert f'"n":{written}' in canonical({"id": ID, "n": number}).decode()


def test_whole_numbers_are_one_number_however_they_are_written() -> None:
    assert canonical({"id": ID, "lat": 1.0}) == canonical({"id": ID, "lat": 1})


@pytest.mark.parametrize(
    ("number", "written"), [(2**60, "1152921504606847000"), (10**400, "null"), (2**53, "9007199254740992")]
)
def test_numbers_that_a_javascript_client_cannot_hold_are_what_it_makes_of_them(number: int, written: str) -> None:
    assert f'"extra":[{written}]' in canonical({"id": ID, "extra": [number]}).decode()


def test_revision_op_and_the_clients_own_keys_do_not_count() -> None:
    bare = {"id": ID, "name": "合成", "phone": None}
    dressed: dict[str, object] = {**bare, "rev": 7, "op": "x", "_attachments": {}, "_meta": 1, "_deleted": False}
    assert hash_of(bare) == hash_of(dressed)
    assert hash_of(bare) != hash_of({"id": ID, "name": "合成"}), "absent is not null"


def test_all_tombstones_of_a_document_are_alike_and_no_document() -> None:
    assert hash_of({"id": ID, "name": "", "_deleted": True}) == hash_of({"id": ID, "_deleted": True, "op": "x"})
    assert hash_of({"id": ID, "_deleted": True}) != hash_of({"id": ID})


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_what_a_client_reads_and_writes_again_has_the_same_bytes(fields: dict[str, object]) -> None:
    """A JavaScript client knows doubles only; reading our canonical bytes with them must change nothing."""
    written = canonical({**fields, "id": ID, "_deleted": False})
    read = json.loads(written, parse_int=float)
    assert canonical(read) == written
    assert list(json.loads(written)) == sorted(json.loads(written), key=lambda key: key.encode("utf-16-be"))
