"""Quarantined rows: whole for their author, each part under the human it is about, gone with that human's key."""

import json
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import Session

from backend.core.enums import Kind
from backend.core.ids import new_id
from backend.services import sealing
from backend.services.quarantined import QuarantinedRow, open_all, seal_all
from backend.services.sealing import Vault, human

DOCUMENT = UUID(int=7)
PERSON = {"id": "x", "name": "绝密甲", "id_type": "citizen_id", "id_number": "P1"}
OWNER = {"name": "绝密乙", "id_type": "citizen_id", "id_number": "P2"}
TENANT = {"id": "a", "name": "绝密丙", "id_type": "citizen_id", "id_number": "P3"}
NAMELESS = {"id": "b", "name": "绝密丁"}
HOUSE = {"address": "合成路1号", "owner": OWNER, "tenants": [TENANT, NAMELESS], "area_dm2": 1}


def keep(session: Session, kind: Kind, content: bytes, document_id: UUID | None = DOCUMENT) -> tuple[UUID, bytes]:
    row = QuarantinedRow(new_id(), kind, document_id, content)
    [payload] = seal_all(Vault(session), [row])
    assert "绝密".encode() not in payload
    return row.id, payload


def row(**states: Any) -> bytes:
    return json.dumps(states, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("kind", "content", "subjects"),
    [
        (Kind.PERSON, row(newDocumentState=PERSON), {"P1"}),
        (Kind.PERSON, row(newDocumentState={"name": "绝密"}), {DOCUMENT}),
        (Kind.PERSON, row(newDocumentState=5, other="绝密"), {DOCUMENT}),
        (Kind.PERSON, b'{"newDocumentState": {"name": "\xff', {DOCUMENT}),
        (
            Kind.PERSON,
            row(newDocumentState=PERSON, assumedMasterState={**PERSON, "id_number": "P9"}),
            {"P1", "P9"},
        ),
        (
            Kind.HOUSE,
            row(newDocumentState=HOUSE, assumedMasterState={"owner": OWNER}, unknown=[1]),
            {DOCUMENT, "P2", "P3"},
        ),
        (Kind.HOUSE, row(newDocumentState={"owner": "绝密", "tenants": [5, None]}), {DOCUMENT}),
    ],
    ids=["person", "no number", "no row", "no JSON", "number corrected", "house", "wrong types"],
)
def test_a_row_is_whole_again_and_sealed_under_whom_it_names(
    session: Session, kind: Kind, content: bytes, subjects: set[str | UUID]
) -> None:
    row_id, payload = keep(session, kind, content)
    named = {human("citizen_id", one) if isinstance(one, str) else one.bytes for one in subjects}
    assert sealing.subjects_in([payload]) == named
    opened = open_all(session, {row_id: payload})[row_id]
    try:
        assert opened == json.loads(content)
    except ValueError:
        assert opened == content.decode(errors="replace")


def test_a_row_without_any_id_is_its_own_subject(session: Session) -> None:
    row_id, payload = keep(session, Kind.PERSON, b"no row", document_id=None)
    assert sealing.subjects_in([payload]) == {row_id.bytes}


def test_erasing_a_human_leaves_the_rest_of_the_row(session: Session) -> None:
    row_id, payload = keep(session, Kind.HOUSE, row(newDocumentState=HOUSE))
    sealing.destroy_keys(session, [human("citizen_id", "P2"), human("citizen_id", "P3")])
    left = {"address": "合成路1号", "tenants": [NAMELESS], "area_dm2": 1}
    assert open_all(session, {row_id: payload}) == {row_id: {"newDocumentState": left}}


def test_of_an_erased_human_nothing_new_is_kept(session: Session) -> None:
    sealing.destroy_keys(session, [human("citizen_id", "P1"), human("citizen_id", "P2")])
    row_id, payload = keep(session, Kind.PERSON, row(newDocumentState=PERSON))
    assert open_all(session, {row_id: payload}) == {row_id: None}
    house_id, payload = keep(session, Kind.HOUSE, row(newDocumentState={"address": "合成路1号", "owner": OWNER}))
    assert open_all(session, {house_id: payload}) == {house_id: {"newDocumentState": {"address": "合成路1号"}}}
