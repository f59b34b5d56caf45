"""The sync epoch over HTTP: told with every answer, and a client that names another one is stopped at the door."""

from typing import Any

import pytest
from sqlmodel import Session

from backend import __version__
from backend.core.db import engine_for, transaction
from backend.models import Document, ServerState
from backend.services.epoch import begin_epoch
from tests.world import Handheld, World, document, edited

CALLS = [("POST", "/sync/v1/house/push"), ("GET", "/sync/v1/house/pull"), ("GET", "/sync/v1/outcomes")]


def restored() -> str:
    """The server is as a restore leaves it; gives the new epoch."""
    with transaction(engine_for("zw_worker")) as session:
        return begin_epoch(session)[1]


def call(device: Handheld, method: str, path: str) -> Any:
    body = '{"rows": []}' if method == "POST" else None
    return device.client.request(method, path, content=body, headers=device.headers)


def test_the_epoch_is_told_with_every_answer_and_among_the_reference_data(world: World) -> None:
    device = world.handheld()
    said = device.client.get("/reference/v1/server", headers=device.headers).json()["server"]
    assert said["version"] == __version__
    for method, path in CALLS:
        answer = call(device, method, path)
        assert (answer.status_code, answer.headers["X-Sync-Epoch"]) == (200, said["epoch"])
    with Session(engine_for("zw_api")) as session:
        assert session.get_one(ServerState, "epoch").value == said["epoch"]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_a_client_of_another_epoch_is_told_the_new_one(world: World, method: str, path: str) -> None:
    device = world.handheld()
    device.epoch = call(device, method, path).headers["X-Sync-Epoch"]
    assert call(device, method, path).status_code == 200
    begun = restored()
    assert begun != device.epoch
    answer = call(device, method, path)
    assert (answer.status_code, answer.json()["code"], answer.json()["epoch"]) == (409, "epoch", begun)
    device.epoch = begun
    assert call(device, method, path).status_code == 200


def test_nothing_of_a_refused_push_is_written(world: World) -> None:
    device = world.handheld()
    device.epoch = "0" * 16
    pushed = document(device.grids()[0], address="合成路1号")
    answer = device.client.post(
        "/sync/v1/house/push", json={"rows": [{"newDocumentState": pushed}]}, headers=device.headers
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "epoch")
    with Session(engine_for("zw_worker")) as session:
        assert session.get(Document, pushed["id"]) is None
    device.epoch = None
    assert device.push("house", pushed) == []
    assert len(device.pull("house")) == 1


def test_without_a_login_the_epoch_is_not_told(world: World) -> None:
    answer = world.client.get("/sync/v1/house/pull", headers={"X-Sync-Epoch": "0" * 16})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert "X-Sync-Epoch" not in answer.headers


def test_after_a_restore_a_later_version_is_taken_an_older_one_is_stale_and_an_unsent_edit_meets_a_conflict(
    world: World,
) -> None:
    ahead, level = world.handheld(), world.handheld()
    first = document(ahead.grids()[0], address="合成路1号", use="residential")
    ahead.push("house", first)
    (master,) = level.pull("house")
    again = {**master, "rev": 1}
    assert level.push("house", again) == [], "its op is in the history: stale, without effect"
    lost = edited(master, use="commercial", rev=4)
    assert ahead.push("house", lost) == [], "the server gave number 4 before the restore"
    unsent = edited(master, use="office", rev=1)
    (kept,) = level.push("house", unsent)
    assert kept["use"] == "commercial"
    outcomes = [entry["outcome"] for entry in level.outcomes()["mutations"]]
    assert outcomes == ["conflict"]
    (_, said) = ahead.outcomes()["mutations"]
    assert said["outcome"] == "applied"
    assert [(found["field"], found["hardness"]) for found in said["conflicts"]] == [("use", "soft")]


def test_an_echo_of_an_older_lost_version_takes_nothing_back(world: World) -> None:
    """Versions 2 and 3 were lost. The device that has an edit of 3 comes first, those with plain copies after it."""
    first, second, third = world.handheld(), world.handheld(), world.handheld()
    made = document(first.grids()[0], address="合成路1号", use="residential")
    first.push("house", made)
    restored()
    two = {**edited(made, use="commercial"), "rev": 2}
    three = {**edited(two, rental_use="rented"), "rev": 3}
    assert first.push("house", edited(three, address="合成路2号")) == []
    (told,) = second.push("house", two)
    (again,) = third.push("house", three)
    for found in (told, again):
        assert (found["use"], found["rental_use"], found["address"]) == ("commercial", "rented", "合成路2号")
    for device in (second, third):
        assert [entry["outcome"] for entry in device.outcomes()["mutations"]] == ["unchanged"]
        (noted,) = [entry["conflicts"] for entry in device.outcomes()["mutations"]]
        assert {found["hardness"] for found in noted} == {"soft"}, "it may have been an edit: told, and nothing more"
