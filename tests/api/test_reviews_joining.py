"""Two records of one person, house or thing become one, and two again. People are synthetic."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.core.enums import Kind, PhotoState, SourceType, VerdictKind
from backend.core.ids import new_id
from backend.models import AuditEntry, Document, Photo, PhotoLink, Verdict
from backend.services.documents import merged_ids
from tests.desk import Desk, one
from tests.people import code_of
from tests.world import Handheld, Json, World, document, edited


@pytest.fixture
def neighbour(world: World) -> Handheld:
    return world.handheld(world.workers()[1])


@pytest.fixture
def twins(worker: Handheld, neighbour: Handheld) -> tuple[Json, Json]:
    """One person met twice, in two grids, as the two handhelds have it."""
    first = document(worker.grids()[0], name="合成甲", phone="1")
    second = document(neighbour.grids()[0], name="合成甲", phone="2", sex="male")
    assert worker.push("person", first) == []
    assert neighbour.push("person", second) == []
    return worker.pull("person")[0], neighbour.pull("person")[0]


def join(desk: Desk, survivor: Json, other: Json, *, version: int = 1, **more: Any) -> Any:
    body = {"duplicate_id": other["id"], "duplicate_version": other["rev"], "reason": "same_person", **more}
    return desk.post(f"documents/{survivor['id']}/join", body, login="steward", version=version)


def part(desk: Desk, survivor: Json, other: Json, *, version: int) -> Any:
    body = {"duplicate_id": other["id"], "reason": "joined_wrongly"}
    return desk.post(f"documents/{survivor['id']}/part", body, login="steward", version=version)


def test_the_survivor_gets_what_it_lacks_and_the_other_points_to_it(
    worker: Handheld, neighbour: Handheld, twins: tuple[Json, Json], desk: Desk
) -> None:
    survivor, other = twins
    answer = join(desk, survivor, other, note="同一人")
    assert answer.status_code == 200, answer.text
    view = answer.json()
    assert (view["survivor_version"], view["duplicate_version"], view["taken"]) == (2, 2, ["sex"])
    (kept,) = worker.pull("person")
    assert (kept["id"], kept["phone"], kept["sex"], kept["rev"]) == (survivor["id"], "1", "male", 2)
    (gone,) = neighbour.pull("person")
    assert (gone["id"], gone["_deleted"], gone["name"]) == (other["id"], True, "")
    assert gone["merged_into"] == survivor["id"]
    with Session(engine_for("zw_worker")) as session:
        entries = session.exec(select(AuditEntry).where(AuditEntry.action == "records_joined")).all()
        assert [(entry.object_id, entry.detail["duplicate"]) for entry in entries] == [(survivor["id"], other["id"])]
        assert merged_ids(session, UUID(survivor["id"])) == [UUID(survivor["id"]), UUID(other["id"])]
    assert [each["reason_zh"] for each in desk.get(f"documents/{other['id']}/joins")["joins"]] == ["同一人员重复登记"]
    assert neighbour.push("person", gone) == [], "a tombstone of ours means nothing when it comes back"


def test_a_field_may_be_taken_from_the_duplicate(worker: Handheld, twins: tuple[Json, Json], desk: Desk) -> None:
    survivor, other = twins
    assert join(desk, survivor, other, take=["phone"]).json()["taken"] == ["phone", "sex"]
    assert worker.pull("person")[0]["phone"] == "2"


def test_both_are_as_they_were_when_a_join_is_taken_apart(
    worker: Handheld, neighbour: Handheld, twins: tuple[Json, Json], desk: Desk
) -> None:
    survivor, other = twins
    join(desk, survivor, other)
    (kept,) = worker.pull("person")
    assert worker.push("person", edited(kept, employer="合成单位"), kept) == []
    answer = part(desk, survivor, other, version=3)
    assert answer.status_code == 200, answer.text
    assert answer.json()["undoes"] is not None
    (again,) = worker.pull("person")
    assert ("sex" in again, again["phone"], again["employer"], again["rev"]) == (False, "1", "合成单位", 4)
    neighbour.pull("person")
    back = neighbour.documents[other["id"]]
    assert {**back, "rev": 0, "op": ""} == {**other, "rev": 0, "op": ""}
    assert back["rev"] == 3
    assert code_of(part(desk, survivor, other, version=4)) == (409, "not_joinable")
    assert join(desk, survivor, back, version=4).status_code == 200, "and may be joined again"
    assert part(desk, survivor, other, version=5).status_code == 200


def test_it_is_not_taken_apart_over_somebody_elses_edit(worker: Handheld, twins: tuple[Json, Json], desk: Desk) -> None:
    survivor, other = twins
    join(desk, survivor, other)
    (kept,) = worker.pull("person")
    assert worker.push("person", edited(kept, sex="female"), kept) == []
    assert code_of(part(desk, survivor, other, version=3)) == (409, "field_changed")
    assert code_of(part(desk, survivor, other, version=2)) == (412, "version_changed")


def test_an_edit_of_the_duplicate_that_was_under_way_is_not_lost(
    neighbour: Handheld, twins: tuple[Json, Json], desk: Desk
) -> None:
    survivor, other = twins
    join(desk, survivor, other)
    neighbour.push("person", edited(other, phone="3"), other)
    (back,) = neighbour.pull("person")
    assert (back["_deleted"], back["phone"]) == (False, "3")
    (conflict,) = desk.conflicts(hardness="hard")
    assert conflict["field"] == "_deleted"
    assert code_of(part(desk, survivor, other, version=2)) == (409, "not_joinable")
    assert desk.resolve(conflict, "theirs").status_code == 200, "it is a duplicate all the same"
    assert neighbour.pull("person")[0]["merged_into"] == survivor["id"]


def test_what_is_no_pair_is_not_joined(worker: Handheld, twins: tuple[Json, Json], desk: Desk) -> None:
    survivor, other = twins
    house = document(worker.grids()[0], address="合成路1号")
    worker.push("house", house)
    refused = join(desk, survivor, {**house, "rev": 1})
    assert (code_of(refused), refused.json()["because"]) == ((409, "not_joinable"), "kind")
    assert join(desk, survivor, survivor).json()["because"] == "same"
    assert code_of(join(desk, survivor, {**other, "rev": 9})) == (412, "version_changed")
    assert code_of(join(desk, survivor, other, version=9)) == (412, "version_changed")
    assert code_of(join(desk, survivor, {"id": str(new_id()), "rev": 1})) == (404, "not_found")
    assert code_of(join(desk, survivor, other, take=["grid_id"])) == (422, "malformed")
    worker.push("person", {**survivor, "op": str(uuid4()), "_deleted": True}, survivor)
    assert join(desk, survivor, other, version=2).json()["because"] == "deleted"


def test_more_members_than_a_record_may_have_are_refused(worker: Handheld, desk: Desk) -> None:
    grid = worker.grids()[0]
    houses = [
        document(grid, address="合成路1号", tenants=[{"id": str(uuid4()), "name": "合成"} for _ in range(40)])
        for _ in range(2)
    ]
    for house in houses:
        assert worker.push("house", house) == []
    first, second = ({**house, "rev": 1} for house in houses)
    refused = join(desk, first, second, reason="same_house")
    assert (code_of(refused), refused.json()["places"]) == ((409, "record_unfit"), ["tenants: too_long"])
    assert one("SELECT count(*) FROM document WHERE deleted") == 0


def test_photos_and_verdicts_follow(api: TestClient, worker: Handheld, neighbour: Handheld, desk: Desk) -> None:
    photo: Json = {"photo_id": str(new_id()), "sha256": "0" * 64, "size": 3, "mime": "image/jpeg"}
    first = document(worker.grids()[0], name="合成甲")
    second = document(neighbour.grids()[0], name="合成甲", photos=[photo])
    worker.push("person", first)
    neighbour.push("person", second)
    with transaction(engine_for("zw_worker")) as session:
        session.add(_verdict(session.get_one(Document, UUID(second["id"]))))
        taken = session.get_one(Photo, UUID(photo["photo_id"]))
        taken.state = PhotoState.RECEIVED  # From now on only its owner, who is not the survivor's, may link it.
        session.add(taken)
    path = "/checks/v1/verdicts"
    before = api.get(path, params={"document_id": first["id"]}, headers=desk.headers())
    assert before.json() == []
    assert join(desk, first, {**second, "rev": 1}).status_code == 200
    (kept,) = worker.pull("person")
    assert kept["photos"] == [photo]
    with Session(engine_for("zw_worker")) as session:
        query = select(PhotoLink.photo_id).where(PhotoLink.source_id == UUID(first["id"]))
        assert [str(photo_id) for photo_id in session.exec(query)] == [photo["photo_id"]]
    after = api.get(path, params={"document_id": first["id"]}, headers=desk.headers())
    assert [verdict["source_id"] for verdict in after.json()] == [second["id"]]
    assert part(desk, first, second, version=2).status_code == 200
    assert api.get(path, params={"document_id": first["id"]}, headers=desk.headers()).json() == []


def _verdict(record: Document) -> Verdict:
    return Verdict(
        source_type=SourceType.DOCUMENT,
        source_id=record.id,
        source_version=1,
        kind=Kind.PERSON,
        grid_id=record.grid_id,
        rule_version=1,
        verdict=VerdictKind.ACCEPTED,
        findings=[],
        snapshots={},
        created_at=now(),
    )
