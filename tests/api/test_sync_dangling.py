"""Soft references: a person may come before its house, and one that leads nowhere is reported to those who care."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from backend.core.db import engine_for, transaction
from backend.core.ids import new_id
from backend.services.backfill import request_backfill
from sync import links
from tests.world import Json, World, document, edited


def dangling(world: World, role: str = "supervisor", **query: Any) -> Any:
    answer = world.client.get("/reviews/v1/dangling", params=query, headers=world.office(role))
    assert answer.status_code == 200, answer.text
    return answer.json()


def named(page: Json) -> set[str]:
    return {reference["id"] for reference in page["references"]}


def test_a_reference_dangles_until_its_house_comes_and_again_when_it_goes(world: World) -> None:
    one = world.handheld()
    grid, house_id = one.grids()[0], new_id()
    person = document(grid, name="合成", house_id=str(house_id))
    homeless = document(grid, name="合成")
    assert one.push("person", person) == [], "never refused"
    one.push("person", homeless)
    page = dangling(world)
    assert page["references"] == [
        {
            "kind": "person",
            "id": person["id"],
            "grid_id": grid,
            "version": 1,
            "field": "house_id",
            "target_kind": "house",
        }
    ]
    house = document(grid, document_id=house_id, address="示例路1号")
    one.push("house", house)
    assert named(dangling(world, "data_steward")) == set()
    one.push("house", {**house, "_deleted": True, "op": str(uuid4())}, house)
    assert named(dangling(world)) == {person["id"]}
    one.push("person", edited(person, house_id=None), person)
    assert named(dangling(world)) == set()


def test_pages_follow_each_other(world: World) -> None:
    one = world.handheld()
    people = [document(one.grids()[0], name="合成", house_id=str(new_id())) for _ in range(5)]
    one.push_rows("person", [{"newDocumentState": person} for person in people])
    found, after = set(), None
    while True:
        page = dangling(world, limit=2, **({"after": after} if after else {}))
        found |= named(page)
        after = page["next"]
        if after is None:
            break
    assert found == {person["id"] for person in people}


def test_where_somebody_lives_stands_nowhere_in_the_open(world: World) -> None:
    one = world.handheld()
    house_id = str(new_id())
    one.push("person", document(one.grids()[0], name="合成", house_id=house_id))
    with transaction(engine_for("zw_worker")) as session:
        row = session.connection().execute(text("SELECT d::text AS whole, link_index FROM document d")).one()
    assert len(row.link_index) == 16
    assert house_id not in row.whole
    assert house_id.replace("-", "") not in row.whole


def test_references_of_before_are_left_out_until_they_are_indexed(
    world: World, drain: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = world.handheld()
    grid = one.grids()[0]
    one.push("house", document(grid, address="示例路1号"))
    people = [document(grid, name="合成", house_id=str(new_id())) for _ in range(3)]
    one.push_rows("person", [{"newDocumentState": person} for person in people])
    everybody = {person["id"] for person in people}
    assert named(dangling(world)) == everybody
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(text("UPDATE document SET link_index = NULL WHERE kind = 'house'"))
    assert named(dangling(world)) == set()
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(text("UPDATE document SET link_index = NULL"))
    drain()
    monkeypatch.setattr(links, "BATCH", 2)
    assert backfilled(drain) == 3, "two full batches, and one that finds no more"
    assert named(dangling(world)) == everybody
    assert backfilled(drain) == 1
    assert named(dangling(world)) == everybody
    assert {entry["rev"] for entry in world.handheld().pull("person")} == {1}, "no version of anything"


def backfilled(drain: Callable[[], int]) -> int:
    """How many jobs a backfill took."""
    with transaction(engine_for("zw_worker")) as session:
        request_backfill(session, actor="command_line")
    return drain()
