"""How a field becomes a department's besides being written by it: an import, a joined duplicate; and what a released
row may do to one. People and places are synthetic."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from backend.core.db import engine_for
from backend.models import AuditEntry
from backend.seed import synthetic
from sync import claims
from tests.api.test_registry import drop, hand_over
from tests.desk import Desk, one
from tests.world import Handheld, Json, World, document, edited

Drain = Callable[[], int]


def house(worker: Handheld, **fields: Any) -> Json:
    made = document(worker.grids()[0], address="合成路1号", **fields)
    assert worker.push("house", made) == []
    return made


def requests(desk: Desk) -> list[Json]:
    return list(desk.get("verifications", "steward")["requests"])


def owned() -> set[tuple[str, str]]:
    with Session(engine_for("zw_worker")) as session:
        rows = session.connection().execute(text("SELECT CAST(document_id AS text), field FROM field_authority"))
        return {(row.document_id, row.field) for row in rows}


def write_tenure(desk: Desk, record: Json, value: str) -> None:
    body = {"fields": {"tenure": value}, "reason": "department_record"}
    answer = desk.post(f"documents/{record['id']}/department-fields", body, login="steward", version=1)
    assert answer.status_code == 200, answer.text


def test_an_import_makes_the_departments_what_it_confirms(
    world: World, worker: Handheld, desk: Desk, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "BATCH", 2)
    records = [synthetic.MAKERS["houses"](index) for index in range(3)]
    same, other, silent = (
        house(worker, house_code=record["house_code"], **({"tenure": tenure} if tenure else {}))
        for record, tenure in zip(records, (records[0]["tenure"], "other", None), strict=True)
    )
    unknown = house(worker, house_code="4" * 25, tenure=records[0]["tenure"])
    for _ in range(2):
        assert hand_over(world, "houses", drop("houses", 3)).status_code == 202
        drain()
        assert owned() == {(same["id"], "tenure")}
    with Session(engine_for("zw_worker")) as session:
        (entry,) = session.exec(select(AuditEntry).where(AuditEntry.action == "field_claimed"))
    assert (entry.object_id, entry.actor, entry.detail["field"]) == (same["id"], "sync", "tenure")
    for record in (other, silent, unknown):
        assert worker.push("house", edited(record, tenure="collective"), record) == [], "what the grid observed"
    (answer,) = worker.push("house", edited(same, tenure="grid", use="commercial"), same)
    assert (answer["tenure"], answer["use"], answer["rev"]) == (records[0]["tenure"], "commercial", 2)
    assert [request["document_id"] for request in requests(desk)] == [same["id"]]


def test_a_released_row_asks_the_department_as_its_author_would(world: World, worker: Handheld, desk: Desk) -> None:
    record = house(worker, tenure="collective")
    write_tenure(desk, record, "public")
    (held,) = worker.pull("house")
    stranger = world.handheld(world.workers()[1])
    stranger.push("house", edited(held, tenure="private", use="commercial"), held)
    (row,) = desk.rows()
    assert row["code"] == "out_of_scope"
    decided = desk.decide(row, "release", "belongs_here")
    assert (decided.status_code, decided.json()["outcome"]) == (200, "merged"), decided.text
    (now,) = worker.pull("house")
    assert (now["tenure"], now["use"]) == ("public", "commercial")
    (request,) = requests(desk)
    assert request["values"] == {"proposed": "private", "kept": "public", "now": "public"}
    assert one("SELECT account_id FROM verification_request") == account_of(stranger)


def account_of(handheld: Handheld) -> Any:
    return one("SELECT id FROM account WHERE login = :login", login=handheld.login)


@pytest.mark.parametrize("how", ["owned", "taken", "filled"])
def test_what_a_steward_takes_from_a_duplicate_is_the_departments(
    world: World, worker: Handheld, desk: Desk, how: str
) -> None:
    """A field that the survivor gets by name or that was the department's there; not one that merely was empty."""
    survivor = house(worker, **({"tenure": "collective"} if how == "taken" else {}))
    duplicate = house(worker, tenure="private")
    if how == "owned":
        write_tenure(desk, duplicate, "public")
    body = {
        "duplicate_id": duplicate["id"],
        "duplicate_version": 2 if how == "owned" else 1,
        "reason": "same_house",
        "take": ["tenure"] if how == "taken" else [],
    }
    answer = desk.post(f"documents/{survivor['id']}/join", body, login="steward", version=1)
    assert (answer.status_code, answer.json().get("taken")) == (200, ["tenure"]), answer.text
    assert ((survivor["id"], "tenure") in owned()) is (how != "filled")
    worker.pull("house")
    held = worker.documents[survivor["id"]]
    answered = worker.push("house", edited(held, tenure="grid"), held)
    assert [found["tenure"] for found in answered] == ([] if how == "filled" else [held["tenure"]])
