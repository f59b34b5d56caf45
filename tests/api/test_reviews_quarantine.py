"""Quarantined rows at the desk: seen masked, taken, corrected, rejected, looked at again. People are synthetic."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.db import act_as, engine_for, transaction
from backend.core.enums import Role
from backend.core.ids import new_id
from backend.models import AuditEntry, Membership, Quarantine
from backend.services import retention
from backend.services.sealing import destroy_keys, human
from tests.desk import Desk, one, reviews
from tests.people import Staff, code_of
from tests.world import Handheld, Json, World, document, edited

PERSON: Json = {"name": "欧阳绝密", "phone": "13800138000", "sex": "male"}
NUMBER: Json = {"id_type": "citizen_id", "id_number": "44030019900101001X"}


@pytest.fixture
def neighbour(world: World) -> Handheld:
    """The worker of the next grid, in the same street."""
    return world.handheld(world.workers()[1])


@pytest.fixture
def stray(worker: Handheld, neighbour: Handheld) -> Json:
    """A person that the worker met in his neighbour's grid, as it was pushed and refused."""
    pushed = document(neighbour.grids()[0], **PERSON)
    (answer,) = worker.push("person", pushed)
    assert answer["_deleted"] is True
    return pushed


def waiting(desk: Desk) -> Json:
    (row,) = desk.rows()
    return row


def audited(action: str) -> list[AuditEntry]:
    with Session(engine_for("zw_worker")) as session:
        return list(session.exec(select(AuditEntry).where(AuditEntry.action == action)))


def test_the_desk_sees_a_row_masked_and_in_the_clear_for_a_reason(stray: Json, desk: Desk) -> None:
    row = waiting(desk)
    assert (row["code"], row["state"], row["document_id"]) == ("out_of_scope", "open", stray["id"])
    detail = desk.get(f"quarantine/{row['id']}")
    pushed = detail["row"]["newDocumentState"]
    assert (pushed["name"], pushed["phone"], pushed["op"]) == ("欧阳**", "138****8000", stray["op"])
    assert (detail["current"], detail["whole"], detail["steps"]) == (None, True, [])
    assert {step["action"] for step in detail["actions"]} == {"release", "correct", "reject"}
    assert "绝密" not in str(detail)
    answer = desk.post(f"quarantine/{row['id']}/unmask", {"reason": "verifying_entry", "note": "核对退回数据"})
    assert answer.json()["row"]["newDocumentState"]["name"] == PERSON["name"]
    (entry,) = audited("fields_unmasked")
    assert (entry.detail["field_1"], entry.detail["unmasking"]) == ("row", answer.json()["unmasking_id"])


@pytest.mark.parametrize(
    "odd",
    [
        {"address": {"绝密": "绝密"}, "use": ["绝密"], "odd": "绝密"},
        {"grid_id": "绝密"},
        {"captured_at": "绝密"},
        {"id": "绝密"},
        {"op": "绝密"},
        {"_deleted": "绝密"},
        {"rev": "绝密", "use": 1},
        {"house_code": "绝密", "photos": [{"photo_id": "绝密"}]},
    ],
)
def test_values_that_are_none_are_not_shown_as_public_ones(worker: Handheld, desk: Desk, odd: Json) -> None:
    worker.push("house", {**document(worker.grids()[0], address="合成路1号"), **odd})
    row = waiting(desk)
    detail = desk.get(f"quarantine/{row['id']}")
    assert "绝密" not in str(detail)
    assert "***" in str(detail["row"]), "what is hidden is said to be there"


