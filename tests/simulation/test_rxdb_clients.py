"""What an RxDB client has to do beside storing answers, each shown by the case that needs it."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from backend.core.db import engine_for, transaction
from backend.handlers import load_handlers
from backend.tasks import run_batch
from tests.simulation.device import Device
from tests.simulation.node import NodeProcess
from tests.simulation.town import Town, everything, rows
from tests.world import Json, World, document, until

Open = Callable[..., Device]


@pytest.fixture
def town(client: httpx.Client) -> Town:
    """Three grids; the first two workers hold the first one."""
    town = Town.found(client)
    town.assign(0, 0)
    town.assign(1, 0)
    return town


@pytest.fixture
def start(nodes: list[NodeProcess], town: Town) -> Iterator[Open]:
    """Start a handheld of the next worker."""
    started: list[Device] = []

    def one(**given: Any) -> Device:
        place = len(started)
        started.append(Device(nodes[place], town.enrol(place), town, **given))
        return started[-1]

    yield one
    for device in started:
        device.call("close")


def test_an_edit_undone_after_a_lost_answer_and_a_restart_stands(town: Town, start: Open) -> None:
    """A0 → A1, whose answer is lost → restart → A0: RxDB sends A0 over the old base, and the server must not think that
    nothing was edited (rule 2)."""
    device = start()
    one = device.house(town.grids[0], use="A0")
    device.call("settle")
    device.call("hold", place="push answer")
    device.patch(one, use="A1")
    until(lambda: device.call("held", place="push answer") == 1, what="the edit is on its way")
    device.die_offline()
    device.patch(one, use="A0")
    device.call("offline", offline=False)
    device.call("settle")
    assert '"use":"A0"' in device.houses()[one]
    assert device.is_like_the_server()
    assert device.outcomes() == ["applied"] * 3


@pytest.mark.parametrize("is_removed", [False, True])
def test_a_create_edited_after_a_lost_answer_and_a_restart_meets_no_conflict_with_itself(
    town: Town, start: Open, is_removed: bool
) -> None:
    """RxDB pushes it as a create again, under another `op` and with other content."""
    device = start()
    device.call("settle")
    device.call("hold", place="push answer")
    one = device.house(town.grids[0], use="A0")
    until(lambda: device.call("held", place="push answer") == 1, what="the create is on its way")
    device.die_offline()
    if is_removed:
        assert device.call("remove", kind="house", id=one)
    else:
        device.patch(one, use="A1")
    device.call("offline", offline=False)
    device.call("settle")
    assert device.outcomes() == ["applied"] * 2
    assert device.is_like_the_server()
    assert list(device.houses()) == ([] if is_removed else [one])


def test_what_a_local_migration_adds_to_the_assumed_state_means_nothing(town: Town, start: Open) -> None:
    device = start()
    one = device.house(town.grids[0], use="A0")
    device.call("settle")
    device.call("restart", migrate=True)
    device.patch(one, use="A1")
    device.call("settle")
    (row,) = [row for row in device.call("report")["pushed"] if row["newDocumentState"].get("use") == "A1"]
    assert row["assumedMasterState"]["_attachments"] == {}, "the control: RxDB still does so"
    assert device.outcomes() == ["applied"] * 2
    assert device.is_like_the_server()
    assert rows("SELECT 1 FROM conflict WHERE document_id = :one", one=one) == []


@pytest.mark.parametrize("turns", [True, False])
def test_a_page_read_while_a_push_was_answered_is_read_again(town: Town, start: Open, turns: bool) -> None:
    """Without taking turns RxDB skips the other's edit for good: the page has it, the answer of the push does not."""
    device, other = start(options={"turns": turns}), start()
    one = device.house(town.grids[0], use="A0")
    device.call("settle")
    other.call("settle")
    device.call("hold", place="pull request")
    device.call("poke")
    until(lambda: device.call("held", place="pull request") == 2, what="a pull of both kinds has begun")
    device.call("hold", place="push answer")
    device.patch(one, use="A1")
    until(lambda: device.call("held", place="push answer") == 1, what="the edit is applied")
    other.patch(one, name="B1")
    other.call("settle")
    device.call("release", place="pull request")
    if not turns:
        until(lambda: _checkpoint(device, 3), what="the page is stored")
    device.call("release", place="push answer")
    device.call("settle")
    assert device.is_like_the_server() is turns


def _checkpoint(device: Device, least: int) -> bool:
    return bool(device.call("position", kind="house") >= least)


def test_a_refused_create_stays_with_its_author_until_it_goes_in(town: Town, start: Open) -> None:
    device = start()
    one = device.house(town.grids[1], use="A0")
    device.call("settle")
    assert device.houses() == {}, "answered with a tombstone"
    (row,) = device.call("refused")
    assert (row["id"], row["row"]["use"], row["code"]) == (one, "A0", ""), "kept before any outcome was read"
    device.call("outcomes")
    (row,) = device.call("refused")
    assert row["code"] == "out_of_scope"
    device.call("restart")
    device.call("resubmit", op=row["op"], fields={"grid_id": town.grids[0]})
    device.call("settle")
    device.call("outcomes")
    assert device.call("refused") == []
    assert list(device.houses()) == [one]
    assert device.is_like_the_server()


