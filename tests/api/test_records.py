"""Records for the offices: masked, in the clear for a reason, found by a whole number. People are synthetic."""

from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.core.enums import CaseState, Kind, Role, SourceType, VerdictKind
from backend.core.ids import new_id
from backend.kinds import Identity
from backend.models import AuditEntry, Case, Document, RegistrationStandard, Unmasking, Verdict
from backend.services.records import id_index
from backend.services.sealing import destroy_keys, human, open_value
from tests.world import Handheld, Json, World, document

NUMBER = "44030019900101001X"
PERSON: Json = {
    "name": "欧阳绝密",
    "id_type": "citizen_id",
    "id_number": NUMBER,
    "sex": "male",
    "birth_date": "1990-01-01",
    "phone": "13800138000",
    "registered_address": "合成市绝密街道绝密路1号",
}
MASKED = {
    "name": "欧阳**",
    "id_type": "citizen_id",
    "id_number": "4403**********001X",
    "sex": "male",
    "birth_date": "1990-**-**",
    "phone": "138****8000",
    "registered_address": "合成市绝***",
}
OWNER = {"name": "绝密主", "id_type": "citizen_id", "id_number": NUMBER, "phone": "13900139000"}
WHY: Json = {"reason": "handling_case", "note": "回访绝密当事人"}


@pytest.fixture
def handheld(world: World) -> Handheld:
    return world.handheld()


@pytest.fixture
def person(handheld: Handheld) -> Json:
    """A person in the worker's grid, as it was pushed."""
    pushed = document(handheld.grids()[0], **PERSON)
    assert handheld.push("person", pushed) == []
    return pushed


def headers(world: World, login: str) -> dict[str, str]:
    entry = world.logins[login]
    answer = world.client.post("/auth/v1/login", json={"login": login, "password": entry.password})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def read(api: TestClient, who: dict[str, str], document_id: str) -> Any:
    return api.get(f"/records/v1/documents/{document_id}", headers=who)


def unmask(api: TestClient, who: dict[str, str], document_id: str, *fields: str, **more: Any) -> Any:
    body = {"fields": list(fields), **WHY, **more}
    return api.post(f"/records/v1/documents/{document_id}/unmask", json=body, headers=who)


def search(api: TestClient, who: dict[str, str], **wanted: str) -> Any:
    return api.post("/records/v1/search", json=wanted, headers=who)


def audited(action: str) -> list[AuditEntry]:
    with Session(engine_for("zw_worker")) as session:
        return list(session.exec(select(AuditEntry).where(AuditEntry.action == action)))


def test_the_offices_see_masked_what_the_worker_sees_as_it_is(
    api: TestClient, world: World, handheld: Handheld, person: Json
) -> None:
    answer = read(api, headers(world, "supervisor"), person["id"])
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    record = answer.json()
    assert (record["kind"], record["masked"], record["version"]) == ("person", True, 1)
    assert {name: record["fields"][name] for name in MASKED} == MASKED
    assert "绝密" not in answer.text
    own = read(api, handheld.headers, person["id"]).json()
    assert own["masked"] is False
    assert {name: own["fields"][name] for name in PERSON} == PERSON


def test_people_inside_a_house_are_masked_part_by_part(api: TestClient, world: World, handheld: Handheld) -> None:
    tenant = {"id": str(new_id()), "name": "绝密客", "phone": "13700137000"}
    location = {"lat": 226900001, "lon": 1143400001}
    pushed = document(handheld.grids()[0], address="合成路1号", owner=OWNER, tenants=[tenant], location=location)
    assert handheld.push("house", pushed) == []
    answer = read(api, headers(world, "steward"), pushed["id"])
    assert "绝密" not in answer.text
    fields = answer.json()["fields"]
    assert fields["owner"] == {
        "name": "绝**",
        "id_type": "citizen_id",
        "id_number": MASKED["id_number"],
        "phone": "139****9000",
    }
    assert (fields["tenants"][0]["name"], fields["tenants"][0]["phone"]) == ("绝**", "137****7000")
    assert (fields["address"], fields["location"]) == ("合成路1号", "***"), "the home's exact place is personal"
    shown = unmask(api, headers(world, "steward"), pushed["id"], "owner.phone", "tenants.name", "location").json()
    values = shown["values"]
    assert (values["owner.phone"], values["tenants.name"]) == ("13900139000", ["绝密客"])
    assert values["location"].items() >= location.items()


