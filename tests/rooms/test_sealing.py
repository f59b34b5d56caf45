"""Personal data at rest: sealed per subject, bound to its row, and gone with its key."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlmodel import Session

from backend.core.clock import now
from backend.core.crypto import Undecipherable, key_ring, parse_master_keys
from backend.core.db import engine_for
from backend.core.enums import Kind
from backend.core.ids import new_id
from backend.models import ErasedSubject, SubjectKey
from backend.services import records, sealing
from backend.services.records import StoredRow, open_rows, seal_rows

PERSON = {"grid_id": "440310001001001", "name": "绝密甲", "id_type": "citizen_id", "id_number": "44030019900101001X"}
HOUSE = {
    "grid_id": "440310001001001",
    "address": "合成路1号",
    "owner": {"name": "绝密乙", "id_type": "citizen_id", "id_number": "1"},
    "tenants": [
        {"id": "a", "name": "绝密丙", "id_type": "citizen_id", "id_number": "2"},
        {"id": "b", "name": "绝密丁"},
    ],
    "location": {"lat": 226900001, "lon": 1143400001},
}


def _round_trip(session: Session, kind: Kind, fields: dict[str, Any]) -> tuple[records.SealedRow, dict[str, Any]]:
    document_id = new_id()
    (row,) = seal_rows(session, [(kind, document_id, fields)])
    (opened,) = open_rows(session, [StoredRow(document_id, row.body, row.sealed)])
    return row, opened


@pytest.mark.parametrize(("kind", "fields"), [(Kind.PERSON, PERSON), (Kind.HOUSE, HOUSE)])
def test_what_is_sealed_opens_again_and_is_not_readable(session: Session, kind: Kind, fields: dict[str, Any]) -> None:
    row, opened = _round_trip(session, kind, fields)
    assert opened == fields
    assert row.sealed is not None
    for stored in (str(row.body).encode(), row.sealed):
        assert "绝密".encode() not in stored
        assert b"226900001" not in stored
        assert b"44030019900101001X" not in stored


def test_the_same_person_sealed_twice_looks_different_in_another_row(session: Session) -> None:
    first, _ = _round_trip(session, Kind.PERSON, PERSON)
    second, _ = _round_trip(session, Kind.PERSON, PERSON)
    assert first.sealed != second.sealed
    assert first.indexes.id_index == second.indexes.id_index, "while the blind index finds both"


def test_a_ciphertext_moved_to_another_row_does_not_open(session: Session) -> None:
    (row,) = seal_rows(session, [(Kind.PERSON, new_id(), PERSON)])
    with pytest.raises(Undecipherable):
        open_rows(session, [StoredRow(new_id(), row.body, row.sealed)])


def test_deleting_a_key_erases_one_human_and_nobody_else(session: Session) -> None:
    document_id = new_id()
    (row,) = seal_rows(session, [(Kind.HOUSE, document_id, HOUSE)])
    assert sealing.destroy_keys(session, [sealing.human("citizen_id", "2")]) == 1
    (opened,) = open_rows(session, [StoredRow(document_id, row.body, row.sealed)])
    assert opened["owner"] == HOUSE["owner"]
    assert [tenant["id"] for tenant in opened["tenants"]] == ["b"]


def test_no_key_is_made_for_an_erased_subject_again(session: Session) -> None:
    gone, other = sealing.human("citizen_id", "gone"), sealing.human("citizen_id", "other")
    blob = sealing.seal_value(session, gone, "绝密", context=b"here")
    assert sealing.destroy_keys(session, [gone]) == 1
    assert sealing.destroy_keys(session, [gone]) == 0, "and running it twice does no harm"
    assert sealing.erased_among(session, [gone, other]) == {gone}
    assert sealing.open_value(session, blob, context=b"here") is None
    with pytest.raises(sealing.SubjectErased) as caught:
        sealing.Vault(session).provide([other, gone])
    assert caught.value.subjects == {gone}
    assert session.get(SubjectKey, gone) is None


def test_a_key_written_beside_an_erasure_is_no_key(session: Session) -> None:
    """A push that began before the erasure may commit its new key after it."""
    gone = sealing.human("citizen_id", "beside")
    blob = sealing.seal_value(session, gone, "绝密", context=b"here")
    session.add(ErasedSubject(subject_id=gone, erased_at=now()))
    session.flush()
    assert sealing.open_value(session, blob, context=b"here") is None
    with pytest.raises(sealing.SubjectErased):
        sealing.seal_value(session, gone, "绝密", context=b"here")
    assert sealing.destroy_keys(session, [gone]) == 1, "the next run takes it away"


def test_the_api_can_not_destroy_keys(database: str) -> None:
    with Session(engine_for("zw_api")) as session, pytest.raises(ProgrammingError, match="permission denied"):
        sealing.destroy_keys(session, [b"x" * 16])
    with Session(engine_for("zw_api")) as session, pytest.raises(ProgrammingError, match="permission denied"):
        session.connection().execute(text("DELETE FROM subject_key"))


def test_one_human_has_one_key_wherever_he_is_named(session: Session) -> None:
    person = {**PERSON, "id_number": "7"}
    house = {**HOUSE, "owner": {"name": "甲", "id_type": "citizen_id", "id_number": "7"}, "tenants": []}
    person_row = seal_rows(session, [(Kind.PERSON, new_id(), person)])[0]
    house_row = seal_rows(session, [(Kind.HOUSE, new_id(), house)])[0]
    subject = sealing.human("citizen_id", "7")
    assert subject in sealing.subjects_in([person_row.sealed])
    assert subject in sealing.subjects_in([house_row.sealed])


def test_blind_indexes_are_blind_to_writing_and_differ_by_purpose() -> None:
    assert records.phone_index("+86 138-0013-8000") == records.phone_index("13800138000")
    assert records.phone_index("x") is None
    assert records.block_index("欧阳娜", "1990-01-01") == records.block_index("欧阳丹", "1990-01-01")
    assert records.block_index("欧阳娜", "1990-01-01") != records.block_index("欧娜", "1990-01-01")
    ring = key_ring()
    assert ring.blind_index("phone", "1") != ring.blind_index("id_number", "1")
    assert ring.blind_index("x", "ab", "c") != ring.blind_index("x", "a", "bc")


def test_an_old_master_key_still_opens_after_a_new_one_seals() -> None:
    old = parse_master_keys("1:" + "A" * 43 + "=")
    both = {**old, **parse_master_keys("2:" + "B" * 42 + "A=")}
    index = b"i" * 32
    key, wrapped = type(key_ring())(old, index).new_wrapped_key(subject=b"s")
    ring = type(key_ring())(both, index)
    assert ring.unwrap(wrapped, subject=b"s") == key
    assert ring.new_wrapped_key(subject=b"s")[1][0] == 2
    with pytest.raises(Undecipherable):
        ring.unwrap(wrapped, subject=b"another")


@pytest.mark.parametrize("keys", ["", "1:AAAA", "0:" + "A" * 43 + "=", "nothing"])
def test_master_keys_that_are_none_are_refused(keys: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the texts differ by library
        parse_master_keys(keys)


def test_a_value_of_its_own_opens_by_its_context(session: Session) -> None:
    subject = UUID(int=1).bytes
    blob = sealing.seal_value(session, subject, {"note": "绝密"}, context=b"here")
    assert "绝密".encode() not in blob
    assert sealing.open_value(session, blob, context=b"here") == {"note": "绝密"}
    assert sealing.open_value(session, None, context=b"here") is None
    with pytest.raises(Undecipherable):
        sealing.open_value(session, blob, context=b"there")