def test_an_emptied_device_gets_its_refused_rows_back(town: Town, start: Open) -> None:
    device = start(storage="memory")
    device.house(town.grids[1], use="A0")
    device.call("settle")
    device.call("restart")
    assert device.call("refused") == []
    device.call("outcomes")
    (row,) = device.call("refused")
    assert row["row"]["use"] == "A0"


def test_batches_are_halved_until_they_are_taken(town: Town, start: Open) -> None:
    device = start(options={"pushBatch": 50})
    device.call("offline", offline=True)
    for number in range(21):
        device.house(town.grids[0], use=str(number))
    device.call("offline", offline=False)
    device.call("settle")
    assert len(everything(device.enrolled, "house")) == 21
    assert device.outcomes() == ["applied"] * 21


def test_a_row_too_large_for_any_batch_goes_to_the_refused_list(town: Town, start: Open) -> None:
    device = start()
    device.call("offline", offline=True)
    good, large = device.house(town.grids[0]), device.house(town.grids[0], remark="字" * 30_000)
    device.call("offline", offline=False)
    device.call("settle")
    assert list(everything(device.enrolled, "house")) == [good]
    assert [(row["id"], row["code"]) for row in device.call("refused")] == [(large, "too_large")]


def test_a_lost_grid_leaves_nothing_behind(town: Town, start: Open) -> None:
    town.assign(0, 1)
    device = start()
    kept, lost = device.house(town.grids[0]), device.house(town.grids[1], remark="合成备注")
    device.call("settle")
    town.withdraw(0, 1)
    device.call("settle")
    assert list(device.houses()) == [kept]
    assert device.call("dump")["deleted"] == [], "not even the tombstone"
    town.assign(0, 1)
    device.call("settle")
    assert sorted(device.houses()) == sorted([kept, lost])


def test_a_request_to_a_department_comes_back_as_a_task(town: Town, start: Open) -> None:
    device = start(options={"kinds": ["house", "task"]})
    one = device.house(town.grids[0], tenure="collective")
    device.call("settle")
    steward = World(town.client).office("data_steward")  # type: ignore[arg-type]
    answer = town.client.post(
        f"/reviews/v1/documents/{one}/department-fields",
        json={"fields": {"tenure": "public"}, "reason": "department_record"},
        headers={**steward, "If-Match": '"1"'},
    )
    assert answer.status_code == 200, answer.text
    device.call("settle")
    device.patch(one, tenure="private")
    device.call("settle")
    assert '"tenure":"public"' in device.houses()[one]
    load_handlers()
    run_batch("sync.project_verification")
    device.call("settle")
    (task,) = device.call("dump")["living"]["task"].values()
    assert all(part in task for part in ('"state":"open"', '"field":"tenure"', f'"source_id":"{one}"'))


def test_a_checkpoint_that_is_none_of_the_servers_starts_the_sync_anew(town: Town, start: Open) -> None:
    """The feed is set back for a moment, as where somebody restored a server and kept its epoch."""
    device = start()
    one = device.house(town.grids[0], use="A0")
    device.call("settle")
    _shift_feed(town, -1)
    device.call("poke")
    until(lambda: device.call("report")["restarts"] > 0, what="a start anew")
    device.patch(one, use="A1")
    _shift_feed(town, 1)
    device.call("settle")
    assert device.is_like_the_server()
    assert '"use":"A1"' in device.houses()[one]
    assert device.outcomes() == ["applied"] * 2


def _shift_feed(town: Town, by: int) -> None:
    with transaction(engine_for("zw_worker")) as session:
        shifted = text("UPDATE feed_counter SET seq = seq + :by WHERE grid_id = :grid")
        session.connection().execute(shifted, {"by": by, "grid": town.grids[0]})


def test_a_document_that_the_local_form_rejects_raises_an_alarm(town: Town, start: Open) -> None:
    device = start()
    device.call("settle")
    unknown: Json = document(town.grids[0], address="合成路2号", house_code="4" * 25)
    assert town.enrol(1).push("house", unknown) == []
    device.call("poke")
    until(lambda: bool(device.call("report")["alarms"]), what="an alarm")
    assert any("RC_PULL" in alarm for alarm in device.call("report")["alarms"])
    assert device.houses() == {}, "RxDB stores nothing of it: that is what the alarm is for"


def test_a_handheld_in_memory_holds_nothing_of_another_before_it(nodes: list[NodeProcess], town: Town) -> None:
    """Else it pushes under the other's numbers, which the server refuses, and shows the other's records as its own."""
    token = town.enrol(0).tokens["access_token"]
    held = []
    for _ in range(2):
        nodes[0].call("open", name="one name", storage="memory", url=town.url, token=token)
        held.append(nodes[0].call("dump")["living"]["house"])
        nodes[0].call("insert", kind="house", document=document(town.grids[0], address="合成路1号"))
    nodes[0].call("close")
    assert held == [{}, {}]
