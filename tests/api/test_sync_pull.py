"""Pull through the real API: whole pages, no gaps, and nothing outside the scope of the moment."""

import json
import threading
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import Session

from backend.core.db import engine_for
from tests.world import Handheld, World, document, edited


def _sql(statement: str, **values: Any) -> None:
    with Session(engine_for("zw_worker")) as session:
        session.connection().execute(text(statement), values)
        session.commit()


def _lose(handheld: Handheld, grid_id: str) -> None:
    _sql(
        "UPDATE membership SET ends_at = now() WHERE grid_id = :grid AND account_id = :account",
        grid=grid_id,
        account=handheld.tokens["account_id"],
    )


def test_pages_are_full_until_the_last_and_leave_nothing_out(world: World) -> None:
    one, other = world.handheld(), world.handheld()
    grids = one.grids()
    rows = [{"newDocumentState": document(grids[n % len(grids)], name=str(n))} for n in range(25)]
    one.push_rows("person", rows)
    pulled = other.pull("person", limit=10)
    assert len(pulled) == 25
    assert {entry["id"] for entry in pulled} == {row["newDocumentState"]["id"] for row in rows}
    assert other.pull("person", limit=10) == []


def test_a_checkpoint_belongs_to_one_kind(world: World) -> None:
    one, other = world.handheld(), world.handheld()
    one.push("person", document(one.grids()[0], name="甲"))
    one.push("organisation", document(one.grids()[0], name="公司"))
    assert [entry["name"] for entry in other.pull("organisation")] == ["公司"]
    assert [entry["name"] for entry in other.pull("person")] == ["甲"]


def test_a_lost_grid_is_paged_out_as_blank_tombstones(world: World) -> None:
    one, other = world.handheld(), world.handheld()
    grid = one.grids()[0]
    for number in range(3):
        one.push("person", document(grid, name=str(number)))
    held = other.pull("person")
    _lose(other, grid)
    gone = other.pull("person", limit=2)
    assert {entry["id"] for entry in gone} == {entry["id"] for entry in held}
    assert all(entry["_deleted"] and entry["name"] == "" for entry in gone)
    assert other.pull("person") == []


def test_what_a_device_pushed_itself_and_never_pulled_goes_too(world: World) -> None:
    one = world.handheld()
    grid = one.grids()[0]
    one.pull("person")
    mine = document(grid, name="甲")
    one.push("person", mine)
    _lose(one, grid)
    assert [(entry["id"], entry["_deleted"]) for entry in one.pull("person")] == [(mine["id"], True)]


def test_a_grid_lost_before_the_first_pull_is_forgotten_once(world: World) -> None:
    one = world.handheld()
    grid = one.grids()[0]
    mine = document(grid, name="甲")
    one.push("person", mine)
    _lose(one, grid)
    assert [(entry["id"], entry["_deleted"]) for entry in one.pull("person")] == [(mine["id"], True)]
    assert one.pull("person") == []


def test_a_device_that_starts_anew_forgets_all_of_a_grid_lost_meanwhile_and_a_later_one_hears_nothing(
    world: World,
) -> None:
    """After a restore a device has no checkpoint, and may hold what others entered."""
    one, other = world.handheld(), world.handheld()
    grid = one.grids()[0]
    theirs = document(grid, name="甲")
    one.push("person", theirs)
    other.pull("person")
    other.checkpoints.clear()
    _lose(other, grid)
    later = world.handheld(other.login)
    assert [(entry["id"], entry["_deleted"]) for entry in other.pull("person")] == [(theirs["id"], True)]
    assert later.pull("person") == []


def test_a_grid_regained_and_lost_again_before_it_was_read_anew_is_forgotten_whole(world: World) -> None:
    one, other = world.handheld(), world.handheld()
    lent = _lend_free_grid(one)
    rows = [document(lent, name=name) for name in ("甲", "乙", "丙")]
    for row in rows:
        one.push("person", row)
    assert len(other.pull("person")) == len(rows)
    _lose(other, lent)
    _sql(
        "INSERT INTO membership (id, account_id, grid_id, epoch, starts_at)"
        " VALUES (gen_random_uuid(), :account, :grid, 2, now())",
        account=one.tokens["account_id"],
        grid=lent,
    )
    assert len(other.page("person", limit=1)) == 1, "the new term is read from its beginning"
    _lose(other, lent)
    gone = other.pull("person")
    assert {entry["id"] for entry in gone} == {row["id"] for row in rows}
    assert all(entry["_deleted"] for entry in gone)


def test_what_came_through_the_feed_of_another_grid_goes_with_its_own(world: World) -> None:
    one, other = world.handheld(), world.handheld()
    first, second = sorted((one.grids()[0], _lend_free_grid(one)))
    moving = document(first, name="甲")
    one.push("person", moving)
    one.push("person", edited(moving, grid_id=second), moving)
    page = other.page("person", limit=1)
    assert [entry["grid_id"] for entry in page] == [second], "it came through the first grid's feed"
    _lose(other, second)
    assert [(entry["id"], entry["_deleted"]) for entry in other.pull("person")] == [(moving["id"], True)]


