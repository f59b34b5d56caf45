"""Photos in lists: with placeholders and thumbnails, scored for those who supervise, and straight from S3."""

from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.services.thumbnails import signed_address
from tests.api.media_client import event_with
from tests.api.test_media_photos import PHOTOS, fetch, manifest, send
from tests.rooms.media_samples import SECRET, jpeg
from tests.s3 import played_s3
from tests.world import Handheld, World, edited


@pytest.fixture
def worker(world: World) -> Handheld:
    return world.handheld()


@pytest.fixture
def in_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with played_s3() as location:
        monkeypatch.setenv("MEDIA_URL", location)
        get_settings.cache_clear()
        yield
    get_settings.cache_clear()


def test_the_photos_of_an_entry_come_in_its_order_with_what_a_list_needs(
    worker: Handheld, drain: Callable[[], int]
) -> None:
    first, second, missing = jpeg(800, 600), jpeg(60, 80), jpeg(30, 20)
    ids = [new_id() for _ in range(3)]
    send(worker, ids[1], second)
    send(worker, ids[0], first)
    contents = (first, second, missing)
    record = event_with(worker, *(manifest(photo_id, content) for photo_id, content in zip(ids, contents, strict=True)))
    drain()
    shown = fetch(worker, f"{PHOTOS}?document_id={record}").json()["photos"]
    assert [photo["photo_id"] for photo in shown] == [str(photo_id) for photo_id in ids]
    assert [photo["state"] for photo in shown] == ["processed", "processed", "expected"]
    assert [bool(photo["placeholder"]) for photo in shown] == [True, True, False]
    thumbs = [next(part["href"] for part in photo["variants"] if part["variant"] == "thumb") for photo in shown[:2]]
    assert [fetch(worker, href).status_code for href in thumbs] == [200, 200]
    assert fetch(worker, f"{PHOTOS}?document_id={new_id()}").status_code == 404
    assert fetch(worker, PHOTOS).json()["code"] == "upload_header"


def test_supervisors_see_the_score_and_its_reasons_beside_the_photo_and_collectors_do_not(
    world: World, worker: Handheld, drain: Callable[[], int]
) -> None:
    photo_id, content = new_id(), jpeg(800, 600)
    send(worker, photo_id, content)
    record = event_with(worker, manifest(photo_id, content))
    drain()
    path = f"/media/v1/evidence?document_id={record}"
    assert fetch(worker, path).status_code == 403
    answer = world.client.get(path, headers=world.office("supervisor"))
    (line,) = answer.json()["photos"]
    assert line["photo"]["photo_id"] == str(photo_id)
    assert 0 <= line["evidence"]["score"] <= 100
    reasons = {reason["code"]: reason for reason in line["evidence"]["reasons"]}
    assert {"time_fits", "time_earlier", "time_later"} & reasons.keys()
    assert all(reason["text_zh"] and reason["text_en"] for reason in reasons.values())
    assert SECRET.decode() not in answer.text
    assert "22.5433" not in answer.text, "the place itself stays sealed"
    assert line["evidence"]["source_version"] == 1
    current = next(event for event in worker.pull("event") if event["id"] == record)
    assert worker.push("event", edited(current, remark="synthetic remark"), current) == []
    drain()
    (line,) = world.client.get(path, headers=world.office("supervisor")).json()["photos"]
    assert line["evidence"]["source_version"] == 2, "an edit has the photos assessed again"


def test_photos_in_s3_are_fetched_from_there_for_some_minutes(
    in_s3: None, world: World, worker: Handheld, drain: Callable[[], int]
) -> None:
    photo_id, content = new_id(), jpeg(800, 600)
    send(worker, photo_id, content)
    record = event_with(worker, manifest(photo_id, content))
    drain()
    copy = f"{PHOTOS}/{photo_id}/thumb"
    answer = worker.client.get(copy, headers=worker.headers, follow_redirects=False)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (307, "no-store")
    listed = fetch(worker, f"{PHOTOS}?document_id={record}").json()["photos"][0]["variants"]
    addresses = [answer.headers["Location"], *(variant["href"] for variant in listed)]
    for address in addresses:
        assert parse_qs(urlsplit(address).query)["X-Amz-Expires"] == ["300"]
        assert "/derivatives/" in address
        got = httpx.get(address)
        assert got.status_code == 200
        assert got.headers["content-type"] in ("image/jpeg", "image/webp")
        assert SECRET not in got.content
        assert httpx.get(address, headers={"Range": "bytes=0-9"}).status_code == 206
    assert worker.client.get(copy, follow_redirects=False).status_code == 401


def test_addresses_can_be_switched_off_and_are_never_made_of_an_original(
    in_s3: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "derivatives/aa/x-thumb.jpeg"
    assert signed_address(key) is not None
    with pytest.raises(ValueError, match="only copies"):
        signed_address("originals/aa/x")
    monkeypatch.setenv("MEDIA_ADDRESS_SECONDS", "0")
    get_settings.cache_clear()
    assert signed_address(key) is None