def test_what_is_looked_at_in_the_clear_leaves_a_trace_without_the_values(
    api: TestClient, world: World, person: Json
) -> None:
    answer = unmask(api, headers(world, "supervisor"), person["id"], "name", "phone", "employer")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.json()["values"] == {"name": PERSON["name"], "phone": PERSON["phone"]}
    [entry] = audited("fields_unmasked")
    assert (entry.object_type, entry.object_id) == ("document", person["id"])
    unmasking_id = answer.json()["unmasking_id"]
    named = {"field_1": "name", "field_2": "phone", "field_3": "employer"}
    assert entry.detail == {"unmasking": unmasking_id, "reason": "handling_case", **named}
    with transaction(engine_for("zw_worker")) as session:
        kept = session.get_one(Unmasking, UUID(unmasking_id))
        assert (kept.fields, kept.reason) == (["name", "phone", "employer"], "handling_case")
        assert "绝密".encode() not in kept.note
        assert open_value(session, kept.note, context=kept.id.bytes) == WHY["note"]
        destroy_keys(session, [human("citizen_id", NUMBER)])
        assert open_value(session, kept.note, context=kept.id.bytes) is None, "it goes with the person"


NO_REASON: list[Json] = [
    {"fields": ["name"], "reason": "handling_case"},
    {"fields": ["name"], "reason": "curiosity", "note": "看看而已"},
    {"fields": ["name"], "reason": "handling_case", "note": "  x  "},
    {"fields": [], **WHY},
    {"fields": ["name"] * 21, **WHY},
    {"fields": ["religion"], **WHY},
    {"fields": ["name.first"], **WHY},
    {"fields": [NUMBER], **WHY},
]


def test_without_a_reason_or_for_an_unknown_field_nothing_is_shown(api: TestClient, world: World, person: Json) -> None:
    path, supervisor = f"/records/v1/documents/{person['id']}/unmask", headers(world, "supervisor")
    for body in NO_REASON:
        answer = api.post(path, json=body, headers=supervisor)
        assert (answer.status_code, answer.json()["code"]) == (422, "malformed"), body
        assert "绝密" not in answer.text
        assert NUMBER not in answer.text
    assert audited("fields_unmasked") == []


@pytest.mark.parametrize("login", ["operator", "handler-police"])
def test_who_has_no_right_or_no_case_sees_nothing_in_the_clear(
    api: TestClient, world: World, handheld: Handheld, person: Json, login: str
) -> None:
    expected = {"operator": 403, "handler-police": 404}[login]
    assert unmask(api, headers(world, login), person["id"], "name").status_code == expected
    assert unmask(api, handheld.headers, person["id"], "name").status_code == 403


def case_about(person: Json, grid_id: str, *, department: str) -> UUID:
    with transaction(engine_for("zw_worker")) as session:
        standard = session.exec(select(RegistrationStandard)).first()
        assert standard is not None
        verdict_id, moment = new_id(), now()
        source: Json = {"source_type": SourceType.DOCUMENT, "source_id": UUID(person["id"]), "source_version": 1}
        session.add(
            Verdict(
                id=verdict_id,
                **source,
                kind=Kind.PERSON,
                rule_version=1,
                verdict=VerdictKind.NOT_FOUND,
                findings=[],
                snapshots={},
                created_at=moment,
            )
        )
        session.flush()
        case = Case(
            id=new_id(),
            **source,
            rule_version=1,
            verdict_id=verdict_id,
            reason="not_found",
            grid_id=grid_id,
            queue_code="12345-4403",
            standard_scheme=standard.scheme,
            standard_code=standard.code,
            state=CaseState.DISPATCHED,
            department_code=department,
            deadline_at=moment,
            opened_at=moment,
        )
        session.add(case)
        return case.id


