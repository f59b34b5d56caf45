"""Field authority through the API: a department's field is asked for, never overwritten. People are synthetic."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlmodel import Session, select

from backend.core.db import engine_for, transaction
from backend.core.enums import Kind
from backend.models import AuditEntry
from sync import feed, service
from tests.desk import Desk, one, reviews
from tests.people import code_of
from tests.world import Handheld, Json, World, document, edited

STEWARD, HANDLER = "steward", "handler-urban"
HOUSE: Json = {"address": "合成路1号"}


def pushed(worker: Handheld, kind: str = "house", **fields: Any) -> Json:
    """A new record as the worker's handheld has it."""
    made = document(worker.grids()[0], **{**(HOUSE if kind == "house" else {}), **fields})
    assert worker.push(kind, made) == []
    return made


def written(desk: Desk, record: Json, version: int, *, login: str = STEWARD, **fields: Any) -> Any:
    """The department writes its fields."""
    body = {"fields": fields, "reason": "department_record"}
    return desk.post(f"documents/{record['id']}/department-fields", body, login=login, version=version)


def owned(worker: Handheld, desk: Desk, **fields: Any) -> Json:
    """A house whose tenure the department has written, as the handheld has it after a pull."""
    record = pushed(worker, tenure="collective", **fields)
    answer = written(desk, record, 1, tenure="public")
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"2"')
    worker.pull("house")
    return dict(worker.documents[record["id"]])


def asked(desk: Desk, login: str = STEWARD, **query: Any) -> list[Json]:
    return list(desk.get("verifications", login, **query)["requests"])


def decide(desk: Desk, request: Json, what: str, reason: str, *, login: str = STEWARD, **more: Any) -> Any:
    path, version = f"verifications/{request['id']}/{what}", more.pop("version", request["version"])
    return desk.post(path, {"reason": reason, **more}, login=login, version=version)


def last_outcome(worker: Handheld) -> Json:
    return dict(worker.outcomes()["mutations"][-1])


def test_until_a_department_has_spoken_the_grid_observes(worker: Handheld, desk: Desk) -> None:
    record = pushed(worker, tenure="collective")
    assert worker.push("house", edited(record, tenure="private"), record) == []
    assert last_outcome(worker)["verifications"] == []
    assert asked(desk) == []


def test_an_edit_of_a_departments_field_becomes_a_request(worker: Handheld, desk: Desk) -> None:
    record = owned(worker, desk)
    photo = {"photo_id": str(uuid4()), "sha256": "0" * 64, "size": 3, "mime": "image/jpeg"}
    edit = edited(record, tenure="private", use="commercial", photos=[photo])
    (answer,) = worker.push("house", edit, record)
    assert (answer["tenure"], answer["use"], answer["rev"]) == ("public", "commercial", 3)
    assert answer["op"] != edit["op"], "what was pushed is not what stands"
    (request,) = asked(desk)
    assert request["values"] == {"proposed": "private", "kept": "public", "now": "public"}
    assert (request["field"], request["dataset"], request["version"]) == ("tenure", "houses", 3)
    assert request["photos"] == [photo["photo_id"]]
    said = last_outcome(worker)
    assert (said["outcome"], said["conflicts"]) == ("merged", [])
    assert said["verifications"] == [{"verification": request["id"], "field": "tenure", "state": "open"}]


def test_a_row_that_only_asks_makes_no_version_and_a_replay_asks_once(worker: Handheld, desk: Desk) -> None:
    record = owned(worker, desk)
    edit = edited(record, tenure="private")
    for _ in range(3):
        (answer,) = worker.push("house", edit, record)
        assert (answer["tenure"], answer["rev"], answer["op"]) == ("public", 2, record["op"])
    assert last_outcome(worker)["outcome"] == "unchanged"
    assert len(asked(desk)) == 1
    assert one("SELECT count(*) FROM document_version WHERE document_id = :id", id=record["id"]) == 2


def test_a_stale_copy_asks_nothing(world: World, worker: Handheld, desk: Desk) -> None:
    other = world.handheld()
    record = pushed(worker, tenure="collective")
    other.pull("house")
    stale = other.documents[record["id"]]
    written(desk, record, 1, tenure="public")
    (answer,) = other.push("house", edited(stale, use="commercial"), stale)
    assert (answer["tenure"], answer["use"]) == ("public", "commercial")
    assert asked(desk) == []


def test_deleting_and_bringing_back_does_not_get_around_it(worker: Handheld, desk: Desk) -> None:
    record = owned(worker, desk)
    (gone,) = worker.push("house", {**edited(record), "_deleted": True}, record)
    assert gone["_deleted"]
    back = edited({**record, "_deleted": False}, tenure="private")
    (answer,) = worker.push("house", back, gone)
    assert (answer["_deleted"], answer["tenure"]) == (False, "public")
    (request,) = asked(desk)
    assert request["values"]["proposed"] == "private"


