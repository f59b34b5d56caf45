"""The receipt: a device is safe to wipe when the server has all of it, and no sooner."""

import hashlib
import json
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from backend.core.db import engine_for, transaction
from backend.core.ids import new_id
from sync.canonical import hash_of
from tests.matrix.things import PICTURE
from tests.world import Handheld, Json, World, document, edited


def item(held: Json) -> Json:
    return {"kind": "person", "id": held["id"], "op": held["op"], "hash": hash_of(held)}


def receipt(handheld: Handheld, *records: Json, photos: list[Json] | None = None) -> Any:
    body = {"records": [item(held) for held in records], "photos": photos or []}
    answer = handheld.client.post("/sync/v1/receipt", json=body, headers=handheld.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def states(answer: Any) -> list[str]:
    return [record["state"] for record in answer["records"]]


def test_what_was_applied_is_safe_and_what_waits_on_the_device_is_not(pair: tuple[Handheld, Handheld]) -> None:
    one, _ = pair
    sent, unsent = (document(one.grids()[0], name=name) for name in ("甲", "乙"))
    one.push("person", sent)
    answer = receipt(one, sent)
    assert (states(answer), answer["safe"]) == (["applied"], True)
    answer = receipt(one, sent, unsent, edited(sent, name="丙"))
    assert (states(answer), answer["safe"]) == (["applied", "missing", "missing"], False)


def test_other_content_under_a_known_op_is_missing(pair: tuple[Handheld, Handheld]) -> None:
    one, _ = pair
    sent = document(one.grids()[0], name="甲")
    one.push("person", sent)
    assert states(receipt(one, {**sent, "name": "乙"})) == ["missing"]


def test_an_older_version_that_the_server_had_is_applied(pair: tuple[Handheld, Handheld]) -> None:
    one, other = pair
    first = document(one.grids()[0], name="甲")
    one.push("person", first)
    (held,) = other.pull("person")
    second = edited(first, name="乙")
    one.push("person", second, first)
    assert states(receipt(other, held)) == ["applied"]
    assert states(receipt(one, first, second)) == ["applied", "applied"]


def test_a_merge_is_applied_and_a_conflict_is_kept_until_it_is_decided(pair: tuple[Handheld, Handheld]) -> None:
    one, other = pair
    first = document(one.grids()[0], name="甲", phone="1", employer="x")
    one.push("person", first)
    (held,) = other.pull("person")
    one.push("person", edited(first, phone="2"), first)
    merged, clashing = edited(held, employer="y"), edited(held, phone="3")
    (now,) = other.push("person", merged, held)
    other.push("person", clashing, held)
    answer = receipt(other, merged, now, clashing)
    assert (states(answer), answer["safe"]) == (["applied", "applied", "conflict"], True)
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(text("UPDATE conflict SET state = 'resolved'"))
    assert states(receipt(other, clashing)) == ["applied"]


def test_a_refused_row_is_held_as_long_as_its_payload_is(pair: tuple[Handheld, Handheld]) -> None:
    one, _ = pair
    invalid, outside = document(one.grids()[0], name=3), document("000000000000000", name="甲")
    one.push("person", invalid)
    one.push("person", outside)
    answer = receipt(one, invalid, outside)
    assert (states(answer), answer["safe"]) == (["held", "held"], True)
    assert states(receipt(one, {**invalid, "name": 4})) == ["missing"]


def test_reused_ops_are_told_apart_by_their_content(pair: tuple[Handheld, Handheld]) -> None:
    one, _ = pair
    first = document(one.grids()[0], name="甲")
    one.push("person", first)
    reused = {**first, "name": "乙"}
    one.push("person", reused)
    assert states(receipt(one, first, reused, {**first, "name": "丙"})) == ["applied", "held", "missing"]


def test_deletes_and_the_servers_tombstones_are_applied_once_they_came(pair: tuple[Handheld, Handheld]) -> None:
    one, other = pair
    first = document(one.grids()[0], name="甲")
    one.push("person", first)
    (held,) = other.pull("person")
    deleted = {**held, "_deleted": True, "op": str(uuid4())}
    assert states(receipt(other, deleted)) == ["missing"]
    (tombstone,) = other.push("person", deleted, held)
    assert states(receipt(other, deleted, tombstone)) == ["applied", "applied"]
    (same,) = one.push("person", edited({**first, "grid_id": "000000000000000"}), first)
    assert states(receipt(one, same)) == ["applied"]


def test_what_a_lost_grid_leaves_on_the_device_is_known_by_its_op_alone(pair: tuple[Handheld, Handheld]) -> None:
    one, other = pair
    grid = one.grids()[0]
    first = document(grid, name="甲")
    one.push("person", first)
    (held,) = other.pull("person")
    with transaction(engine_for("zw_worker")) as session:
        ended = text("UPDATE membership SET ends_at = now() WHERE grid_id = :grid AND account_id = :account")
        session.connection().execute(ended, {"grid": grid, "account": other.tokens["account_id"]})
    assert states(receipt(other, held, edited(held, name="乙"))) == ["applied", "missing"]
    assert states(receipt(other, {**held, "op": str(uuid4())})) == ["missing"], "no guessing of what is out of sight"


def test_photos_have_to_have_come_whole(pair: tuple[Handheld, Handheld]) -> None:
    one, _ = pair
    picture = PICTURE
    sha256 = hashlib.sha256(picture).hexdigest()
    entry = {"photo_id": str(new_id()), "sha256": sha256, "size": len(picture), "mime": "image/jpeg"}
    record = document(one.grids()[0], name="甲", photos=[entry])
    one.push("person", record)
    held = {"photo_id": entry["photo_id"], "sha256": sha256}
    before = receipt(one, record, photos=[held])
    assert (before["photos"][0]["state"], before["photos_awaited"], before["safe"]) == (
        "missing",
        [entry["photo_id"]],
        False,
    )
    sent = one.client.post(
        "/media/v1/photos",
        data={"photo_id": entry["photo_id"], "sha256": sha256, "mime": "image/jpeg"},
        files={"file": ("x.jpg", picture, "image/jpeg")},
        headers=one.headers,
    )
    assert sent.status_code in (200, 201), sent.text
    after = receipt(one, record, photos=[held, {**held, "sha256": "0" * 64}])
    assert [photo["state"] for photo in after["photos"]] == ["applied", "missing"]
    assert receipt(one, record, photos=[held])["safe"] is True


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "not_json"),
        (b"[]", 422, "malformed"),
        (b'{"records":[{"kind":"secret"}]}', 422, "malformed"),
        (b'{"records":[{"kind":"person","id":"x","op":"y","hash":"z"}]}', 422, "malformed"),
        (b'{"records":[{}],"records":3}', 422, "malformed"),
        (b'{"photos":' + b"[" * 100_000, 422, "malformed"),
        (b'{"photos":["\xed\xa0\x80"]}', 422, "malformed"),
        (b'{"records":NaN}', 400, "not_json"),
        (json.dumps({"photos": [{"photo_id": str(uuid4()), "sha256": "0" * 64}] * 1001}).encode(), 413, "too_large"),
    ],
)
def test_a_body_that_is_no_receipt_has_a_clear_code(
    untouched_world: World, body: bytes, status: int, code: str
) -> None:
    answer = untouched_world.client.post("/sync/v1/receipt", content=body, headers=untouched_world.handheld().headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