def test_a_department_sees_in_the_clear_only_while_it_has_the_case(api: TestClient, world: World, person: Json) -> None:
    police = headers(world, "handler-police")
    assert read(api, police, person["id"]).status_code == 404
    case_id = case_about(person, person["grid_id"], department="public-security")
    assert read(api, police, person["id"]).json()["masked"] is True
    assert unmask(api, police, person["id"], "phone").json()["values"] == {"phone": PERSON["phone"]}
    with transaction(engine_for("zw_worker")) as session:
        session.get_one(Case, case_id).closed_at = now()
    assert read(api, police, person["id"]).status_code == 200
    assert unmask(api, police, person["id"], "phone").status_code == 404
    assert read(api, headers(world, "handler-urban"), person["id"]).status_code == 404


@pytest.mark.parametrize(
    "wanted",
    [{"id_type": "citizen_id", "id_number": NUMBER.lower()}, {"phone": "+86 138-0013-8000"}],
    ids=["id number", "phone"],
)
def test_a_whole_number_finds_the_person_masked(
    api: TestClient, world: World, person: Json, wanted: dict[str, str]
) -> None:
    answer = search(api, headers(world, "operator"), **wanted)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    [hit] = answer.json()["hits"]
    assert (hit["id"], hit["masked"], hit["fields"]["name"]) == (person["id"], True, "欧阳**")
    assert "绝密" not in answer.text
    [entry] = audited("records_searched")
    assert entry.detail == {"by": "phone" if "phone" in wanted else "id_number", "hits": 1}
    assert entry.object_type == "search"
    kept = str(entry.model_dump())
    with Session(engine_for("zw_worker")) as session:
        row = session.exec(select(Document).where(Document.id == UUID(person["id"]))).one()
    assert row.id_index
    assert row.phone_index
    for given in (NUMBER, row.id_index.hex(), row.phone_index.hex()):
        assert given not in kept, "what names a person would outlive his erasure in the trail"


def test_a_part_of_a_number_finds_nobody(api: TestClient, world: World, person: Json) -> None:
    who = headers(world, "supervisor")
    for wanted in ({"id_type": "citizen_id", "id_number": NUMBER[:-1]}, {"phone": "1380013800"}):
        assert search(api, who, **wanted).json() == {"hits": []}
    for malformed in (
        {},
        {"id_number": NUMBER},
        {"phone": "1"},
        {"phone": "13800138000", "id_type": "x"},
        {"name": "欧"},
    ):
        assert search(api, who, **malformed).json()["code"] == "malformed"


def test_a_search_ends_at_the_border_of_the_caller(api: TestClient, world: World, person: Json) -> None:
    stranger = next(login for login in reversed(world.workers()))
    other = world.handheld(stranger)
    assert person["grid_id"] not in other.grids()
    assert search(api, other.headers, phone=PERSON["phone"]).json() == {"hits": []}
    assert read(api, other.headers, person["id"]).status_code == 404
    with transaction(engine_for("zw_worker")) as session:
        from backend.services.accounts import create_account

        create_account(
            session,
            actor="test",
            login="supervisor-elsewhere",
            display_name="外区督办员",
            role=Role.SUPERVISOR,
            password="synthetic-passphrase-2026",
            territory_code="440303",
            department_code=None,
        )
    answer = world.client.post(
        "/auth/v1/login", json={"login": "supervisor-elsewhere", "password": "synthetic-passphrase-2026"}
    )
    elsewhere = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert search(api, elsewhere, phone=PERSON["phone"]).json() == {"hits": []}
    assert read(api, elsewhere, person["id"]).status_code == 404
    assert len(search(api, headers(world, "supervisor-pingshan"), phone=PERSON["phone"]).json()["hits"]) == 1


def test_an_erased_person_is_not_found(api: TestClient, world: World, person: Json) -> None:
    with transaction(engine_for("zw_worker")) as session:
        destroy_keys(session, [human("citizen_id", NUMBER)])
    supervisor = headers(world, "supervisor")
    assert read(api, supervisor, person["id"]).status_code == 404
    assert unmask(api, supervisor, person["id"], "name").status_code == 404
    assert search(api, supervisor, phone=PERSON["phone"]).json() == {"hits": []}
    assert id_index(Identity("citizen_id", NUMBER)).hex() not in str(audited("fields_unmasked"))