def test_an_accepted_request_is_a_version_that_handhelds_pull(worker: Handheld, desk: Desk) -> None:
    record = owned(worker, desk)
    edit = edited(record, tenure="private")
    worker.push("house", edit, record)
    (request,) = asked(desk)
    assert code_of(decide(desk, request, "approve", "evidence_lacking")) == (409, "review_reason_unknown")
    assert code_of(decide(desk, request, "approve", "checked_on_site", version=1)) == (412, "version_changed")
    answer = decide(desk, request, "approve", "checked_on_site", note="合成：现场核对产权证")
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"3"')
    worker.pull("house")
    assert worker.documents[record["id"]]["tenure"] == "private"
    assert worker.documents[record["id"]]["op"] == answer.json()["op"]
    (heard,) = reviews(worker)
    assert (heard["verification"], heard["state"], heard["op"]) == (request["id"], "accepted", edit["op"])
    assert heard["decision"]["reason"] == "checked_on_site"
    assert (heard["decision"]["by"], heard["decision"]["rev"]) == ("data_steward", 3)
    assert last_outcome(worker)["verifications"][0]["state"] == "accepted"
    assert code_of(decide(desk, request, "refuse", "not_true", version=3)) == (409, "review_not_allowed")
    detail = desk.get(f"verifications/{request['id']}", STEWARD)
    (step,) = detail["steps"]
    assert (step["action"], step["value"], step["note"]) == ("approve", "private", "合成：现场核对产权证")
    with Session(engine_for("zw_worker")) as session:
        (entry,) = session.exec(select(AuditEntry).where(AuditEntry.action == "verification_approve"))
    assert (entry.object_id, entry.detail["version"]) == (request["id"], 3)
    held = worker.documents[record["id"]]
    (again,) = worker.push("house", edited(held, tenure="collective"), held)
    assert again["tenure"] == "private", "what was accepted is the department's as well"


def test_a_refused_request_is_heard_with_its_reason_and_can_be_reopened(worker: Handheld, desk: Desk) -> None:
    record = owned(worker, desk)
    worker.push("house", edited(record, tenure="private"), record)
    (request,) = asked(desk)
    refused = decide(desk, request, "refuse", "evidence_lacking").json()
    assert (refused["state"], refused["version"], refused["op"]) == ("refused", 2, None)
    (heard,) = reviews(worker)
    assert (heard["state"], heard["decision"]["reason_zh"]) == ("refused", "佐证不足")
    assert asked(desk) == []
    assert decide(desk, request, "reopen", "new_information").status_code == 200
    (heard,) = reviews(worker, heard["seq"])
    assert (heard["state"], heard["decision"]) == ("open", None)
    assert [request["id"] for request in asked(desk)] == [request["id"]]


def tasks(worker: Handheld, drain: Callable[[], int]) -> list[Json]:
    """What the handheld learns of tasks, once the jobs have run."""
    drain()
    return [task for task in worker.pull("task") if not task["_deleted"]]


def test_handhelds_of_the_grid_learn_of_a_request_and_its_end_by_a_task(
    world: World, worker: Handheld, desk: Desk, drain: Callable[[], int]
) -> None:
    """Also one that pushed nothing: the outcomes tell the author alone."""
    other, record = world.handheld(), owned(worker, desk)
    edit = edited(record, tenure="private")
    for _ in range(2):
        worker.push("house", edit, record)
    (request,) = asked(desk)
    (task,) = tasks(other, drain)
    assert task["id"] == request["id"]
    assert (task["task"], task["state"], "result" in task) == ("verification", "open", False)
    named = ("source_id", "source_kind", "source_version", "field", "dataset", "grid_id")
    assert [task[name] for name in named] == [record["id"], "house", 2, "tenure", "houses", record["grid_id"]]
    decide(desk, request, "refuse", "evidence_lacking")
    (task,) = tasks(other, drain)
    assert (task["state"], task["result"], task["reason"], task["rev"]) == ("done", "refused", "evidence_lacking", 2)
    decide(desk, request, "reopen", "new_information")
    (task,) = tasks(other, drain)
    assert (task["state"], "result" in task, "done_at" in task) == ("open", False, False)
    decide(desk, request, "approve", "checked_on_site")
    (task,) = tasks(other, drain)
    assert (task["state"], task["result"], task["source_version"]) == ("done", "accepted", 3)
    assert tasks(other, drain) == []
    refused = worker.client.post("/sync/v1/task/push", json={"rows": []}, headers=worker.headers)
    assert code_of(refused) == (403, "forbidden")


def test_a_task_goes_where_its_record_lies(worker: Handheld, desk: Desk, drain: Callable[[], int]) -> None:
    """Who does not hold the grid hears nothing of it; with the next step it follows a record that moved."""
    record = owned(worker, desk)
    worker.push("house", edited(record, tenure="private"), record)
    drain()
    grid = one("SELECT id FROM grid WHERE id NOT IN (SELECT grid_id FROM membership) ORDER BY id LIMIT 1")
    with transaction(engine_for("zw_worker")) as session:
        move(session, kind=Kind.HOUSE, document_ids=[UUID(record["id"])], sources=[record["grid_id"]], to=grid)
    decide(desk, asked(desk)[0], "refuse", "evidence_lacking", version=3)
    assert tasks(worker, drain) == []
    assert one("SELECT grid_id FROM document WHERE kind = 'task'") == grid


