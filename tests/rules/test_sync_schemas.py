"""Reading a push: a wrong row is kept as a refused one and never fails the batch."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from backend.core.enums import Kind, QuarantineCode
from backend.core.errors import Malformed, NotJson, TooLarge
from backend.core.settings import PROJECT_ROOT
from backend.kinds import KINDS
from sync.schemas import MAX_ROW_BYTES, Incoming, Refused, differs, read_push, tombstone, tombstone_op
from sync.wire import raw_rows

CORPUS = PROJECT_ROOT.parent / "shared" / "corpora" / "json"


def _name(path: Path | None) -> str:
    return path.name if path else "absent"


def _person(**fields: Any) -> dict[str, Any]:
    return {"id": str(uuid4()), "op": str(uuid4()), "grid_id": "440310001001001", "name": "测试", **fields}


def _read(*documents: Any) -> list[Incoming | Refused]:
    body = json.dumps({"rows": [{"newDocumentState": document} for document in documents]}).encode()
    return read_push(Kind.PERSON, body, max_rows=10)


def test_a_valid_row_is_read_with_its_fields_and_without_its_envelope() -> None:
    (row,) = _read(_person(rev=7, _attachments={}))
    assert isinstance(row, Incoming)
    assert row.state.fields == {"grid_id": "440310001001001", "name": "测试"}


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"id": "x"}, QuarantineCode.INVALID),
        (["no object"], QuarantineCode.INVALID),
        (_person(name=5), QuarantineCode.INVALID),
        (_person(grid_id="1"), QuarantineCode.INVALID),
        (_person(_deleted="yes"), QuarantineCode.INVALID),
        (_person(name="a\0b"), QuarantineCode.UNREADABLE),
        (_person(name="\ud800"), QuarantineCode.UNREADABLE),
        (_person(remark="x" * MAX_ROW_BYTES), QuarantineCode.ROW_TOO_LARGE),
    ],
)
def test_a_wrong_row_is_refused_alone(document: Any, code: QuarantineCode) -> None:
    good, bad, last = _read(_person(), document, _person())
    assert isinstance(good, Incoming)
    assert isinstance(last, Incoming)
    assert isinstance(bad, Refused)
    assert bad.code is code
    assert bad.content


def test_a_backslash_before_u0000_is_text_and_no_nul() -> None:
    (row,) = _read(_person(name="\\u0000"))
    assert isinstance(row, Incoming)


@pytest.mark.parametrize("body", [b"", b"{", b'{"rows":[NaN]}', b"\xff", b'{"rows":' + b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused_whole(body: bytes) -> None:
    with pytest.raises(NotJson):
        read_push(Kind.PERSON, body, max_rows=10)


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"rows":1}', b"null"])
def test_a_body_without_rows_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_push(Kind.PERSON, body, max_rows=10)


def test_too_many_rows_are_refused_before_any_is_read() -> None:
    with pytest.raises(TooLarge):
        read_push(Kind.PERSON, b'{"rows":[' + b",".join([b"{}"] * 11) + b"]}", max_rows=10)


def test_a_gcj02_location_is_stored_as_wgs84() -> None:
    event = {
        **_person(),
        "class_code": "0101",
        "occurred_at": "2026-01-01T00:00:00Z",
        "location": {"lat": 225403828, "lon": 1140630140, "datum": "gcj02"},
    }
    body = json.dumps({"rows": [{"newDocumentState": event}]}).encode()
    (row,) = read_push(Kind.EVENT, body, max_rows=1)
    assert isinstance(row, Incoming)
    location = row.state.fields["location"]
    assert location["datum"] == "wgs84"
    assert abs(location["lat"] - 225431000) < 10
    assert abs(location["lon"] - 1140579000) < 10


@pytest.mark.parametrize(
    "fields",
    [
        {"captured_at": 1700000000},
        {"captured_at": "1700000000"},
        {"captured_at": "2026-01-01T00:00:00+16:00"},
        {"captured_at": "2026-01-01T00:00:00+23:59"},
        {"captured_at": "2026-01-01T00:00:00\u221208:00"},
        {"captured_at": "2026-02-30T00:00:00Z"},
        {"captured_at": "0001-01-01T00:00:00+14:00"},
        {"photos": [{"photo_id": str(UUID(int=1)), "sha256": "0" * 64, "size": 2**63, "mime": "image/jpeg"}]},
        {"unknown": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]},
        {"grid_id": "４４０３１０００１００１００１"},
    ],
)
def test_what_no_database_could_hold_is_refused_with_the_row(fields: dict[str, Any]) -> None:
    (row,) = _read(_person(**fields))
    assert isinstance(row, Refused)
    assert row.code is QuarantineCode.INVALID
    assert row.id is not None


@pytest.mark.parametrize(
    "moment", ["2026-01-01T00:00:00Z", "2026-01-01T08:00:00.123+08:00", "2016-01-01T00:00:00-12:00"]
)
def test_times_as_clients_write_them_are_taken(moment: str) -> None:
    (row,) = _read(_person(captured_at=moment))
    assert isinstance(row, Incoming)
    assert row.state.fields["captured_at"] == moment


@pytest.mark.parametrize("location", [{"datum": "gcj02"}, {"datum": "foo", "lat": 1, "lon": 1}, {"datum": ["x"]}, 5])
def test_a_location_on_a_kind_without_one_is_an_unknown_field(location: Any) -> None:
    (row,) = _read(_person(location=location))
    assert isinstance(row, Incoming)
    assert row.state.fields["location"] == location


def test_one_deeply_nested_row_costs_the_others_nothing() -> None:
    deep = b'{"newDocumentState":{"id":"%s","op":"%s","x":%s}}' % (
        str(uuid4()).encode(),
        str(uuid4()).encode(),
        b"[" * 5000 + b"]" * 5000,
    )
    good = msgspec.json.encode({"newDocumentState": _person(name='tricky ],}"[')})
    first, bad, last = read_push(Kind.PERSON, b'{"rows": [%s , %s,%s]}' % (good, deep, good), max_rows=10)
    assert isinstance(first, Incoming)
    assert isinstance(last, Incoming)
    assert isinstance(bad, Refused)
    assert bad.code is QuarantineCode.UNREADABLE
    assert bad.id is not None


@pytest.mark.parametrize(
    "odd",
    [_person(name="\ud800"), _person(remark="x" * MAX_ROW_BYTES), _person(name="\0")],
    ids=["lone", "large", "nul"],
)
def test_a_row_that_can_not_be_read_still_has_its_name(odd: dict[str, Any]) -> None:
    (row,) = _read(odd)
    assert isinstance(row, Refused)
    assert (str(row.id), str(row.op)) == (odd["id"], odd["op"])


def test_a_tombstone_blanks_every_required_field_and_has_an_op_of_its_own() -> None:
    for kind, spec in KINDS.items():
        op = uuid4()
        dead = tombstone(kind, uuid4(), version=3, op=op)
        required = spec.model.model_json_schema()["required"]
        assert all(not dead[name] or name == "location" for name in required)
        assert dead["_deleted"] is True
        assert dead["op"] == str(tombstone_op(op)) != str(op)


def test_rev_and_library_keys_make_no_difference_but_op_does() -> None:
    document = {"id": "1", "name": "a", "op": "x", "rev": 1, "_deleted": False}
    assert not differs({**document, "rev": 9, "_attachments": {}}, document)
    assert differs({**document, "op": "y"}, document)
    assert differs({**document, "name": None}, document)


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.json")) if CORPUS.exists() else [None], ids=_name)
def test_the_public_json_corpus_never_breaks_a_batch(path: Path | None) -> None:
    if path is None:
        pytest.skip("public JSON corpus is not beside this checkout")
    value = path.read_bytes()
    body = b'{"rows":[{"newDocumentState":%s},{"newDocumentState":%s}]}' % (value, msgspec.json.encode(_person()))
    try:
        rows = read_push(Kind.PERSON, body, max_rows=10)
    except (NotJson, Malformed):
        return
    assert isinstance(rows[0], Refused)
    assert isinstance(rows[-1], Incoming)


@pytest.mark.parametrize("text", ['a"]},{b', "反斜杠\\", '\\"', "[{,}]"])
def test_brackets_and_quotes_inside_text_do_not_cut_a_deep_body(text: str) -> None:
    deep = b"[" * 3000 + b"]" * 3000
    body = b'{"rows":[{"x":' + deep + b"}," + json.dumps({"name": text}).encode() + b',{"last":1}]}'
    assert [row[:9] for row in raw_rows(body)][1:] == [json.dumps({"name": text}).encode()[:9], b'{"last":1']
