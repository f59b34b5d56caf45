"""What people declare through the portal: handed over, compared, withdrawn, read back masked. People are synthetic."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.db import engine_for
from backend.core.enums import Role
from backend.core.ids import new_id
from backend.models import AuditEntry, Declaration, DeclarationVersion
from tests.api.test_checks import worker_of
from tests.people import Staff
from tests.rooms.crosscheck_builders import (
    ADDRESS,
    GRID,
    HOUSE_CODE,
    LI,
    OTHER_CODE,
    USCC,
    ZHANG,
    business_records,
    point_of,
)
from tests.world import Json, World, document, edited

Drain = Callable[[], int]
CHANNEL = "declaration_channel"
MORNING = now() - timedelta(hours=8)


@pytest.fixture
def portal(world: World) -> dict[str, str]:
    """The headers of the channel."""
    return world.office(CHANNEL)


def body(fields: Json, kind: str = "person", *, later: float = 0) -> Json:
    return {"kind": kind, "declared_at": (MORNING + timedelta(minutes=later)).isoformat(), "fields": fields}


def put(api: TestClient, headers: dict[str, str], declaration_id: UUID, given: Json) -> Any:
    return api.put(f"/declarations/v1/declarations/{declaration_id}", json=given, headers=headers)


def declare(api: TestClient, headers: dict[str, str], given: Json, declaration_id: UUID | None = None) -> Json:
    answer = put(api, headers, declaration_id or new_id(), given)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def shown(api: TestClient, headers: dict[str, str], declaration_id: str) -> Json:
    answer = api.get(f"/declarations/v1/declarations/{declaration_id}", headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def rows_of(table: Any, declaration_id: str) -> list[Any]:
    column = table.id if table is Declaration else table.declaration_id
    with Session(engine_for("zw_worker")) as session:
        return list(session.exec(select(table).where(column == UUID(declaration_id))))


def test_a_declaration_is_compared_with_the_departments_records_and_told_about(
    api: TestClient, world: World, portal: dict[str, str], drain: Drain, tmp_path: Path
) -> None:
    with Session(engine_for("zw_worker")) as session:
        business_records(session, tmp_path, "population", ZHANG)
        session.commit()
    right = declare(api, portal, body(ZHANG))
    wrong = declare(api, portal, body(ZHANG | {"name": "李四"}))
    assert "正在" in right["result"]["told"]
    drain()
    assert shown(api, portal, right["id"])["result"]["verdict"] == "match"
    result = shown(api, portal, wrong["id"])["result"]
    assert (result["verdict"], result["course"]) == ("name_differs", "case")
    assert "姓名" in result["told"]

    office = world.office("supervisor")
    (verdict,) = api.get("/checks/v1/verdicts", params={"declaration_id": wrong["id"]}, headers=office).json()
    assert (verdict["source_type"], verdict["source_version"]) == ("declaration", 1)
    evidence = api.get(f"/checks/v1/verdicts/{verdict['id']}", headers=office).json()["evidence"]
    name = next(item for item in evidence if item["field"] == "name")
    assert (name["mine"], name["theirs"], name["dataset"]) == ("李*", "张**", "population")

    with Session(engine_for("zw_worker")) as session:
        business_records(session, tmp_path, "population", ZHANG | {"name": "李四"})
        session.commit()
    drain()
    again = [shown(api, portal, one["id"])["result"]["verdict"] for one in (right, wrong)]
    assert again == ["name_differs", "match"], "another snapshot is compared with what was declared, too"
    (case,) = api.get("/cases/v1/cases", headers=office).json()["cases"]
    assert (case["source"]["type"], case["source"]["id"]) == ("declaration", right["id"])
    api.post(f"/declarations/v1/declarations/{right['id']}/withdraw", json={"reason": "mistake"}, headers=portal)
    drain()
    closed = api.get(f"/cases/v1/cases/{case['id']}", headers=office).json()
    assert (closed["state"], closed["outcome"]) == ("closed", "declaration_withdrawn")
    assert api.get("/overview/v1/counts").json()["declarations"] == {"in_force": 1, "withdrawn": 1}


def test_the_same_again_changes_nothing_and_what_is_declared_later_is_the_next_version(
    api: TestClient, portal: dict[str, str]
) -> None:
    first = declare(api, portal, body(ZHANG))
    assert declare(api, portal, body(ZHANG), UUID(first["id"])) == first
    assert len(rows_of(DeclarationVersion, first["id"])) == 1
    changed = body(ZHANG | {"phone": "13900005678"}, later=1)
    assert declare(api, portal, changed, UUID(first["id"]))["version"] == 2
    assert len(rows_of(DeclarationVersion, first["id"])) == 2
    late = put(api, portal, UUID(first["id"]), body(ZHANG | {"phone": "13700001234"}, later=0.5))
    assert code_of(late) == (409, "declaration_outdated")
    other = put(api, portal, UUID(first["id"]), body({"house_code": HOUSE_CODE, "address": ADDRESS}, "house", later=2))
    assert code_of(other) == (409, "declaration_unfit")
    with Session(engine_for("zw_worker")) as session:
        trail = session.exec(select(AuditEntry.action).where(AuditEntry.object_id == first["id"])).all()
    assert list(trail) == ["declared", "declared"]


def test_what_is_withdrawn_stays_so_and_is_not_compared(api: TestClient, portal: dict[str, str], drain: Drain) -> None:
    made = declare(api, portal, body(ZHANG))
    path = f"/declarations/v1/declarations/{made['id']}/withdraw"
    ended = api.post(path, json={"reason": "mistake"}, headers=portal).json()
    assert (ended["state"], ended["end_reason"]) == ("withdrawn", "mistake")
    assert api.post(path, json={"reason": "no_longer_true"}, headers=portal).json() == ended
    assert api.post(path, json={"reason": "erased"}, headers=portal).status_code == 422
    again = put(api, portal, UUID(made["id"]), body(ZHANG | {"phone": "13900005678"}, later=1))
    assert code_of(again) == (409, "declaration_ended")
    assert declare(api, portal, body(ZHANG), UUID(made["id"])) == ended
    drain()
    assert shown(api, portal, made["id"])["result"]["verdict"] is None


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (body(ZHANG | {"grid_id": GRID}), "grid_id: not_declared"),
        (body(ZHANG | {"religion": "合成"}), "religion: not_declared"),
        (body(ZHANG | {"photos": []}), "photos: not_declared"),
        (body({"name": "张三丰"}), "id_number: missing"),
        (body({"address": ADDRESS}, "house"), "house_code: missing"),
        (body(ZHANG | {"birth_date": "1990"}), "birth_date: string_pattern_mismatch"),
        (body(ZHANG, later=60 * 24), "declared_at: in_the_future"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_place(untouched_world: World, given: Json, place: str) -> None:
    answer = put(untouched_world.client, untouched_world.office(CHANNEL), new_id(), given)
    assert code_of(answer) == (409, "declaration_unfit")
    assert place in answer.json()["places"]
    assert "张" not in answer.text


def test_the_grid_is_that_of_the_house_or_of_the_point(api: TestClient, world: World, portal: dict[str, str]) -> None:
    house = document(GRID, house_code=HOUSE_CODE, address=ADDRESS)
    worker_of(world, GRID).push("house", house)
    office = world.office("supervisor")
    grids = []
    for kind, fields in (
        ("person", ZHANG | {"house_id": house["id"]}),
        ("house", {"house_code": HOUSE_CODE, "address": ADDRESS}),
        ("organisation", {"uscc": USCC, "name": "合成商店", "location": point_of(GRID)}),
        ("person", ZHANG | {"house_id": str(new_id())}),
    ):
        made = declare(api, portal, body(fields, kind))
        assert made["grid_id"] is None, "a channel is not told in which grid a house lies"
        grids.append(shown(api, office, made["id"])["grid_id"])
    assert grids == [GRID, GRID, GRID, None]
    for collected, kinds in ((True, ["house"]), (False, ["person", "organisation", "person"])):
        listed = api.get("/declarations/v1/declarations", params={"collected": collected}, headers=office).json()
        assert [one["kind"] for one in listed["declarations"]] == kinds
    hidden = api.get("/declarations/v1/declarations", params={"collected": False}, headers=portal)
    assert code_of(hidden) == (403, "forbidden"), "else a channel learnt what is on record"
    taken = put(api, portal, UUID(house["id"]), body(ZHANG))
    assert code_of(taken) == (404, "not_found"), "the keys of a record's values are found by its id"


def test_a_channel_has_its_own_only_and_offices_see_their_territory_masked(
    api: TestClient, world: World, portal: dict[str, str]
) -> None:
    made = declare(api, portal, body(ZHANG | {"registered_address": ADDRESS}))
    assert (made["fields"]["name"], made["fields"]["id_number"]) == ("张**", "1101**********2316")
    staff = Staff(world)
    other = staff.ready(Role.DECLARATION_CHANNEL)
    stranger = staff.headers(other["login"], other["password"])
    path = f"/declarations/v1/declarations/{made['id']}"
    assert code_of(api.get(path, headers=stranger)) == (404, "not_found")
    assert code_of(put(api, stranger, UUID(made["id"]), body(ZHANG, later=1))) == (404, "not_found")
    assert api.post(f"{path}/withdraw", json={"reason": "mistake"}, headers=stranger).status_code == 404
    assert api.get("/declarations/v1/declarations", headers=stranger).json()["declarations"] == []
    for headers in (portal, world.office("supervisor"), world.office("data_steward")):
        (listed,) = api.get("/declarations/v1/declarations", headers=headers).json()["declarations"]
        assert listed["fields"] == made["fields"]
    assert code_of(put(api, world.office("supervisor"), new_id(), body(ZHANG))) == (403, "forbidden")
    assert code_of(api.get(path, headers=world.office("auditor"))) == (403, "forbidden")
    (stored,) = rows_of(Declaration, made["id"])
    assert stored.body == {}
    assert "张三丰".encode() not in stored.sealed


def held(table: str, *columns: str) -> list[tuple[Any, ...]]:
    with Session(engine_for("zw_worker")) as session:
        return [tuple(row) for row in session.connection().execute(text(f"SELECT {', '.join(columns)} FROM {table}"))]


def test_who_is_erased_is_forgotten_here_too_and_can_be_told_before_what_he_declared(
    world: World, portal: dict[str, str], drain: Drain
) -> None:
    api = world.client
    wrong = {"birth_date": "1990-01-01"}
    mine, others = (declare(api, portal, body(one | wrong)) for one in (ZHANG, LI))
    owner = {name: ZHANG[name] for name in ("name", "id_type", "id_number", "phone")}
    home = declare(api, portal, body({"house_code": HOUSE_CODE, "address": ADDRESS, "owner": owner}, "house"))
    drain()
    office = world.office("supervisor")
    cases = {one["source"]["id"]: one["id"] for one in api.get("/cases/v1/cases", headers=office).json()["cases"]}
    steward, identity = world.office("data_steward"), {"id_type": "citizen_id", "id_number": ZHANG["id_number"]}
    asked = {"subject": identity, "reason": "subject_request"}
    made = api.post("/life/v1/access-requests", json=asked, headers=steward).json()
    request = api.post("/life/v1/erasures", json=asked, headers=steward).json()
    drain()
    report = api.get(f"/life/v1/access-requests/{made['id']}/file", headers=steward).json()
    (told,), (about,) = report["declarations"], report["declared_in"]
    assert (told["id"], told["fields"]["name"], about["id"]) == (mine["id"], ZHANG["name"], home["id"])
    assert len(report["declaration_versions"]) == 1
    assert {verdict["source_id"] for verdict in report["verdicts"]} == {mine["id"]}

    path = f"/life/v1/erasures/{request['id']}"
    assert api.post(f"{path}/approve", headers=world.office("security_admin")).status_code == 200
    drain()
    done = api.get(path, headers=steward).json()
    assert (done["state"], done["report"]["declaration"], done["report"]["declaration_version"]) == ("done", 1, 1)
    ended = shown(api, portal, mine["id"])
    assert (ended["state"], ended["end_reason"], ended["fields"]) == ("withdrawn", "erased", {})
    closed, open_still = (
        api.get(f"/cases/v1/cases/{cases[one['id']]}", headers=office).json() for one in (mine, others)
    )
    assert (closed["state"], closed["outcome"]) == ("closed", "declaration_withdrawn")
    assert open_still["outcome"] is None
    (settled,) = api.get("/checks/v1/settlements", params={"declaration_id": mine["id"]}, headers=office).json()
    assert settled["superseded_at"] is not None
    assert shown(api, portal, others["id"])["fields"]["name"] == "李*"
    assert "owner" not in shown(api, portal, home["id"])["fields"]
    sealed = {str(one): blob for one, blob in held("declaration_version", "declaration_id", "sealed")}
    assert [name for name, blob in sealed.items() if blob is None] == [mine["id"]]
    evidence = {str(one): blob for one, blob in held("verdict", "source_id", "evidence")}
    assert (evidence[mine["id"]], evidence[others["id"]] is None) == (None, False)
    hidden = {"name": "李梅", "spouse": owner}
    for given in (
        body(ZHANG),
        *(body({"house_code": OTHER_CODE, "address": ADDRESS, "owner": one}, "house") for one in (owner, hidden)),
    ):
        assert code_of(put(api, portal, new_id(), given)) == (410, "subject_erased")


def verdict_of(api: TestClient, office: dict[str, str], **entry: str) -> Json:
    """The verdict in force on the last version of an entry, with its evidence by field."""
    found = api.get("/checks/v1/verdicts", params=entry, headers=office).json()
    current = next(one for one in found if one["superseded_at"] is None)
    shown: Json = api.get(f"/checks/v1/verdicts/{current['id']}", headers=office).json()
    return shown | {"by_field": {item["field"]: item for item in shown["evidence"]}}


def test_grid_and_declarant_are_compared_both_ways_and_the_worker_looks(
    world: World, portal: dict[str, str], drain: Drain
) -> None:
    api, handheld, office = world.client, worker_of(world, GRID), world.office("supervisor")
    person = document(GRID, **ZHANG)
    handheld.push("person", person)
    drain()
    assert verdict_of(api, office, document_id=person["id"])["verdict"] == "accepted"
    made = declare(api, portal, body(ZHANG | {"name": "李四"}))
    drain()
    mine, theirs = verdict_of(api, office, declaration_id=made["id"]), verdict_of(api, office, document_id=person["id"])
    assert (mine["verdict"], theirs["verdict"]) == ("sources_differ", "sources_differ")
    assert (mine["by_field"]["name"]["dataset"], theirs["by_field"]["name"]["dataset"]) == ("entries", "declarations")
    assert theirs["by_field"]["name"]["theirs"] == "李*"
    assert "entry" not in mine["by_field"] | theirs["by_field"], "none of the two repeats the other"
    (task,) = handheld.pull("task")
    assert (task["task"], task["state"], task["source_id"]) == ("visit", "open", person["id"])
    assert "上门核实" in shown(api, portal, made["id"])["result"]["told"]

    handheld.push("person", edited(person, name="李四"), person)
    drain()
    assert verdict_of(api, office, document_id=person["id"])["verdict"] == "accepted"
    assert verdict_of(api, office, declaration_id=made["id"])["verdict"] == "accepted"
    (task,) = handheld.pull("task")
    assert (task["state"], task["result"]) == ("done", "corrected")
    assert api.get("/cases/v1/cases", headers=office).json()["cases"] == []
    (settled, _) = api.get("/checks/v1/settlements", params={"declaration_id": made["id"]}, headers=office).json()
    assert (settled["course"], settled["reason"]) == ("accepted", "declaration_in_order")


def test_what_is_withdrawn_ends_the_look_and_what_the_worker_confirms_is_not_overwritten(
    world: World, portal: dict[str, str], drain: Drain
) -> None:
    api, handheld, office = world.client, worker_of(world, GRID), world.office("supervisor")
    shop = document(GRID, uscc=USCC, name="合成商店", location=point_of(GRID))
    handheld.push("organisation", shop)
    other = body({"uscc": USCC, "name": "另一家合成公司"}, "organisation")
    first = declare(api, portal, other)
    drain()
    assert handheld.pull("task")[0]["state"] == "open"
    api.post(f"/declarations/v1/declarations/{first['id']}/withdraw", json={"reason": "mistake"}, headers=portal)
    drain()
    (task,) = handheld.pull("task")
    assert (task["state"], task["result"]) == ("done", "withdrawn")

    second = declare(api, portal, other)
    drain()
    (task,) = handheld.pull("task")
    answer = api.post(f"/checks/v1/visits/{task['id']}/answer", json={"result": "confirmed"}, headers=handheld.headers)
    assert answer.status_code == 200, answer.text
    drain()
    (case,) = api.get("/cases/v1/cases", headers=office).json()["cases"]
    assert (case["source"]["type"], case["source"]["id"]) == ("document", shop["id"])
    (settled, _) = api.get("/checks/v1/settlements", params={"declaration_id": second["id"]}, headers=office).json()
    assert (settled["course"], settled["reason"]) == ("none", "confirmed_on_site")
    kept = api.get(f"/records/v1/documents/{shop['id']}", headers=office).json()
    assert (kept["version"], kept["fields"]["name"]) == (1, "合成商店")