def move(session: Session, *, kind: Kind, document_ids: list[UUID], sources: list[str], to: str) -> None:
    """Move records as a split of their grid does."""
    chosen = dict.fromkeys(document_ids, to)
    touches = service.move(session, kind=kind, document_ids=document_ids, sources=sources, choose=lambda _: chosen)
    feed.touch(session, touches)


def test_a_department_decides_about_its_own_datasets_only(worker: Handheld, desk: Desk) -> None:
    house = owned(worker, desk)
    worker.push("house", edited(house, tenure="private"), house)
    part = pushed(
        worker,
        "component",
        component_id="4403100101000001",
        class_code="0101",
        state="intact",
        location={"lat": 226900000, "lon": 1143400000, "datum": "wgs84"},
        owner_unit="a",
    )
    assert written(desk, part, 1, owner_unit="b").status_code == 200
    worker.pull("component")
    held = worker.documents[part["id"]]
    worker.push("component", edited(held, owner_unit="c"), held)
    assert {request["dataset"] for request in asked(desk)} == {"houses", "components"}
    (own,) = asked(desk, HANDLER)
    assert own["dataset"] == "components"
    other = next(request for request in asked(desk) if request["dataset"] == "houses")
    assert code_of(decide(desk, other, "approve", "checked_on_site", login=HANDLER)) == (404, "not_found")
    answer = decide(desk, own, "approve", "department_corrected", login=HANDLER)
    assert answer.status_code == 200, answer.text
    worker.pull("component")
    assert worker.documents[part["id"]]["owner_unit"] == "c"
    assert desk.get(f"verifications/{own['id']}", HANDLER)["state"] == "accepted", "it still sees what it decided"
    assert code_of(
        desk.post(f"verifications/{own['id']}/approve", {"reason": "checked_on_site"}, login="supervisor", version=3)
    ) == (403, "forbidden")


def test_only_stewarded_fields_of_living_records_are_written(worker: Handheld, desk: Desk) -> None:
    record = pushed(worker, tenure="collective")
    assert code_of(written(desk, record, 1, use="commercial")) == (409, "record_unfit")
    assert code_of(written(desk, record, 1, tenure=3)) == (409, "record_unfit")
    assert code_of(written(desk, record, 9, tenure="public")) == (412, "version_changed")
    assert code_of(written(desk, {"id": str(uuid4())}, 1, tenure="public")) == (404, "not_found")
    assert code_of(
        desk.post(
            f"documents/{record['id']}/department-fields",
            {"adopt": ["tenure"], "reason": "department_record"},
            login=STEWARD,
            version=1,
        )
    ) == (409, "conflict_value_gone")
    worker.push("house", {**edited(record), "_deleted": True}, record)
    assert code_of(written(desk, record, 2, tenure="public")) == (409, "record_deleted")


def test_a_conflict_that_a_steward_decides_makes_the_field_the_departments(
    world: World, worker: Handheld, desk: Desk
) -> None:
    other = world.handheld()
    record = pushed(worker, tenure="a")
    other.pull("house")
    held = other.documents[record["id"]]
    assert worker.push("house", edited(record, tenure="b"), record) == []
    other.push("house", edited(held, tenure="c"), held)
    (conflict,) = desk.conflicts(hardness="hard")
    assert desk.resolve(conflict, "mine", login=STEWARD).status_code == 200
    worker.pull("house")
    held = worker.documents[record["id"]]
    (answer,) = worker.push("house", edited(held, tenure="d"), held)
    assert answer["tenure"] == "c"
    with Session(engine_for("zw_worker")) as session:
        found = session.connection().execute(text("SELECT field, role, version FROM field_authority")).all()
    assert found == [("tenure", "data_steward", 3)]


def test_a_supervisor_does_not_put_an_old_value_over_the_departments(
    world: World, worker: Handheld, desk: Desk
) -> None:
    other = world.handheld()
    record = pushed(worker, tenure="a")
    other.pull("house")
    held = other.documents[record["id"]]
    worker.push("house", edited(record, tenure="b"), record)
    other.push("house", edited(held, tenure="c"), held)
    assert written(desk, record, 2, tenure="public").status_code == 200
    (conflict,) = desk.conflicts(hardness="hard")
    assert code_of(desk.resolve(conflict, "theirs")) == (409, "field_stewarded")
    assert desk.resolve(conflict, "keep").status_code == 200


def test_proposed_values_are_sealed_at_rest(worker: Handheld, desk: Desk) -> None:
    record = owned(worker, desk)
    worker.push("house", edited(record, tenure="绝密性质"), record)
    with Session(engine_for("zw_worker")) as session:
        row = session.connection().execute(text("SELECT CAST(v AS text), sides FROM verification_request v")).one()
    assert "绝密" not in row[0]
    assert "绝密".encode() not in bytes(row.sides)
