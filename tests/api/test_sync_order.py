"""What the model histories found, on the real server: overtaken pushes, unheard answers, grids lost unpulled; and two
pushes at once, which no history has."""

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from sqlalchemy import text

from backend.core.db import engine_for, transaction
from backend.services.epoch import begin_epoch
from sync import core
from tests.world import Handheld, World, document, edited, until

LONG_S = 30.0


def numbered(device: Handheld, number: int, *rows: dict[str, Any]) -> Any:
    body = {"rows": [{"newDocumentState": row} for row in rows]}
    return device.client.post(
        "/sync/v1/house/push", json=body, headers={**device.headers, "X-Push-Number": str(number)}
    )


def test_a_push_that_was_overtaken_is_refused_whole_and_a_repeat_is_not(world: World) -> None:
    device = world.handheld()
    first = document(device.grids()[0], address="合成路1号", use="residential")
    later = edited(first, use="commercial")
    assert numbered(device, 7, later).json() == []
    assert numbered(device, 7, later).json() == [], "the same again, after a lost answer"
    late = numbered(device, 6, first)
    assert (late.status_code, late.json()["code"]) == (409, "push_out_of_order")
    (pulled,) = device.pull("house")
    assert (pulled["use"], pulled["rev"]) == ("commercial", 1)
    other = document(device.grids()[0], name="合成甲")
    answer = device.client.post(
        "/sync/v1/person/push",
        json={"rows": [{"newDocumentState": other}]},
        headers={**device.headers, "X-Push-Number": "1"},
    )
    assert answer.json() == [], "each collection has numbers of its own"


def test_without_numbers_the_old_value_comes_back(world: World) -> None:
    """The negative control: this is what the numbers are for."""
    device = world.handheld()
    first = document(device.grids()[0], address="合成路1号", use="residential")
    device.push("house", edited(first, use="commercial"))
    device.push("house", first)
    (pulled,) = device.pull("house")
    assert pulled["use"] == "residential"


def test_an_edit_after_an_unheard_create_is_no_conflict(world: World) -> None:
    device = world.handheld()
    first = document(device.grids()[0], address="合成路1号", use="residential")
    device.push("house", first)
    assert device.push("house", edited(first, use="commercial")) == [], "pushed without a base, as a client does"
    assert [entry["outcome"] for entry in device.outcomes()["mutations"]] == ["applied", "applied"]


def test_after_a_restore_an_edit_is_merged_over_the_version_its_rev_names(world: World) -> None:
    device, other = world.handheld(), world.handheld()
    first = document(device.grids()[0], address="合成路1号", use="residential", rental_use="vacant")
    device.push("house", first)
    (master,) = other.pull("house")
    other.push("house", edited(master, use="commercial"), master)
    with transaction(engine_for("zw_worker")) as session:
        begin_epoch(session)
    (merged,) = device.push("house", {**edited(first, rental_use="rented"), "rev": 1})
    assert (merged["use"], merged["rental_use"]) == ("commercial", "rented")
    assert [entry["outcome"] for entry in device.outcomes()["mutations"]] == ["applied", "merged"]


def test_a_rev_of_this_epoch_is_no_base(world: World) -> None:
    """Only before a restore do all lines of history agree on what a number means."""
    device, other = world.handheld(), world.handheld()
    first = document(device.grids()[0], address="合成路1号", use="residential")
    other.push("house", first)
    device.push("house", {**edited(first, use="commercial"), "rev": 1})
    assert [entry["outcome"] for entry in device.outcomes()["mutations"]] == ["conflict"]


def waits_or_is_through(pushed: "Future[Any]") -> bool:
    """Whether a push waits for a lock of documents, or is through without."""
    blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
    with transaction(engine_for("zw_worker")) as session:
        return bool(session.connection().scalar(text(blocked))) or pushed.done()


def test_a_create_repeated_while_the_first_is_under_way_is_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 10: ids are locked before they are read, also those that do not exist yet, so the second push waits where
    the first has read and not written. Documents that are there have a row lock besides."""
    one, other = world.handheld(), world.handheld()
    first = document(one.grids()[0], address="合成路1号", use="residential")
    has_read, go = Event(), Event()
    take_rows = core.take_rows

    def held_up(*given: Any, **named: Any) -> Any:
        if not has_read.is_set():
            has_read.set()
            assert go.wait(LONG_S)
        return take_rows(*given, **named)

    monkeypatch.setattr(core, "take_rows", held_up)
    with ThreadPoolExecutor(2) as senders:
        try:
            sent = senders.submit(one.push, "house", first)
            assert has_read.wait(LONG_S)
            again = senders.submit(one.push, "house", first)
            until(lambda: waits_or_is_through(again), seconds=LONG_S, what="the second push at the first one's lock")
        finally:
            go.set()
        assert (sent.result(LONG_S), again.result(LONG_S)) == ([], [])
    assert [entry["rev"] for entry in other.pull("house")] == [1]
    assert [entry["outcome"] for entry in one.outcomes()["mutations"]] == ["applied"]