def test_a_released_row_goes_in_on_behalf_of_its_author(
    worker: Handheld, neighbour: Handheld, stray: Json, desk: Desk
) -> None:
    row = waiting(desk)
    answer = desk.decide(row, "release", "belongs_here", note="经与邻格核实")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "held": row["id"],
        "state": "released",
        "document_id": stray["id"],
        "outcome": "applied",
        "version": 1,
    }
    (record,) = neighbour.pull("person")
    assert {**record, "rev": 0, "op": ""} == {**stray, "rev": 0, "op": ""}
    assert record["op"] != stray["op"], "the ledger keeps what became of the pushed op"
    written = "SELECT account_id = :account AND device_id = :device FROM document_version WHERE document_id = :id"
    author = {"account": UUID(row["account_id"]), "device": UUID(row["device_id"]), "id": UUID(stray["id"])}
    assert one(written, **author) is True
    reviewer = one("SELECT id FROM account WHERE login = 'supervisor'")
    assert [entry.actor for entry in audited("document_written")] == [str(reviewer)]
    (entry,) = audited("quarantine_release")
    assert (entry.actor, entry.object_id, entry.detail["author"]) == (str(reviewer), row["id"], row["account_id"])
    said = worker.outcomes()
    assert said["quarantined"] == []
    assert [(each["op"], each["outcome"]) for each in said["mutations"]] == [
        (stray["op"], "quarantined"),
        (record["op"], "applied"),
    ]
    (review,) = reviews(worker)
    decision = review["decision"]
    assert (review["held"], review["state"], review["op"]) == (row["id"], "released", stray["op"])
    assert (decision["reason"], decision["by"], decision["outcome"]) == ("belongs_here", "supervisor", "applied")
    assert (decision["rev"], decision["op"]) == (1, record["op"])
    assert code_of(desk.decide(row, "reject", "duplicate")) == (409, "review_not_allowed")
    assert one("SELECT count(*) FROM job WHERE name = 'workflows.crosscheck'") == 1
    steps = desk.get(f"quarantine/{row['id']}")["steps"]
    assert [(step["action"], step["note"]) for step in steps] == [("release", "经与邻格核实")]


def test_the_same_row_pushed_again_after_its_release_changes_nothing(
    worker: Handheld, neighbour: Handheld, stray: Json, desk: Desk
) -> None:
    desk.decide(waiting(desk), "release", "belongs_here")
    (answer,) = worker.push("person", stray)
    assert answer["_deleted"] is True, "it lies in a grid that its author does not hold"
    assert one("SELECT count(*) FROM document_version") == 1
    assert desk.rows() == []
    (record,) = neighbour.pull("person")
    assert neighbour.push("person", edited(record, phone="1"), record) == []


def test_a_released_row_meets_what_was_written_meanwhile_like_any_other(
    worker: Handheld, world: World, desk: Desk
) -> None:
    """Work captured inside a past membership: the grid was lost while the edit waited on the handheld."""
    other = world.handheld(world.workers()[10])
    assert other.grids() == worker.grids()
    pushed = document(worker.grids()[0], **PERSON)
    worker.push("person", pushed)
    (held,) = other.pull("person")
    assert other.push("person", edited(held, phone="13700137000", sex="female"), held) == []
    with transaction(engine_for("zw_worker")) as session:
        account_id = UUID(worker.tokens["account_id"])
        for term in session.exec(select(Membership).where(Membership.account_id == account_id)):
            term.ends_at = now() - timedelta(seconds=1)
            session.add(term)
    worker.push("person", edited(pushed, phone="13900139000", name="合成丁"), pushed)
    row = waiting(desk)
    assert row["code"] == "past_membership"
    detail = desk.get(f"quarantine/{row['id']}")
    assert (detail["current"]["phone"], detail["version"]) == ("137****7000", 2)
    answer = desk.decide(row, "release", "captured_in_term").json()
    assert (answer["outcome"], answer["version"]) == ("conflict", 3)
    other.pull("person")
    record = other.documents[pushed["id"]]
    assert (record["name"], record["phone"], record["sex"]) == ("合成丁", "13700137000", "female")
    (conflict,) = desk.conflicts(hardness="hard")
    assert (conflict["field"], conflict["account_id"]) == ("phone", row["account_id"])


def test_an_invalid_row_is_refused_until_it_is_corrected(worker: Handheld, desk: Desk) -> None:
    pushed = {**document(worker.grids()[0], **PERSON), "phone": 138}
    worker.push("person", pushed)
    row = waiting(desk)
    refused = desk.decide(row, "release", "in_order")
    assert code_of(refused) == (409, "row_not_taken")
    assert (refused.json()["because"], refused.json()["places"]) == ("invalid", ["phone: string_type"])
    still = desk.decide(row, "correct", "typing_error", fields={"sex": "female"})
    assert still.json()["places"] == ["phone: string_type"]
    answer = desk.decide(row, "correct", "typing_error", fields={"phone": "13800138000"}, remove=["sex"])
    assert (answer.json()["state"], answer.json()["outcome"]) == ("corrected", "applied")
    (record,) = worker.pull("person")
    assert (record["phone"], "sex" in record, record["name"]) == ("13800138000", False, PERSON["name"])
    detail = desk.get(f"quarantine/{row['id']}")
    assert detail["row"]["newDocumentState"]["sex"] == "male", "the payload stays as it came"
    odds: list[Json] = [{"fields": {"op": "x"}}, {"fields": {}}, {"fields": {"Name": "x"}}, {"remove": ["id"]}]
    for odd in odds:
        assert code_of(desk.decide(row, "correct", "typing_error", **odd)) == (422, "malformed")