def test_a_document_touched_after_the_loss_still_goes(world: World) -> None:
    worker, colleague = _sharing(world)
    one, other = world.handheld(worker), world.handheld(colleague)
    grid = min(set(one.grids()) & set(other.grids()))
    first = document(grid, name="甲")
    one.push("person", first)
    other.pull("person")
    _lose(other, grid)
    one.push("person", edited(first, name="乙"), first)
    (gone,) = other.pull("person")
    assert (gone["id"], gone["_deleted"], gone["name"]) == (first["id"], True, "")


def test_a_record_that_moves_out_of_scope_becomes_a_tombstone_for_those_who_stay(world: World) -> None:
    worker, colleague = _sharing(world)
    one, other = world.handheld(worker), world.handheld(colleague)
    shared = sorted(set(one.grids()) & set(other.grids()))
    first = document(shared[0], name="甲")
    one.push("person", first)
    other.pull("person")
    extra = _lend_free_grid(one)
    one.push("person", edited(first, grid_id=extra), first)
    (gone,) = other.pull("person")
    assert (gone["_deleted"], gone["name"]) == (True, "")
    assert one.pull("person")[-1]["grid_id"] == extra


@pytest.mark.parametrize(
    "checkpoint",
    [
        '{"v":1,"g":{"\\u000044031000100100":[1,1]}}',
        '{"v":1,"g":{"440310001001001":[1,99999999999999999999]}}',
        '{"v":1,"g":{"440310001001001":[1,-1]}}',
        "x",
        "[]",
        '{"v":2,"g":{}}',
        '{"v":1,"g":{"a":["b",1]}}',
        '{"v":1,"g":{},"gone":{"a":[1,"x"]}}',
    ],
)
def test_a_checkpoint_that_is_none_of_ours_is_malformed(untouched_world: World, checkpoint: str) -> None:
    handheld = untouched_world.handheld()
    answer = untouched_world.client.get(
        "/sync/v1/person/pull", params={"checkpoint": checkpoint}, headers=handheld.headers
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed")


def test_a_checkpoint_beyond_the_feed_is_refused_and_one_of_an_earlier_term_starts_anew(world: World) -> None:
    one, other = world.handheld(), world.handheld()
    grid = one.grids()[0]
    one.push("person", document(grid, name="甲"))
    other.pull("person")
    epoch, seq = other.checkpoints["person"]["g"][grid]

    def ask(kind: str, *place: int) -> Any:
        query = {"checkpoint": json.dumps({"v": 1, "g": {grid: place}})}
        return world.client.get(f"/sync/v1/{kind}/pull", params=query, headers=other.headers)

    for number in (seq + 1, 2**62):
        refused = ask("person", epoch, number)
        assert (refused.status_code, refused.json()["code"]) == (409, "checkpoint_ahead")
    assert ask("person", epoch, seq).json()["documents"] == []
    assert ask("house", epoch, seq).status_code == 200, "one number for all kinds"
    assert len(ask("person", epoch + 7, 2**62).json()["documents"]) == 1, "another term's number counts for nothing"


def test_a_made_up_checkpoint_shows_no_foreign_document(world: World) -> None:
    one = world.handheld(world.workers()[0])
    stranger = next(
        device for device in map(world.handheld, world.workers()[1:]) if set(one.grids()).isdisjoint(device.grids())
    )
    grid = one.grids()[0]
    one.push("person", document(grid, name="甲"))
    for forged in ({"v": 1, "g": {grid: [1, 0]}}, {"v": 1, "g": {grid: [1, 10**9]}}, {"v": 1, "g": {}, "gone": {}}):
        stranger.checkpoints["person"] = forged
        assert "甲" not in json.dumps(stranger.pull("person"), ensure_ascii=False)


def test_writers_at_once_leave_no_gap_for_a_reader(world: World, api: TestClient) -> None:
    """Six writers and a reader that follows: the reader ends with every document (rule 7)."""
    devices = [world.handheld() for _ in range(6)]
    reader = world.handheld()
    grid = reader.grids()[0]
    failures: list[BaseException] = []

    def write(device: Handheld) -> None:
        try:
            for number in range(15):
                device.push("person", document(grid, name=str(number)))
        except BaseException as error:  # noqa: BLE001  a thread hands its failure to the test
            failures.append(error)

    threads = [threading.Thread(target=write, args=(device,)) for device in devices]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        reader.pull("person", limit=7)
    reader.pull("person", limit=7)
    assert failures == []
    assert len(reader.documents) == 6 * 15


def _sharing(world: World) -> tuple[str, str]:
    """Two demo workers who share a grid (hand-over of a shift)."""
    first = world.workers()[0]
    held = set(world.handheld(first).grids())
    for login in world.workers()[1:]:
        if held & set(world.handheld(login).grids()):
            return first, login
    raise AssertionError("no two demo workers share a grid")


def _lend_free_grid(handheld: Handheld) -> str:
    """A further grid for this worker, held by nobody else of the demo."""
    with Session(engine_for("zw_worker")) as session:
        grid_id = (
            session.connection()
            .execute(text("SELECT id FROM grid WHERE id NOT IN (SELECT grid_id FROM membership) ORDER BY id LIMIT 1"))
            .scalar_one()
        )
    _sql(
        "INSERT INTO membership (id, account_id, grid_id, epoch, starts_at)"
        " VALUES (gen_random_uuid(), :account, :grid, 1, now() - interval '1 hour')",
        account=handheld.tokens["account_id"],
        grid=grid_id,
    )
    return str(grid_id)
