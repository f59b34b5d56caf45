"""What comes after a resolution: its collector accepts or contests it, the desk takes it back. People are synthetic."""

from uuid import uuid4

from sqlmodel import select

from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.models import Membership
from tests.desk import PERSON, Desk, reviews, say, stored
from tests.people import code_of
from tests.world import Handheld, Json, World, document, edited


def test_the_collector_hears_what_was_decided_and_accepts(
    pair: tuple[Handheld, Handheld], phone: Json, desk: Desk, world: World
) -> None:
    _, b = pair
    assert reviews(b) == []
    desk.resolve(phone, "mine")
    (review,) = reviews(b)
    resolution = review["resolution"]
    assert (review["conflict"], review["state"], review["field"]) == (phone["id"], "resolved", "phone")
    assert (resolution["choice"], resolution["value"], resolution["by"]) == ("mine", "13900139000", "supervisor")
    assert (resolution["reason"], resolution["reason_zh"], resolution["rev"]) == ("checked_on_site", "已现场核实", 3)
    assert set(review["may"]) == {"accept", "contest"}
    assert reviews(b, since=review["seq"]) == []
    assert reviews(world.handheld())[0]["conflict"] == phone["id"], "a new handheld of the same account hears of it"
    assert say(b, phone, "accept").json() == {"conflict": phone["id"], "state": "accepted"}
    assert code_of(say(b, phone, "contest", reason="differs_on_site")) == (409, "review_not_allowed")
    (again,) = reviews(b, since=review["seq"])
    assert (again["state"], again["may"]) == ("accepted", {})


def test_a_contest_needs_a_reason_and_is_decided_again_once(
    pair: tuple[Handheld, Handheld], phone: Json, desk: Desk
) -> None:
    _, b = pair
    desk.resolve(phone, "theirs")
    unreasoned = say(b, phone, "contest", reason="because")
    assert code_of(unreasoned) == (409, "review_reason_unknown")
    assert "differs_on_site" in unreasoned.json()["reasons"]
    assert say(b, phone, "contest", reason="differs_on_site", note="住户出示新号").json()["state"] == "contested"
    (waiting,) = desk.conflicts()
    assert waiting["state"] == "contested"
    assert desk.resolve(waiting, "mine", reason="contest_upheld").status_code == 200
    assert code_of(say(b, phone, "contest", reason="differs_on_site")) == (409, "review_not_allowed")
    detail = desk.get(f"conflicts/{phone['id']}")
    assert [(step["number"], step["action"], step["role"]) for step in detail["steps"]] == [
        (1, "resolve", "supervisor"),
        (2, "contest", "grid_worker"),
        (3, "resolve", "supervisor"),
    ]
    assert detail["steps"][1]["note"] == "住户出示新号"
    assert [step["value"] for step in detail["steps"]] == ["137****7000", None, "139****9000"]


def test_nobody_answers_for_somebody_else(world: World, phone: Json, desk: Desk) -> None:
    desk.resolve(phone, "mine")
    stranger = world.handheld(world.workers()[1])
    assert code_of(say(stranger, phone, "accept")) == (404, "not_found")
    assert reviews(stranger) == []


def test_whoever_lost_the_grid_hears_the_decision_and_not_the_value(
    pair: tuple[Handheld, Handheld], phone: Json, desk: Desk
) -> None:
    _, b = pair
    desk.resolve(phone, "mine")
    with transaction(engine_for("zw_worker")) as session:
        for term in session.exec(select(Membership).where(Membership.grid_id == phone["grid_id"])):
            term.ends_at = now()
            session.add(term)
    (review,) = reviews(b)
    assert review["state"] == "resolved"
    assert "value" not in review["resolution"]


def test_undo_restores_the_value_before_as_a_new_version(
    pair: tuple[Handheld, Handheld], phone: Json, desk: Desk
) -> None:
    a, b = pair
    desk.resolve(phone, "mine")
    answer = desk.undo(phone, 3)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["version"], answer.json()["conflicts"]) == (4, {phone["id"]: "open"})
    assert stored(a, phone)["phone"] == "13700137000"
    (review,) = reviews(b)
    assert (review["state"], review["resolution"]) == ("open", None)
    assert desk.conflicts(hardness="hard")[0]["state"] == "open"
    assert code_of(desk.undo(phone, 4)) == (409, "review_not_allowed")


def test_undo_leaves_other_fields_and_is_refused_where_the_field_changed_since(
    pair: tuple[Handheld, Handheld], phone: Json, desk: Desk
) -> None:
    a, _ = pair
    desk.resolve(phone, "mine")
    record = stored(a, phone)
    assert a.push("person", edited(record, sex="female"), record) == []
    assert desk.undo(phone, 4).json()["version"] == 5
    record = stored(a, phone)
    assert (record["phone"], record["sex"]) == ("13700137000", "female")
    desk.resolve({**phone, "version": 5}, "mine")
    record = stored(a, phone)
    assert a.push("person", edited(record, phone="1"), record) == []
    answer = desk.undo(phone, 7)
    assert code_of(answer) == (409, "field_changed")
    assert stored(a, phone)["phone"] == "1"
    assert code_of(desk.undo(phone, 6)) == (412, "version_changed")


def test_undo_of_a_decision_that_changed_nothing_only_opens_it_again(phone: Json, desk: Desk) -> None:
    desk.resolve(phone, "keep", reason="same_meaning")
    answer = desk.undo(phone, 2).json()
    assert (answer["version"], answer["op"], answer["conflicts"]) == (2, None, {phone["id"]: "open"})


def test_a_delete_that_met_an_edit_can_be_decided_for_and_taken_back(
    pair: tuple[Handheld, Handheld], desk: Desk
) -> None:
    a, b = pair
    pushed = document(a.grids()[0], **PERSON)
    a.push("person", pushed)
    (held,) = b.pull("person")
    a.push("person", edited(pushed, sex="female"), pushed)
    b.push("person", {**held, "op": str(uuid4()), "_deleted": True}, held)
    (conflict,) = desk.conflicts(hardness="hard")
    assert (conflict["field"], conflict["values"]["mine"]) == ("_deleted", True)
    assert desk.resolve(conflict, "mine").json()["version"] == 3
    assert stored(a, conflict)["_deleted"] is True
    assert desk.undo(conflict, 3).json()["version"] == 4
    record = stored(a, conflict)
    assert (record["_deleted"], record["name"], record["sex"]) == (False, PERSON["name"], "female")