def test_a_row_with_an_unknown_grid_is_reviewed_where_its_author_works(
    worker: Handheld, desk: Desk, world: World
) -> None:
    worker.push("person", document("999999999999999", **PERSON))
    row = waiting(desk)
    elsewhere = Staff(world).ready(Role.SUPERVISOR, territory_code="440304")
    headers = Staff(world).headers(elsewhere["login"], elsewhere["password"])
    listed = desk.client.get("/reviews/v1/quarantine", headers=headers).json()
    assert listed["rows"] == []
    assert code_of(desk.client.get(f"/reviews/v1/quarantine/{row['id']}", headers=headers)) == (404, "not_found")
    assert desk.decide(row, "release", "in_order").json()["because"] == "unknown_grid"
    far = one("SELECT id FROM grid WHERE starts_with(id, '440304') ORDER BY id LIMIT 1")
    moved = desk.decide(row, "correct", "grid_corrected", login="supervisor-pingshan", fields={"grid_id": far})
    assert (code_of(moved), moved.json()["because"]) == ((409, "row_not_taken"), "out_of_scope")
    answer = desk.decide(row, "correct", "grid_corrected", fields={"grid_id": worker.grids()[0]})
    assert answer.json()["outcome"] == "applied"
    (record,) = worker.pull("person")
    assert record["grid_id"] == worker.grids()[0]


def test_nothing_is_released_over_the_border_of_a_territory(worker: Handheld, desk: Desk, world: World) -> None:
    """A move into another district: its supervisor sees the row, and may not take a record that lies elsewhere."""
    far = one("SELECT id FROM grid WHERE starts_with(id, '440304') ORDER BY id LIMIT 1")
    pushed = document(worker.grids()[0], **PERSON)
    worker.push("person", pushed)
    worker.push("person", edited(pushed, grid_id=far), pushed)
    row = waiting(desk)
    there = Staff(world).ready(Role.SUPERVISOR, territory_code="440304")
    headers = Staff(world).headers(there["login"], there["password"])
    path = f"/reviews/v1/quarantine/{row['id']}"
    seen = desk.client.get(path, headers=headers).json()
    assert (seen["current"], seen["version"]) == (None, None)
    refused = desk.client.post(f"{path}/release", json={"reason": "belongs_here"}, headers=headers)
    assert (code_of(refused), refused.json()["because"]) == ((409, "row_not_taken"), "out_of_scope")
    here = desk.decide(row, "release", "belongs_here", login="supervisor-pingshan")
    assert code_of(here) == (404, "not_found"), "the row names a grid of the other district"
    assert desk.decide(row, "release", "belongs_here").json()["outcome"] == "applied", "the city reaches both"
    assert worker.pull("person")[-1]["_deleted"] is True


def test_a_rejected_row_is_told_with_its_reason_and_may_be_looked_at_again(
    worker: Handheld, stray: Json, desk: Desk
) -> None:
    row = waiting(desk)
    assert code_of(desk.decide(row, "reject", "in_order")) == (409, "review_reason_unknown")
    assert desk.decide(row, "reject", "not_true").json()["state"] == "rejected"
    assert worker.outcomes()["quarantined"] == []
    (review,) = reviews(worker)
    assert (review["state"], review["decision"]["reason_zh"]) == ("rejected", "情况不属实")
    assert one("SELECT decided_at IS NOT NULL FROM quarantine") is True
    assert desk.rows(state="rejected")[0]["id"] == row["id"]
    assert desk.decide(row, "reopen", "rejected_wrongly").json()["state"] == "open"
    assert one("SELECT decided_at IS NULL FROM quarantine") is True
    (again,) = reviews(worker, since=review["seq"])
    assert (again["state"], again["decision"]) == ("open", None)
    assert worker.outcomes()["quarantined"][0]["row"]["newDocumentState"]["name"] == stray["name"]
    assert desk.decide(row, "release", "belongs_here").json()["outcome"] == "applied"
    steps = desk.get(f"quarantine/{row['id']}")["steps"]
    assert [(step["number"], step["action"]) for step in steps] == [(1, "reject"), (2, "reopen"), (3, "release")]


