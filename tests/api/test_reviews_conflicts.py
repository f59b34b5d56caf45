"""Conflicts at the desk: seen, and decided as versions of their records. People are synthetic."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.core.enums import Role
from backend.core.ids import new_id
from backend.models import AuditEntry, Grid, Membership
from backend.services.sealing import destroy_keys, human
from sync.review_rules import REASONS
from tests.desk import PERSON, Desk, met, one, reviews, stored
from tests.people import Staff, code_of
from tests.world import Handheld, Json, World, edited


def audited(action: str) -> list[AuditEntry]:
    with Session(engine_for("zw_worker")) as session:
        return list(session.exec(select(AuditEntry).where(AuditEntry.action == action)))


def test_the_desk_sees_all_sides_masked(phone: Json, desk: Desk) -> None:
    assert phone["values"] == {
        "base": "138****8000",
        "mine": "139****9000",
        "theirs": "137****7000",
        "kept": "137****7000",
        "now": "137****7000",
    }
    assert (phone["field"], phone["state"], phone["version"], phone["whole"]) == ("phone", "open", 2, True)
    detail = desk.get(f"conflicts/{phone['id']}")
    assert detail["steps"] == []
    assert [step["action"] for step in detail["actions"]] == ["resolve"]
    assert detail["actions"][0]["reasons"]["checked_on_site"] == REASONS["checked_on_site"]
    assert "绝密" not in str(detail)


def test_values_are_shown_in_the_clear_for_a_reason_that_is_kept(phone: Json, desk: Desk) -> None:
    path = f"conflicts/{phone['id']}/unmask"
    asked = {"reason": "verifying_entry", "note": "核对两次采集"}
    answer = desk.post(path, asked)
    assert answer.json()["values"]["mine"] == "13900139000"
    (entry,) = audited("fields_unmasked")
    assert entry.detail["unmasking"] == answer.json()["unmasking_id"]
    assert entry.detail["field_1"] == "phone"
    assert "139001" not in str(entry.detail)
    assert code_of(desk.post(path, {"reason": "verifying_entry"})) == (422, "malformed")


def test_choosing_mine_is_a_version_that_every_handheld_pulls(
    pair: tuple[Handheld, Handheld], phone: Json, desk: Desk
) -> None:
    a, b = pair
    a.pull("person")
    answer = desk.resolve(phone, "mine")
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"3"')
    resolved = answer.json()
    assert (resolved["version"], resolved["conflicts"]) == (3, {phone["id"]: "resolved"})
    for handheld in (a, b):
        record = stored(handheld, phone)
        assert (record["phone"], record["rev"], record["op"]) == ("13900139000", 3, resolved["op"])
        assert record["name"] == PERSON["name"], "other fields stay as they are"
    assert one("SELECT device_id IS NULL AND outcome = 'applied' FROM mutation WHERE op = :op", op=resolved["op"])
    assert one("SELECT count(*) FROM document_version WHERE op = :op AND version = 3", op=resolved["op"]) == 1
    (entry,) = audited("conflict_resolve")
    assert (entry.object_id, entry.detail["choice"], entry.detail["version"]) == (phone["id"], "mine", 3)
    assert desk.conflicts() == []
    (shown,) = desk.conflicts(state="resolved")
    assert shown["values"]["kept"] == "137****7000", "what was kept then is history"
    assert shown["values"]["now"] == "139****9000"


@pytest.mark.parametrize(
    ("choice", "more", "value", "version"),
    [
        ("theirs", {}, "13700137000", 2),
        ("keep", {}, "13700137000", 2),
        ("value", {"value": "13600136000"}, "13600136000", 3),
        ("value", {"remove": True}, None, 3),
    ],
)
def test_each_choice_gives_its_value_and_a_version_only_where_one_is_due(
    pair: tuple[Handheld, Handheld], phone: Json, desk: Desk, choice: str, more: Json, value: str | None, version: int
) -> None:
    answer = desk.resolve(phone, choice, **more).json()
    assert (answer["version"], answer["op"] is None) == (version, version == 2)
    assert stored(pair[0], phone).get("phone") == value
    (review,) = reviews(pair[1])
    assert review["resolution"].get("value") == value


def test_a_resolution_over_an_old_version_is_refused_and_changes_nothing(
    pair: tuple[Handheld, Handheld], phone: Json, desk: Desk
) -> None:
    a, _ = pair
    record = stored(a, phone)
    assert a.push("person", edited(record, sex="female"), record) == []
    answer = desk.resolve(phone, "mine")
    assert code_of(answer) == (412, "version_changed")
    assert answer.json()["version"] == 3
    without = desk.post(f"documents/{phone['document_id']}/resolve", {"decisions": [], "reason": "x"})
    assert without.status_code in (422, 428)
    assert stored(a, phone)["phone"] == "13700137000"
    assert desk.conflicts(hardness="hard")[0]["state"] == "open"


def test_an_edit_of_the_same_field_never_closes_a_conflict(
    pair: tuple[Handheld, Handheld], phone: Json, desk: Desk
) -> None:
    """Never downgraded by itself: only people decide."""
    a, b = pair
    record = stored(a, phone)
    assert a.push("person", edited(record, phone="13900139000"), record) == []
    b.pull("person")
    (still,) = desk.conflicts(hardness="hard")
    assert (still["state"], still["hardness"], still["values"]["now"]) == ("open", "hard", "139****9000")


def test_a_member_of_a_list_is_decided_alone(pair: tuple[Handheld, Handheld], desk: Desk) -> None:
    a, b = pair
    tenant, other = {"id": str(uuid4()), "name": "合成甲"}, {"id": str(uuid4()), "name": "合成乙"}
    first = {"address": "合成路1号", "tenants": [tenant, other]}
    met(
        a,
        b,
        "house",
        first,
        {"tenants": [{**tenant, "phone": "1"}, other]},
        {"tenants": [{**tenant, "phone": "2"}, other]},
    )
    (conflict,) = desk.conflicts(hardness="hard")
    assert conflict["field"] == f"tenants[{tenant['id']}]"
    assert conflict["values"]["mine"]["name"] == "合**"
    assert desk.resolve(conflict, "mine").status_code == 200
    record = stored(a, conflict, "house")
    assert [member.get("phone") for member in record["tenants"]] == ["2", None]
    assert record["tenants"][1] == other
    assert desk.undo(conflict, 3).status_code == 200
    assert stored(a, conflict, "house")["tenants"][0]["phone"] == "1"


def test_the_fields_of_a_deleted_record_are_not_set(pair: tuple[Handheld, Handheld], phone: Json, desk: Desk) -> None:
    a, _ = pair
    record = stored(a, phone)
    a.push("person", {**record, "op": str(uuid4()), "_deleted": True}, record)
    (gone,) = desk.conflicts(hardness="hard")
    assert (gone["deleted"], gone["version"]) == (True, 3)
    assert code_of(desk.resolve(gone, "mine")) == (409, "record_deleted")
    assert desk.resolve(gone, "keep").status_code == 200, "that it stays deleted is a decision"


def test_what_would_break_the_form_or_leave_the_territory_is_refused(
    pair: tuple[Handheld, Handheld], desk: Desk
) -> None:
    a, b = pair
    met(a, b, "person", PERSON, {"name": "甲"}, {"name": "乙"})
    (conflict,) = desk.conflicts(hardness="hard")
    answer = desk.resolve(conflict, "value", value=7)
    assert code_of(answer) == (409, "record_unfit")
    assert answer.json()["places"] == ["name: string_type"]
    assert desk.resolve(conflict, "value", remove=True).json()["places"] == ["name: missing"]
    for odd in ("nul\0", 1e400, ["x"] * 40_000):
        body = f'{{"decisions": [{{"conflict_id": "{conflict["id"]}", "choice": "value", "value": {_json(odd)}}}]}}'
        answer = desk.client.post(
            f"/reviews/v1/documents/{conflict['document_id']}/resolve",
            content=body.replace("]}", '], "reason": "newer_value"}'),
            headers={**desk.headers(), "If-Match": '"2"', "Content-Type": "application/json"},
        )
        assert code_of(answer) == (422, "malformed"), odd
    assert desk.conflicts(hardness="hard")[0]["version"] == 2


def _json(value: Any) -> str:
    return str(value).replace("'", '"') if isinstance(value, list) else {"nul\0": '"nul\\u0000"'}.get(value, "NaN")


def test_a_record_is_moved_within_the_reviewers_territory_only(
    pair: tuple[Handheld, Handheld], desk: Desk, world: World
) -> None:
    a, b = pair
    home = a.grids()[0]
    street = Staff(world).ready(Role.SUPERVISOR, territory_code=home[:9])
    local = Staff(world).headers(street["login"], street["password"])
    near, other = _more_grids(a, f"{home[:9]}%", home), _more_grids(a, "440304%", home)
    met(a, b, "person", {**PERSON, "grid_id": home}, {"grid_id": other[0]}, {"grid_id": near[0]})
    (conflict,) = desk.conflicts(hardness="hard")
    assert (conflict["field"], conflict["grid_id"]) == ("grid_id", other[0])
    path = f"/reviews/v1/documents/{conflict['document_id']}/resolve"
    body: Json = {"decisions": [{"conflict_id": conflict["id"], "choice": "mine"}], "reason": "newer_value"}
    hidden = desk.client.post(path, json=body, headers={**local, "If-Match": '"2"'})
    assert code_of(hidden) == (404, "not_found"), "it lies in another district now"
    assert code_of(desk.resolve(conflict, "value", value="999999999999999")) == (409, "record_unfit")
    assert desk.resolve(conflict, "mine").json()["version"] == 3
    assert stored(a, conflict)["grid_id"] == near[0]
    assert desk.undo(conflict, 3).status_code == 200
    assert desk.resolve({**conflict, "version": 4}, "value", value=near[0]).json()["version"] == 5
    met(a, b, "person", {**PERSON, "grid_id": home}, {"grid_id": near[0]}, {"grid_id": other[0]})
    (second,) = desk.conflicts(hardness="hard")
    body["decisions"][0] = {"conflict_id": second["id"], "choice": "mine"}
    path = f"/reviews/v1/documents/{second['document_id']}/resolve"
    outside = desk.client.post(path, json=body, headers={**local, "If-Match": '"2"'})
    assert (code_of(outside), outside.json()["places"]) == ((409, "record_unfit"), ["grid_id"])


def _more_grids(handheld: Handheld, below: str, other_than: str) -> list[str]:
    """Grids given to the worker besides his own."""
    with transaction(engine_for("zw_worker")) as session:
        query = select(Grid.id).where(col(Grid.id).like(below), Grid.id != other_than).order_by(Grid.id).limit(1)
        found = list(session.exec(query))
        account_id, since = UUID(handheld.tokens["account_id"]), now() - timedelta(days=1)
        for grid_id in set(found) - set(handheld.grids()):
            session.add(Membership(account_id=account_id, grid_id=grid_id, epoch=9, starts_at=since))
    return found


def test_two_conflicts_of_one_record_are_one_version(pair: tuple[Handheld, Handheld], desk: Desk) -> None:
    a, b = pair
    met(a, b, "person", PERSON, {"phone": "1", "sex": "x"}, {"phone": "2", "sex": "y"})
    first, second = desk.conflicts(hardness="hard")
    body = {
        "decisions": [
            {"conflict_id": first["id"], "choice": "mine"},
            {"conflict_id": second["id"], "choice": "keep"},
        ],
        "reason": "checked_with_collector",
    }
    answer = desk.post(f"documents/{first['document_id']}/resolve", body, version=2).json()
    assert answer["version"] == 3
    assert set(answer["conflicts"].values()) == {"resolved"}
    assert {review["state"] for review in reviews(b)} == {"resolved"}
    assert len({review["seq"] for review in reviews(b)}) == 2


def test_many_records_are_decided_each_by_itself(pair: tuple[Handheld, Handheld], desk: Desk) -> None:
    a, b = pair
    for number in range(3):
        met(a, b, "person", {"name": f"合成{number}"}, {"phone": "1"}, {"phone": "2"})
    found = desk.conflicts(hardness="hard")
    assert len(found) == 3
    records = [
        {
            "document_id": conflict["document_id"],
            "version": conflict["version"] + (1 if place == 1 else 0),
            "decisions": [{"conflict_id": conflict["id"], "choice": "mine"}],
            "reason": "newer_value",
        }
        for place, conflict in enumerate(found)
    ]
    records.append({**records[0], "document_id": str(new_id())})
    answer = desk.post("documents/resolve", {"records": records})
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [result["code"] for result in results] == [None, "version_changed", None, "not_found"]
    assert results[1]["refusal"] == {"version": 2}
    assert [result["resolved"]["version"] for result in results if result["resolved"]] == [3, 3]
    (waiting,) = desk.conflicts(hardness="hard")
    assert waiting["id"] == found[1]["id"]
    a.pull("person")
    phones = [a.documents[conflict["document_id"]]["phone"] for conflict in found]
    assert phones == ["2", "1", "2"]


def test_lists_are_filtered_paged_and_counted(pair: tuple[Handheld, Handheld], desk: Desk) -> None:
    a, b = pair
    for number in range(3):
        met(a, b, "person", {"name": f"合成{number}"}, {"phone": "1"}, {"phone": "2"})
    met(a, b, "house", {"address": "合成路1号"}, {"use": "a"}, {"rental_use": "rented"})
    assert len(desk.conflicts()) == 4
    assert [found["hardness"] for found in desk.conflicts(kind="house")] == ["soft"]
    assert desk.conflicts(grid="440399") == []
    assert len(desk.conflicts(grid=a.grids()[0])) == 4
    worker = desk.conflicts()[0]["account_id"]
    assert len(desk.conflicts(worker=worker)) == 4
    assert desk.conflicts(worker=str(new_id())) == []
    assert desk.conflicts(until="2020-01-01T00:00:00Z") == []
    assert len(desk.conflicts(since="2020-01-01T00:00:00Z")) == 4
    page, seen = desk.get("conflicts", limit=3), []
    seen += page["conflicts"]
    page = desk.get("conflicts", limit=3, after=page["next"])
    seen += page["conflicts"]
    assert page["next"] is None
    assert [found["id"] for found in seen] == [found["id"] for found in desk.conflicts()]
    desk.resolve(seen[0], "mine")
    counts = desk.get("conflicts/counts")
    assert counts["total"] == 3
    assert counts["by"]["kind"] == {"house": 1, "person": 2}
    assert counts["by"]["state"] == {"open": 3, "resolved": 1}, "each facet under the filters of the others"
    assert counts["by"]["hardness"] == {"hard": 2, "soft": 1}
    assert counts["by"]["grid"] == {a.grids()[0]: 3}
    assert (counts["by"]["worker"], counts["by"]["age"]) == ({worker: 3}, {"day": 3})
    assert desk.get("conflicts/counts", kind="house")["by"]["kind"] == {"house": 1, "person": 2}


def test_a_side_that_was_erased_cannot_be_chosen_and_what_stands_can(
    pair: tuple[Handheld, Handheld], desk: Desk
) -> None:
    a, b = pair
    number = {"id_type": "citizen_id", "id_number": "44030019900101001X"}
    first = {"address": "合成路1号", "owner": {"name": "甲"}}
    met(a, b, "house", first, {"owner": {"name": "乙"}}, {"owner": {"name": "丙", **number}})
    (conflict,) = desk.conflicts(hardness="hard")
    with transaction(engine_for("zw_worker")) as session:
        destroy_keys(session, [human(number["id_type"], number["id_number"])])
    (conflict,) = desk.conflicts(hardness="hard")
    assert (conflict["whole"], "mine" in conflict["values"]) == (False, False)
    assert code_of(desk.resolve(conflict, "mine")) == (409, "conflict_value_gone")
    assert code_of(desk.resolve(conflict, "value", value={"name": "丙", **number})) == (410, "subject_erased")
    assert desk.resolve(conflict, "theirs").status_code == 200


def test_a_field_that_a_department_owns_takes_its_value_or_a_stewards_word(
    pair: tuple[Handheld, Handheld], desk: Desk
) -> None:
    a, b = pair
    met(a, b, "house", {"address": "合成路1号"}, {"tenure": "x"}, {"tenure": "y"})
    (conflict,) = desk.conflicts(kind="house", hardness="hard")
    detail = desk.get(f"conflicts/{conflict['id']}")
    assert (detail["stewarded"], detail["steward"]) == (True, None)
    assert code_of(desk.resolve(conflict, "mine")) == (409, "field_stewarded")
    assert code_of(desk.resolve(conflict, "steward")) == (409, "conflict_value_gone")
    assert desk.resolve(conflict, "mine", login="steward").status_code == 200


def test_steps_are_appended_and_a_conflict_cannot_be_rewritten(phone: Json, desk: Desk) -> None:
    desk.resolve(phone, "mine")
    for statement in (
        "UPDATE conflict SET hardness = 'soft'",
        "UPDATE conflict SET sides = NULL",
        "UPDATE review_step SET reason = 'x'",
        "DELETE FROM review_step",
    ):
        for role in ("zw_api", "zw_worker"):
            with Session(engine_for(role)) as session, pytest.raises(ProgrammingError, match="permission denied"):
                session.connection().execute(text(statement))


def test_each_new_version_asks_for_one_check(phone: Json, desk: Desk) -> None:
    desk.resolve(phone, "mine")
    keys = "SELECT count(*) FROM job WHERE name = 'workflows.crosscheck' AND key = :key"
    assert one(keys, key=f"document:{phone['document_id']}:3") == 1
