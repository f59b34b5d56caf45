"""The digest: a replica that pulled everything computes the same count and hash, and nobody else's grid is in it."""

import json
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest

from sync import digest as digest_room
from sync.canonical import canonical
from tests.world import Handheld, World, document, edited


def digest(handheld: Handheld, kind: str = "person", **query: Any) -> Any:
    answer = handheld.client.get(f"/sync/v1/{kind}/digest", params=query, headers=handheld.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["grids"]


def of_replica(handheld: Handheld, grid: str) -> tuple[int, str]:
    """What a client computes of what it holds."""
    held = [one for one in handheld.documents.values() if not one["_deleted"] and one["grid_id"] == grid]
    lines = [canonical(one) + b"\n" for one in sorted(held, key=lambda one: str(one["id"]))]
    return len(held), sha256(b"".join(lines)).hexdigest()


def test_a_replica_that_pulled_everything_has_the_digest_of_each_grid(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest_room, "ROWS_AT_ONCE", 4)
    one, other = world.handheld(), world.handheld()
    grids = one.grids()
    rows = [document(grids[number % len(grids)], name=f"合成{number}", extra={"n": 1.5}) for number in range(11)]
    one.push_rows("person", [{"newDocumentState": row} for row in rows])
    one.push("person", {**rows[0], "_deleted": True, "op": str(uuid4())}, rows[0])
    one.push("person", edited(rows[1], phone="13800138000"), rows[1])
    other.pull("person")
    found = digest(other)
    assert set(found) == set(grids)
    for grid in grids:
        assert (found[grid]["count"], found[grid]["hash"]) == of_replica(other, grid)
        assert found[grid]["seq"] == other.checkpoints["person"]["g"][grid][1]
    assert sum(grid["count"] for grid in found.values()) == 10


def test_every_difference_shows(world: World) -> None:
    one = world.handheld()
    grid = one.grids()[0]
    first = document(grid, name="合成")
    one.push("person", first)
    before = digest(one)[grid]
    one.push("person", edited(first, name="合城"), first)
    after = digest(one)[grid]
    assert (before["count"], after["count"]) == (1, 1)
    assert before["hash"] != after["hash"]
    assert digest(one, "house")[grid] == {"seq": 0, "count": 0, "hash": sha256(b"").hexdigest()}


def test_one_grid_can_be_asked_for_and_a_foreign_one_is_not_given(world: World) -> None:
    one = world.handheld()
    mine, others = one.grids(), map(world.handheld, world.workers()[1:])
    stranger = next(device for device in others if set(device.grids()).isdisjoint(mine))
    one.push("person", document(mine[0], name="合成"))
    assert set(digest(one, grid_id=mine[0])) == {mine[0]}
    assert digest(stranger, grid_id=mine[0]) == {}
    assert mine[0] not in json.dumps(digest(stranger))


def test_numbers_and_names_of_any_sort_do_no_harm(world: World) -> None:
    one, other = world.handheld(), world.handheld()
    grid = one.grids()[0]
    odd = {"big": 2**70, "huge": 10**400, "small": 1e-300, "zero": -0.0, "\U0001f600": 1}
    one.push("person", document(grid, name="合成") | odd)
    other.pull("person")
    assert digest(other)[grid]["count"] == 1
    assert digest(other)[grid]["hash"] == of_replica(other, grid)[1]


@pytest.mark.parametrize("query", [{"grid_id": "x"}, {"grid_id": "1" * 16}])
def test_a_grid_that_is_none_is_malformed(world: World, query: dict[str, str]) -> None:
    handheld = world.handheld()
    answer = world.client.get("/sync/v1/person/digest", params=query, headers=handheld.headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed")