@pytest.mark.parametrize("at_once", [False, True])
def test_a_row_that_its_author_pushed_anew_is_noted_as_such(worker: Handheld, desk: Desk, at_once: bool) -> None:
    bad = {**document(worker.grids()[0], **PERSON), "phone": 138}
    sent = [{"newDocumentState": row} for row in (bad, edited(bad, phone="13800138000"))]
    for batch in [sent] if at_once else [sent[:1], sent[1:]]:
        worker.push_rows("person", batch)
    (row,) = desk.rows(state="resolved")
    assert desk.rows() == []
    (shown,) = desk.rows(state="resolved")
    assert shown["decided_at"] is not None
    (step,) = desk.get(f"quarantine/{row['id']}")["steps"]
    assert (step["action"], step["role"], step["actor"]) == ("resubmit", None, row["account_id"])
    (entry,) = audited("quarantine_resubmit")
    assert (entry.object_id, entry.actor) == (row["id"], row["account_id"])


def test_what_cannot_be_read_is_shown_by_unmasking_only_and_can_be_rejected(worker: Handheld, desk: Desk) -> None:
    body = b'{"rows": [{"newDocumentState": {"id": "%s", "name": "\\ud800"}}]}' % str(new_id()).encode()
    answer = worker.client.post("/sync/v1/person/push", content=body, headers=worker.headers)
    assert answer.status_code == 200, answer.text
    row = waiting(desk)
    assert (row["code"], desk.get(f"quarantine/{row['id']}")["row"]) == ("unreadable", None)
    refused = desk.decide(row, "correct", "form_corrected", fields={"name": "甲"})
    assert (code_of(refused), refused.json()["because"]) == ((409, "row_not_taken"), "unreadable")
    shown = desk.post(f"quarantine/{row['id']}/unmask", {"reason": "verifying_entry", "note": "查看原文"})
    assert "newDocumentState" in shown.json()["row"]
    assert desk.decide(row, "reject", "unusable").status_code == 200


def test_a_row_of_another_kinds_id_stays_out(worker: Handheld, desk: Desk) -> None:
    house = document(worker.grids()[0], address="合成路1号")
    worker.push("house", house)
    worker.push("person", document(worker.grids()[0], document_id=UUID(house["id"]), **PERSON))
    refused = desk.decide(waiting(desk), "release", "in_order")
    assert (code_of(refused), refused.json()["because"]) == ((409, "row_not_taken"), "id_taken")


def test_a_row_that_took_anothers_op_goes_in_under_its_own(worker: Handheld, desk: Desk) -> None:
    pushed = document(worker.grids()[0], **PERSON)
    worker.push("person", pushed)
    worker.push("person", {**pushed, "phone": "1"}, pushed)
    row = waiting(desk)
    assert row["code"] == "op_reused"
    answer = desk.decide(row, "release", "in_order").json()
    assert (answer["outcome"], answer["version"]) == ("applied", 2)
    assert worker.pull("person")[-1]["phone"] == "1"


def test_whoever_was_erased_does_not_come_back_by_a_release(worker: Handheld, stray: Json, desk: Desk) -> None:
    grid = stray["grid_id"]
    worker.push("house", document(grid, address="合成路1号", owner={"name": "甲", **NUMBER}))
    worker.push("person", document(grid, name="乙", **NUMBER))
    house = desk.rows(kind="house")[0]
    person = next(row for row in desk.rows(kind="person") if row["document_id"] != stray["id"])
    with transaction(engine_for("zw_worker")) as session:
        destroy_keys(session, [human(NUMBER["id_type"], NUMBER["id_number"])])
    for row in (house, person):
        assert desk.get(f"quarantine/{row['id']}")["whole"] is False
        assert desk.decide(row, "release", "in_order").json()["because"] == "erased"
    again = desk.decide(desk.rows(kind="person")[0], "correct", "typing_error", fields=NUMBER)
    assert code_of(again) == (410, "subject_erased")
    assert one("SELECT count(*) FROM document") == 0
    assert desk.decide(person, "reject", "unusable").status_code == 200


