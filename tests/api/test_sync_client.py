"""The reference client against the real API: what it does with each answer, and that faults cost nothing."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlmodel import Session

from backend.core.db import engine_for, transaction
from backend.services.epoch import begin_epoch
from sync.client import KINDS, Client, LoggedOut, Refused, Unreachable, connection, uploads
from sync.schemas import CURRENT_SCHEMA
from tests.devices import Faulty, Meddling, Through, code_for, enrolled
from tests.rooms.media_samples import jpeg
from tests.world import Json, World

Make = Callable[..., Client]
CODES = ("residential", "commercial", "office", "rented", "vacant")


@pytest.fixture
def make(world: World, tmp_path: Path) -> Iterator[Make]:
    with devices_of(world, tmp_path) as made:
        yield made


@contextmanager
def devices_of(world: World, folder: Path) -> Iterator[Make]:
    """Makes enrolled devices, and closes them."""
    made: list[Client] = []

    def make_one(login: str | None = None, **options: Any) -> Client:
        made.append(enrolled(world, folder / f"{len(made)}.sqlite", login, **{"kinds": ("house",), **options}))
        return made[-1]

    try:
        yield make_one
    finally:
        for device in made:
            device.close()


def house(device: Client, **fields: Any) -> Json:
    return device.create("house", {"grid_id": device.grids()[0], "address": "合成路1号", **fields})


def settled(*devices: Client) -> None:
    """All are in step with the server and with each other, and may be wiped."""
    for _ in range(2):
        for device in devices:
            device.sync()
    for device in devices:
        assert device.store.waiting() == 0
        assert device.differing() == []
        receipt = device.receipt()
        assert (receipt.safe, receipt.missing) == (True, [])
        for kind in device.kinds:
            assert device.store.documents(kind) == devices[0].store.documents(kind)


def test_two_devices_exchange_their_work(make: Make) -> None:
    one, other = make(kinds=KINDS), make(kinds=KINDS)
    record = house(one, use="residential")
    assert not one.receipt().safe, "nothing was sent yet"
    settled(one, other)
    other.edit("house", record["id"], {"use": "commercial"})
    one.edit("house", record["id"], {"rental_use": "rented"}, without=["use"])
    one.edit("house", record["id"], {"use": "residential"})
    settled(other, one)
    found = one.store.document("house", record["id"])
    assert found is not None
    assert (found["use"], found["rental_use"]) == ("commercial", "rented")
    assert [entry["outcome"] for entry in one.store.outcomes()] == ["merged"]
    assert one.store.refused() == []
    one.delete("house", record["id"])
    settled(one, other)
    assert other.store.document("house", record["id"]) is None
    with pytest.raises(KeyError):
        one.edit("house", record["id"], {"use": "office"})


def test_a_person_may_arrive_before_the_house_he_lives_in(make: Make) -> None:
    one, other = make(kinds=("person", "house")), make(kinds=("person", "house"))
    home = house(one)
    person = one.create("person", {"grid_id": home["grid_id"], "name": "合成甲", "house_id": home["id"]})
    one.push("person")
    other.sync()
    [found] = other.store.documents("person")
    assert (found["id"], found["house_id"]) == (person["id"], home["id"])
    assert other.store.documents("house") == []
    settled(one, other)
    assert [found["id"] for found in other.store.documents("house")] == [home["id"]]
    assert one.store.refused() == []


def test_a_refused_create_stays_with_its_author_and_can_be_corrected(make: Make) -> None:
    one = make()
    record = house(one, use=3)
    one.sync()
    assert one.store.documents("house") == [], "the server does not have it"
    [entry] = one.store.refused()
    assert (entry["code"], entry["row"]["address"], entry["base"]) == ("invalid", "合成路1号", None)
    assert one.receipt().safe, "the server keeps the row whole"
    again = one.resubmit(entry["op"], {"use": "residential"})
    assert again["id"] == record["id"]
    settled(one)
    assert one.store.refused() == []
    assert [found["use"] for found in one.store.documents("house")] == ["residential"]


def test_a_refused_edit_is_made_anew_on_the_document_as_it_is(make: Make) -> None:
    one, other = make(), make()
    record = house(one, use="residential", rental_use="vacant")
    settled(one, other)
    one.edit("house", record["id"], {"use": 3}, without=["rental_use"])
    one.sync()
    other.edit("house", record["id"], {"address": "合成路2号"})
    settled(other)
    one.sync()
    [entry] = one.store.refused()
    one.resubmit(entry["op"], {"use": "office"})
    settled(one, other)
    found = other.store.document("house", record["id"])
    assert found is not None
    assert (found["use"], found["address"], "rental_use" in found) == ("office", "合成路2号", False)


def test_an_edit_during_a_push_keeps_what_others_wrote(make: Make, world: World) -> None:
    """The answer of the push is a merge that the edit made meanwhile has not seen: its base stays the old one."""
    one, other = make(), make()
    record = house(other, use="residential")
    settled(one, other)
    other.edit("house", record["id"], {"use": "commercial"})
    other.sync()

    def meanwhile() -> None:
        meddling.meanwhile = lambda: None
        one.edit("house", record["id"], {"address": "合成路9号"})

    meddling = Meddling(Through(world.client), meanwhile)
    one.connection._http._transport = meddling
    one.edit("house", record["id"], {"rental_use": "rented"})
    settled(one, other)
    found = other.store.document("house", record["id"])
    assert found is not None
    assert (found["use"], found["rental_use"], found["address"]) == ("commercial", "rented", "合成路9号")
    assert {entry["outcome"] for entry in one.store.outcomes()} == {"merged"}


def test_a_pull_leaves_unsent_edits_alone_and_their_push_brings_the_rest(make: Make) -> None:
    one, other = make(), make()
    record = house(one, use="residential")
    settled(one, other)
    other.edit("house", record["id"], {"use": "commercial"})
    other.sync()
    one.edit("house", record["id"], {"rental_use": "rented"})
    one.pull("house")
    found = one.store.document("house", record["id"])
    assert found is not None
    assert (found["use"], found["rental_use"]) == ("residential", "rented")
    settled(one, other)
    found = one.store.document("house", record["id"])
    assert found is not None
    assert (found["use"], found["rental_use"]) == ("commercial", "rented")


@pytest.mark.parametrize("seed", range(3))
def test_faults_of_the_network_cost_nothing(make: Make, world: World, seed: int) -> None:
    draw = Random(seed)
    networks = [Faulty(Through(world.client), seed * 10 + number) for number in range(2)]
    devices = [make(page=3, batch=2, patience=1000.0) for _ in networks]
    grid = devices[0].grids()[0]
    for device, network in zip(devices, networks, strict=True):
        device.connection._http._transport = network
    written: dict[str, str] = {}
    for step in range(24):
        device = draw.choice(devices)
        living = device.store.documents("house")
        if not living or draw.random() < 0.5:
            address = f"合成路{step}号"
            written[device.create("house", {"grid_id": grid, "address": address})["id"]] = address
        else:
            device.edit("house", draw.choice(living)["id"], {draw.choice(("use", "rental_use")): draw.choice(CODES)})
        if draw.random() < 0.5:
            device.sync()
    for network in networks:
        assert network.seen["lost answer"] + network.seen["lost request"] > 0
        network.rate = 0
    settled(*devices)
    assert {one["id"]: one["address"] for one in devices[0].store.documents("house")} == written
    assert [device.store.refused() for device in devices] == [[], []]


def test_a_batch_that_is_too_large_is_halved_and_a_single_row_set_aside(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("MAX_BATCH_ROWS", "4")
    monkeypatch.setenv("MAX_BODY_BYTES", "65536")
    one = request.getfixturevalue("make")()
    grid = one.grids()[0]
    rows = [one.create("house", {"grid_id": grid, "address": f"合成路{number}号"}) for number in range(11)]
    settled(one)
    one.edit("house", rows[3]["id"], {"remark_long": "长" * 40_000, "use": "residential"})
    one.create("house", {"grid_id": grid, "address": "合成路99号", "remark_long": "长" * 40_000})
    one.sync()
    assert [entry["code"] for entry in one.store.refused()] == ["too_large", "too_large"]
    assert [found["id"] for found in one.store.documents("house")] == [row["id"] for row in rows], (
        "as the server has it"
    )
    assert len(one.receipt().missing) == 2, "only this device has the two rows"
    for entry in one.store.refused():
        one.resubmit(entry["op"], {}, without=["remark_long"])
    settled(one)
    assert len(one.store.documents("house")) == 12
    assert one.store.document("house", rows[3]["id"]) | {"rev": 0, "op": ""} == rows[3] | {
        "use": "residential",
        "rev": 0,
        "op": "",
    }


def test_an_old_copy_of_a_store_catches_up_with_its_push_numbers(make: Make) -> None:
    one = make()
    record = house(one)
    for number in range(5):
        one.edit("house", record["id"], {"address": f"合成路{number}号"})
        one.sync()
    one.store._db.execute("UPDATE collection SET push_number = 0")
    one.edit("house", record["id"], {"address": "合成路77号"})
    settled(one)
    assert [found["address"] for found in one.store.documents("house")] == ["合成路77号"]


def test_pauses_grow_and_the_server_may_ask_for_longer_ones(world: World, tmp_path: Path) -> None:
    answers = [httpx.Response(503), httpx.Response(429, headers={"Retry-After": "7"}), httpx.Response(408)]
    pauses: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if not answers:
            raise httpx.ConnectError("no network", request=request)
        return answers.pop(0)

    device = enrolled(world, tmp_path / "one.sqlite", pause=pauses.append)
    device.connection._http._transport = httpx.MockTransport(answer)
    with pytest.raises(Unreachable):
        device.grids()
    device.close()
    assert pauses[:6] == [0.1, 7.0, 0.4, 0.8, 1.6, 3.2]
    assert max(pauses) == 30.0
    assert sum(pauses) <= 90.0


def test_an_access_token_that_ran_out_is_renewed_and_both_tokens_are_kept(make: Make) -> None:
    one = make()
    before = one.store.recall("refresh_token")
    one.store.remember(access_token="ran out")
    one.sync()
    assert one.store.recall("access_token") != "ran out"
    assert one.store.recall("refresh_token") != before


def test_a_revoked_device_enrols_again_and_its_work_is_not_lost(make: Make, world: World) -> None:
    one = make()
    record = house(one)
    one.sync()
    one.edit("house", record["id"], {"use": "office"})
    kept = one.create("house", {"grid_id": record["grid_id"], "address": "合成路5号"})
    supervisor = world.office("supervisor")
    device_id = one.store.recall("device_id")
    answer = world.client.post(f"/devices/v1/devices/{device_id}/revoke", json={"wipe": False}, headers=supervisor)
    assert answer.status_code == 200, answer.text
    with pytest.raises(LoggedOut):
        one.sync()
    one.enrol(code_for(world, world.workers()[0]), "synthetic handheld")
    settled(one)
    assert [found.get("use") for found in one.store.documents("house")] == ["office", None]
    assert one.store.documents("house")[1]["id"] == kept["id"]


def test_photos_arrive_whole_over_a_bad_network_and_again_after_a_restore(
    make: Make, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PIECE_BYTES", 4096)
    network = Faulty(Through(world.client), seed=3)
    one = make(patience=1000.0)
    content = [jpeg(1500, 900), jpeg(64, 64)]
    lines = [one.take_photo(each) for each in content]
    house(one, photos=lines)
    one.push("house")
    receipt = one.receipt()
    assert (receipt.safe, len(receipt.missing)) == (False, 2)
    assert receipt.photos_awaited == sorted(line["photo_id"] for line in lines)
    one.connection._http._transport = network
    one.sync()
    network.rate = 0
    settled(one)
    assert photo_hashes() == {sha256(each).hexdigest() for each in content}
    forget_photos()
    restored()
    settled(one)
    assert photo_hashes() == {sha256(each).hexdigest() for each in content}


def test_a_photo_that_the_server_refuses_does_not_stop_the_rest(make: Make) -> None:
    one = make()
    one.take_photo(b"")
    line = one.take_photo(jpeg(64, 64))
    house(one, photos=[line])
    one.sync()
    states = {photo["id"]: (bool(photo["sent"]), photo["code"] != "") for photo in one.store.photos()}
    assert sorted(states.values()) == [(False, True), (True, False)]
    assert states[line["photo_id"]] == (True, False)


def test_after_a_restore_everything_is_pushed_again_and_nothing_is_a_conflict(make: Make) -> None:
    one, other = make(), make()
    record = house(one, use="residential")
    gone = one.create("house", {"grid_id": record["grid_id"], "address": "合成路2号"})
    settled(one, other)
    one.delete("house", gone["id"])
    settled(one, other)
    one.edit("house", record["id"], {"use": "office"})
    epoch = one.store.epoch
    assert restored() != epoch
    settled(one, other)
    assert one.store.epoch == other.store.epoch != epoch
    assert [(found["id"], found["use"]) for found in other.store.documents("house")] == [(record["id"], "office")]
    assert conflicts() == []


def test_a_checkpoint_that_is_none_of_the_servers_starts_the_sync_anew(make: Make) -> None:
    one, other = make(), make()
    record = house(one, use="residential")
    settled(one, other)
    epoch, place = one.store.epoch, one.store.checkpoint("house")
    assert place is not None
    grid_id, (term, seq) = next(iter(place["g"].items()))
    one.store.take_page("house", [], {**place, "g": {grid_id: [term, seq + 1000]}})
    one.edit("house", record["id"], {"use": "office"})
    other.edit("house", record["id"], {"rental_use": "vacant"})
    settled(other, one)
    found = one.store.document("house", record["id"])
    assert found is not None
    assert (found["use"], found["rental_use"], one.store.epoch) == ("office", "vacant", epoch)


def test_a_lost_grid_takes_its_documents_and_the_photos_of_them_along(make: Make, world: World) -> None:
    one = make()
    line = one.take_photo(jpeg(64, 64))
    grids = one.grids()
    record = house(one, photos=[line])
    deleted = one.create("house", {"grid_id": grids[0], "address": "合成路2号"})
    one.sync()
    one.delete("house", deleted["id"])
    one.sync()
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(
            text("UPDATE membership SET ends_at = now() WHERE grid_id = :grid"), {"grid": grids[0]}
        )
    one.sync()
    assert one.store.document("house", record["id"]) is None
    assert list(one.store.held()) == []
    assert one.store.photos() == []
    assert one.receipt().safe


def test_a_replica_that_differs_is_found_and_repaired(make: Make) -> None:
    one = make()
    record = house(one)
    settled(one)
    one.store._db.execute("UPDATE document SET body = json_set(body, '$.address', 'x')")
    assert one.differing() == [("house", record["grid_id"])]
    settled(one)
    assert [found["address"] for found in one.store.documents("house")] == ["合成路1号"]


def test_a_page_and_its_checkpoint_are_stored_together_or_not_at_all(make: Make) -> None:
    one, other = make(), make()
    first = house(one)
    one.sync()
    documents, checkpoint = other._calls.pull("house", None, 10)
    with pytest.raises(KeyError):
        other.store.take_page("house", [*documents, {"id": first["id"]}], checkpoint)
    assert (other.store.documents("house"), other.store.checkpoint("house")) == ([], None)
    other.store.take_page("house", documents, checkpoint)
    assert (other.store.documents("house"), other.store.checkpoint("house")) == (documents, checkpoint)


def test_one_file_belongs_to_one_process(make: Make, tmp_path: Path) -> None:
    make()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        Client(tmp_path / "0.sqlite", "http://testserver", lock_wait=0.0)


def test_it_speaks_the_current_form_unless_told_otherwise(make: Make) -> None:
    assert connection.SCHEMA_VERSION == CURRENT_SCHEMA
    with pytest.raises(Refused) as refused:
        make(schema_version=0).sync()
    assert refused.value.code == "schema_too_old"


def test_a_fault_of_the_client_is_told_and_not_repeated(make: Make) -> None:
    one = make()
    with pytest.raises(Refused) as refused:
        one.pull("dragon")
    assert (refused.value.status, refused.value.code) == (422, "malformed")


def restored() -> str:
    """The server is as a restore to this very moment leaves it; gives the new epoch."""
    with transaction(engine_for("zw_worker")) as session:
        return begin_epoch(session)[1]


def conflicts() -> list[Any]:
    with Session(engine_for("zw_worker")) as session:
        return list(session.connection().execute(text("SELECT field, hardness FROM conflict")))


def photo_hashes() -> set[str]:
    with Session(engine_for("zw_worker")) as session:
        found = session.connection().execute(text("SELECT sha256 FROM photo WHERE state <> 'expected'"))
        return set(found.scalars())


def forget_photos() -> None:
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(text("DELETE FROM upload"))
        session.connection().execute(text("UPDATE photo SET state = 'expected'"))
