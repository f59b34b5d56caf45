"""Push through the real API: every row has exactly one outcome, and nothing accepted is lost."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlmodel import Session

from backend.core.db import engine_for
from backend.core.ids import new_id
from backend.services.sealing import human, subjects_in
from tests.world import Handheld, World, document, edited


def _outcomes(handheld: Handheld) -> list[str]:
    return [entry["outcome"] for entry in handheld.outcomes()["mutations"]]


def _count(statement: str) -> int:
    with Session(engine_for("zw_worker")) as session:
        return int(session.connection().execute(text(statement)).scalar_one())


def test_a_new_record_of_each_kind_is_applied_and_comes_back_in_a_pull(pair: tuple[Handheld, Handheld]) -> None:
    one, other = pair
    grid = one.grids()[0]
    place = {"lat": 226900000, "lon": 1143400000, "datum": "wgs84"}
    fields: dict[str, dict[str, Any]] = {
        "person": {"name": "合成甲", "id_type": "citizen_id", "id_number": "440310199001011234"},
        "house": {"address": "合成路1号", "owner": {"name": "合成乙"}, "tenants": [{"id": str(uuid4()), "name": "丙"}]},
        "organisation": {"name": "合成公司", "legal_representative": {"name": "丁"}},
        "component": {"class_code": "0101", "state": "intact", "location": place},
        "event": {"class_code": "0101", "occurred_at": "2026-03-02T09:30:00+08:00", "location": place},
    }
    for kind, given in fields.items():
        pushed = document(grid, **given)
        assert one.push(kind, pushed) == []
        (pulled,) = other.pull(kind)
        assert {**pulled, "rev": None} == {**pushed, "rev": None}
    assert _outcomes(one) == ["applied"] * 5


def test_nothing_personal_is_readable_in_any_table(pair: tuple[Handheld, Handheld]) -> None:
    one, other = pair
    secret = "绝密姓名丙丁戊"
    first = document(one.grids()[0], name=secret, phone="13800138000")
    one.push("person", first)
    (held,) = other.pull("person")
    one.push("person", edited(first, phone="13900139000"), first)
    other.push("person", edited(held, phone="13700137000"), held)
    one.push_rows("person", [{"newDocumentState": document("999999999999999", name=secret)}])
    one.push_rows("person", [{"newDocumentState": {"name": secret}}])
    with Session(engine_for("zw_worker")) as session:
        tables = session.connection().execute(
            text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        )
        for (table,) in list(tables):
            dump = session.connection().execute(text(f'SELECT t::text FROM "{table}" t')).scalars()
            for row in dump:
                assert secret not in row, table
                assert "13800138000" not in row, table
    assert _count("SELECT count(*) FROM document") == 1, "the control: the record is there"


def test_the_same_batch_sent_again_changes_nothing(pair: tuple[Handheld, Handheld]) -> None:
    one, _ = pair
    grid = one.grids()[0]
    rows = [{"newDocumentState": document(grid, name=f"甲{number}")} for number in range(5)]
    assert one.push_rows("person", rows) == []
    before = _count("SELECT sum(seq) FROM feed_counter")
    assert one.push_rows("person", rows) == []
    assert _outcomes(one) == ["applied"] * 5
    assert one.outcomes()["quarantined"] == []
    assert _count("SELECT count(*) FROM document_version") == 5
    assert _count("SELECT sum(seq) FROM feed_counter") == before


def test_disjoint_edits_merge_and_both_devices_end_alike(pair: tuple[Handheld, Handheld]) -> None:
    one, other = pair
    first = document(one.grids()[0], name="甲", phone="1")
    one.push("person", first)
    (held,) = other.pull("person")
    assert one.push("person", edited(first, phone="2"), first) == []
    (merged,) = other.push("person", edited(held, name="乙"), held)
    assert (merged["name"], merged["phone"], merged["rev"]) == ("乙", "2", 3)
    assert one.pull("person")[-1] == merged
    assert _outcomes(other) == ["merged"]
    assert other.outcomes()["mutations"][0]["conflicts"] == [{"field": "name", "hardness": "soft", "state": "open"}]


def test_a_merge_or_a_conflict_whose_answer_was_lost_is_answered_again_and_done_once(
    pair: tuple[Handheld, Handheld],
) -> None:
    one, other = pair
    first = document(one.grids()[0], name="甲", phone="1", sex="x")
    one.push("person", first)
    (held,) = other.pull("person")
    one.push("person", edited(first, phone="2"), first)
    for mine in (edited(held, name="乙"), edited(held, name="乙", phone="3")):
        assert other.push("person", mine, held) == other.push("person", mine, held)
    assert _outcomes(other) == ["merged", "conflict"]
    assert _count("SELECT count(*) FROM document_version") == 3
    assert _count("SELECT count(*) FROM conflict") == 2
    assert other.outcomes()["quarantined"] == []


def test_two_edits_of_one_field_are_a_conflict_and_the_servers_value_stands(
    pair: tuple[Handheld, Handheld],
) -> None:
    one, other = pair
    first = document(one.grids()[0], name="甲")
    one.push("person", first)
    (held,) = other.pull("person")
    one.push("person", edited(first, name="乙"), first)
    (kept,) = other.push("person", edited(held, name="丙"), held)
    assert (kept["name"], kept["rev"]) == ("乙", 2)
    assert _outcomes(other) == ["conflict"]
    assert _count("SELECT count(*) FROM conflict WHERE hardness = 'hard' AND field = 'name'") == 1


def test_after_a_lost_answer_and_a_restart_the_last_edit_is_not_lost(pair: tuple[Handheld, Handheld]) -> None:
    """A0 → A1 (answer lost) → A0 with a new op over the old base (rule 2)."""
    one, _ = pair
    first = document(one.grids()[0], name="A0")
    one.push("person", first)
    one.push("person", edited(first, name="A1"), first)
    assert one.push("person", edited(first, name="A0"), first) == []
    (now,) = one.pull("person")
    assert now["name"] == "A0"
    assert _outcomes(one) == ["applied"] * 3


def test_an_op_used_for_other_content_is_quarantined(pair: tuple[Handheld, Handheld]) -> None:
    one, _ = pair
    first = document(one.grids()[0], name="甲")
    one.push("person", first)
    (kept,) = one.push("person", {**first, "name": "乙"})
    assert kept["name"] == "甲"
    (held,) = one.outcomes()["quarantined"]
    assert held["code"] == "op_reused"
    assert held["row"]["newDocumentState"]["name"] == "乙"


def test_wrong_rows_are_kept_and_the_good_ones_of_the_batch_are_applied(pair: tuple[Handheld, Handheld]) -> None:
    one, _ = pair
    grid = one.grids()[0]
    bad = [
        document("000000000000000", name="no such grid"),
        document(grid, name=7),
        {"id": "not an id", "name": "x"},
        "no object",
    ]
    good = document(grid, name="好")
    answers = one.push_rows("person", [{"newDocumentState": row} for row in [*bad, good]])
    assert [(answer["id"], answer["_deleted"]) for answer in answers] == [
        (bad[0]["id"], True),  # type: ignore[index]
        (bad[1]["id"], True),  # type: ignore[index]
    ]
    held = one.outcomes()["quarantined"]
    assert sorted(row["code"] for row in held) == ["invalid", "invalid", "invalid", "unknown_grid"]
    assert {
        row["row"]["newDocumentState"]["name"] for row in held if isinstance(row["row"]["newDocumentState"], dict)
    } >= {
        "no such grid",
        7,
    }
    assert [document["id"] for document in one.pull("person")] == [good["id"]]
    one.push_rows("person", [{"newDocumentState": row} for row in bad])
    assert len(one.outcomes()["quarantined"]) == 4, "sent again, the same rows are quarantined once"


def test_an_invalid_edit_of_a_good_record_is_answered_with_the_record(pair: tuple[Handheld, Handheld]) -> None:
    one, _ = pair
    first = document(one.grids()[0], name="甲")
    one.push("person", first)
    (kept,) = one.push("person", edited(first, name=5), first)
    assert (kept["name"], kept["_deleted"]) == ("甲", False)


def test_a_foreign_record_is_neither_changed_nor_shown(world: World) -> None:
    one = world.handheld(world.workers()[0])
    held = set(one.grids())
    stranger = next(device for device in map(world.handheld, world.workers()[1:]) if held.isdisjoint(device.grids()))
    secret = document(one.grids()[0], name="甲")
    one.push("person", secret)
    attack = document(stranger.grids()[0], document_id=None, name="改")
    attack["id"] = secret["id"]
    (answer,) = stranger.push("person", attack)
    assert answer["_deleted"] is True
    assert "甲" not in str(answer)
    assert stranger.outcomes()["quarantined"][0]["code"] == "out_of_scope"
    assert stranger.pull("person") == []
    assert one.pull("person")[-1]["name"] == "甲"


def test_an_id_of_another_kind_is_refused(pair: tuple[Handheld, Handheld]) -> None:
    one, _ = pair
    person = document(one.grids()[0], name="甲")
    one.push("person", person)
    house = {**document(one.grids()[0], address="x"), "id": person["id"]}
    (answer,) = one.push("house", house)
    assert answer["_deleted"] is True
    assert one.outcomes()["quarantined"][0]["code"] == "id_taken"


def test_a_delete_leaves_a_blank_tombstone_and_an_edit_wins_over_it(pair: tuple[Handheld, Handheld]) -> None:
    one, other = pair
    first = document(one.grids()[0], name="甲")
    one.push("person", first)
    (held,) = other.pull("person")
    second = edited(first, employer="synthetic employer")
    assert one.push("person", second, first) == []
    (dead,) = one.push("person", {**edited(second), "_deleted": True}, second)
    assert (dead["_deleted"], dead["name"]) == (True, "")
    assert one.push("person", dead, second) == [], "our own tombstone coming back means nothing"
    revived = other.push("person", edited(held, phone="1"), held)
    assert revived[0]["_deleted"] is False
    assert _outcomes(other) == ["conflict"]
    back = one.pull("person")[-1]
    assert (back["phone"], back["employer"]) == ("1", "synthetic employer"), "as it last lived, with the edit in it"


def test_several_edits_of_one_record_in_one_batch_are_applied_in_order(pair: tuple[Handheld, Handheld]) -> None:
    one, _ = pair
    first = document(one.grids()[0], name="0")
    second = edited(first, name="1")
    third = edited(second, name="2")
    one.push_rows(
        "person",
        [
            {"newDocumentState": first},
            {"assumedMasterState": first, "newDocumentState": second},
            {"assumedMasterState": second, "newDocumentState": third},
        ],
    )
    (now,) = one.pull("person")
    assert (now["name"], now["rev"]) == ("2", 3)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [(b"{", 400, "not_json"), (b"[]", 422, "malformed"), (b'{"rows":[' + b"{}," * 500 + b"{}]}", 413, "too_large")],
)
def test_a_body_that_cannot_be_taken_is_refused_whole(
    untouched_world: World, body: bytes, status: int, code: str
) -> None:
    handheld = untouched_world.handheld()
    answer = untouched_world.client.post("/sync/v1/person/push", content=body, headers=handheld.headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_huge_body_is_cut_off(untouched_world: World) -> None:
    handheld = untouched_world.handheld()
    answer = untouched_world.client.post(
        "/sync/v1/person/push", content=iter([b"x" * 1_000_000] * 20), headers=handheld.headers
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_only_handhelds_push_and_cases_are_read_only(world: World) -> None:
    handheld = world.handheld()
    office = world.office("supervisor")
    assert world.client.post("/sync/v1/person/push", json={"rows": []}, headers=office).status_code == 403
    assert world.client.post("/sync/v1/case/push", json={"rows": []}, headers=handheld.headers).status_code == 403
    assert world.client.post("/sync/v1/person/push", json={"rows": []}).status_code == 401
    assert world.client.post("/sync/v1/secret/push", json={"rows": []}, headers=handheld.headers).status_code == 422


def test_a_client_whose_schema_is_too_old_is_told_to_update(world: World) -> None:
    handheld = world.handheld()
    answer = world.client.get("/sync/v1/person/pull", headers={**handheld.headers, "X-Schema-Version": "0"})
    assert (answer.status_code, answer.json()["code"]) == (426, "schema_too_old")


def test_every_version_has_one_check_job_and_one_audit_entry(pair: tuple[Handheld, Handheld]) -> None:
    one, _ = pair
    first = document(one.grids()[0], name="甲")
    one.push("person", first)
    one.push("person", edited(first, name="乙"), first)
    assert _count("SELECT count(*) FROM job WHERE name = 'workflows.crosscheck'") == 2
    assert _count("SELECT count(*) FROM audit_entry WHERE action = 'document_written'") == 2


def test_an_edit_under_the_op_of_the_servers_own_version_is_not_skipped_in_silence(
    pair: tuple[Handheld, Handheld],
) -> None:
    one, other = pair
    first = document(one.grids()[0], name="甲", phone="1")
    one.push("person", first)
    (held,) = other.pull("person")
    one.push("person", edited(first, phone="2"), first)
    (merged,) = other.push("person", edited(held, name="乙"), held)
    assert other.push("person", merged, merged) == [], "an echo of the server's version means nothing"
    (kept,) = other.push("person", {**merged, "name": "丙"}, merged)
    assert kept["name"] == "乙"
    assert [row["code"] for row in other.outcomes()["quarantined"]] == ["op_reused"]


def test_a_row_that_can_not_be_read_is_answered_and_listed_by_its_id(pair: tuple[Handheld, Handheld]) -> None:
    one, _ = pair
    first = document(one.grids()[0], name="甲")
    one.push("person", first)
    (kept,) = one.push("person", edited(first, name="\ud800"), first)
    assert (kept["id"], kept["name"]) == (first["id"], "甲")
    (dead,) = one.push("person", document(one.grids()[0], remark="x" * 300_000, name="大"))
    assert dead["_deleted"] is True
    assert [row["id"] for row in one.outcomes()["quarantined"]] == [first["id"], dead["id"]]


def test_all_quarantined_rows_come_back_page_by_page_and_leave_when_the_create_goes_in(
    pair: tuple[Handheld, Handheld],
) -> None:
    one, _ = pair
    grid = one.grids()[0]
    bad = [document(grid, name=number) for number in range(120)]
    one.push_rows("person", [{"newDocumentState": row} for row in bad])
    assert {row["id"] for row in one.outcomes()["quarantined"]} == {row["id"] for row in bad}
    assert _count("SELECT count(*) FROM audit_entry WHERE action = 'row_quarantined'") == 120
    one.push_rows("person", [{"newDocumentState": row} for row in bad])
    assert _count("SELECT count(*) FROM audit_entry WHERE action = 'row_quarantined'") == 120
    one.push("person", edited(bad[0], name="改正"))
    assert bad[0]["id"] not in {row["id"] for row in one.outcomes()["quarantined"]}
    assert len(one.outcomes()["quarantined"]) == 119


def test_the_tombstone_of_a_refused_create_means_nothing_when_it_comes_back(pair: tuple[Handheld, Handheld]) -> None:
    one, _ = pair
    (dead,) = one.push("person", document("000000000000000", name="甲"))
    assert one.push("person", dead) == []
    assert len(one.outcomes()["quarantined"]) == 1


def test_what_a_client_adds_to_public_values_is_not_stored_readable(pair: tuple[Handheld, Handheld]) -> None:
    one, other = pair
    grid = one.grids()[0]
    entry = {"photo_id": str(uuid4()), "sha256": "0" * 64, "size": 1, "mime": "image/jpeg", "file": "绝密.jpg"}
    place = {"lat": 226900000, "lon": 1143400000, "datum": "wgs84", "owner": "绝密 13800138000"}
    pushed = document(grid, class_code="0101", state="intact", location=place, photos=[entry], 绝密字段="绝密值")
    one.push("component", pushed)
    (held,) = other.pull("component")
    assert {**held, "rev": None} == {**pushed, "rev": None}, "it comes back as it was sent"
    one.push("component", edited(pushed, 绝密字段="一"), pushed)
    other.push("component", edited(held, 绝密字段="二"), held)
    assert _count("SELECT count(*) FROM conflict") == 1
    with Session(engine_for("zw_worker")) as session:
        for table in ("document", "document_version", "mutation", "conflict", "photo", "audit_entry", "job"):
            dump = session.connection().execute(text(f"SELECT t::text FROM {table} t")).scalars().all()
            assert "绝密" not in "".join(dump), table


def test_two_unknown_fields_alike_in_their_beginning_can_both_be_in_conflict(
    pair: tuple[Handheld, Handheld],
) -> None:
    one, other = pair
    names = ["x" * 100 + "1", "x" * 100 + "2"]
    first = document(one.grids()[0], name="甲") | dict.fromkeys(names, "0")
    one.push("person", first)
    (held,) = other.pull("person")
    one.push("person", edited(first, **dict.fromkeys(names, "1")), first)
    other.push("person", edited(held, **dict.fromkeys(names, "2")), held)
    assert _count("SELECT count(*) FROM conflict WHERE field LIKE 'extra:%'") == 2


def test_the_values_of_a_conflict_are_under_the_humans_own_key(pair: tuple[Handheld, Handheld]) -> None:
    one, other = pair
    known = {"id_type": "citizen_id", "id_number": "44031019900101001X"}
    first = document(one.grids()[0], name="甲", phone="1") | known
    one.push("person", first)
    (held,) = other.pull("person")
    one.push("person", edited(first, phone="2"), first)
    other.push("person", edited(held, phone="3"), held)
    with Session(engine_for("zw_worker")) as session:
        sides = session.connection().execute(text("SELECT sides FROM conflict")).scalar_one()
    assert subjects_in([bytes(sides)]) == {human("citizen_id", "44031019900101001X")}


def test_ids_are_of_the_clients_making(pair: tuple[Handheld, Handheld]) -> None:
    one, _ = pair
    chosen = new_id()
    one.push("person", document(one.grids()[0], document_id=chosen, name="甲"))
    assert one.pull("person")[0]["id"] == str(chosen)