def test_many_rows_are_decided_each_by_itself(worker: Handheld, neighbour: Handheld, desk: Desk) -> None:
    grid = neighbour.grids()[0]
    for number in range(3):
        worker.push("person", document(grid, name=f"合成{number}"))
    worker.push("person", {**document(grid), "name": 7})
    rows = desk.rows()
    asked = [
        {"held": rows[0]["id"], "action": "release", "reason": "belongs_here"},
        {"held": rows[3]["id"], "action": "release", "reason": "in_order"},
        {"held": rows[1]["id"], "action": "reject", "reason": "duplicate"},
        {"held": str(new_id()), "action": "reject", "reason": "duplicate"},
        {"held": rows[2]["id"], "action": "release", "reason": "belongs_here"},
    ]
    answer = desk.post("quarantine/decide", {"rows": asked})
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [result["code"] for result in results] == [None, "row_not_taken", None, "not_found", None]
    assert results[1]["refusal"] == {"because": "invalid", "places": ["name: string_type"]}
    assert [row["id"] for row in desk.rows()] == [rows[3]["id"]]
    assert sorted(record["name"] for record in neighbour.pull("person")) == ["合成0", "合成2"]
    told = {review["held"]: review["state"] for review in reviews(worker)}
    assert told == {rows[0]["id"]: "released", rows[1]["id"]: "rejected", rows[2]["id"]: "released"}
    twice = desk.post("quarantine/decide", {"rows": [asked[0], asked[0]]})
    assert code_of(twice) == (422, "malformed")


def test_rows_are_filtered_and_counted(worker: Handheld, neighbour: Handheld, stray: Json, desk: Desk) -> None:
    worker.push("house", {**document(worker.grids()[0]), "address": 1})
    worker.push("person", document("999999999999999", name="甲"))
    assert [row["code"] for row in desk.rows(code="invalid")] == ["invalid"]
    assert [row["code"] for row in desk.rows(grid=stray["grid_id"])] == ["out_of_scope"]
    assert desk.rows(until="2020-01-01T00:00:00Z") == []
    counts = desk.get("quarantine/counts")
    assert counts["total"] == 3
    assert counts["by"]["code"] == {"invalid": 1, "out_of_scope": 1, "unknown_grid": 1}
    assert counts["by"]["kind"] == {"house": 1, "person": 2}
    assert sum(counts["by"]["worker"].values()) == 3
    first = desk.get("quarantine", limit=2)
    assert [row["id"] for row in desk.get("quarantine", limit=2, after=first["next"])["rows"]] == [desk.rows()[2]["id"]]


def test_a_decided_row_is_kept_from_its_decision_on_and_goes_with_its_steps(
    worker: Handheld, stray: Json, desk: Desk
) -> None:
    desk.decide(waiting(desk), "reject", "not_true")
    _age(created=400, decided=10)
    assert _removed() == 0
    _age(created=400, decided=399)
    assert _removed() == 1
    assert (one("SELECT count(*) FROM quarantine"), one("SELECT count(*) FROM review_step")) == (0, 0)


def _age(*, created: int, decided: int) -> None:
    with transaction(engine_for("zw_worker")) as session:
        row = session.exec(select(Quarantine)).one()
        row.created_at = now() - timedelta(days=created)
        row.decided_at = now() - timedelta(days=decided)
        session.add(row)


def _removed() -> int:
    with transaction(engine_for("zw_worker")) as session:
        before = now() - timedelta(days=180)
        return retention.RULES["quarantine_decided"].remove(session, before)


def test_the_api_writes_only_what_it_says_it_reviews(stray: Json, desk: Desk) -> None:
    """The second wall: a supervisor's request that names no record cannot write one, whatever its query."""
    row = waiting(desk)
    desk.decide(row, "release", "belongs_here")
    supervisor = one("SELECT id FROM account WHERE login = 'supervisor'")
    caller = {"account": str(supervisor), "reach": "territory", "territory": "4403", "whole_city": "yes", "device": ""}
    change = text("UPDATE document SET version = version WHERE id = :id")
    for review, changed in (("", 0), (str(uuid4()), 0), (stray["id"], 1)):
        with Session(engine_for("zw_api")) as session:
            act_as(session, {**caller, "review": review})
            assert session.connection().execute(change, {"id": UUID(stray["id"])}).rowcount == changed
    elsewhere: dict[str, Any] = {**caller, "territory": "440304", "whole_city": "", "review": stray["id"]}
    with Session(engine_for("zw_api")) as session:
        act_as(session, elsewhere)
        assert session.connection().execute(change, {"id": UUID(stray["id"])}).rowcount == 0
