"""Photos through the API: sent in one piece, named by records, seen by those who may, and served without metadata."""

from collections.abc import Callable
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.services.objects import object_store
from tests.api.media_client import event_with
from tests.rooms.media_samples import SECRET, carried, digest, jpeg
from tests.world import Handheld, Json, World

PHOTOS = "/media/v1/photos"


def manifest(photo_id: UUID, content: bytes) -> Json:
    return {"photo_id": str(photo_id), "sha256": digest(content), "size": len(content), "mime": "image/jpeg"}


def send(worker: Handheld, photo_id: UUID, content: bytes, /, **fields: str) -> Any:
    values = {"photo_id": str(photo_id), "sha256": digest(content), "mime": "image/jpeg", **fields}
    files = {"file": ("../../etc/passwd", content, "image/jpeg")}
    return worker.client.post(PHOTOS, data=values, files=files, headers=worker.headers)


def fetch(worker: Handheld, path: str, **headers: str) -> Any:
    return worker.client.get(path, headers={**worker.headers, **headers})


def test_a_photo_in_one_piece_is_safe_when_it_is_answered(worker: Handheld) -> None:
    photo_id, content = new_id(), jpeg()
    for _ in range(2):
        answer = send(worker, photo_id, content)
        assert answer.status_code == 201, answer.text
        assert answer.json() == {"photo_id": str(photo_id), "sha256": digest(content), "received": True}
    assert fetch(worker, f"{PHOTOS}/{photo_id}").json()["state"] == "received"
    assert list((get_settings().state_dir / "uploads").iterdir()) == []


def test_one_piece_is_checked_as_an_upload_is(worker: Handheld, monkeypatch: pytest.MonkeyPatch) -> None:
    photo_id, content = new_id(), jpeg()
    refusals = [
        (send(worker, photo_id, content, sha256="0" * 64), 460, "photo_checksum_mismatch"),
        (send(worker, photo_id, content, sha256="x"), 400, "upload_header"),
        (send(worker, photo_id, content, photo_id="../../etc"), 400, "upload_header"),
        (send(worker, photo_id, b""), 400, "photo_empty"),
        (worker.client.post(PHOTOS, data={"a": "b"}, headers=worker.headers), 415, "upload_content_type"),
        (worker.client.post(PHOTOS, json={}, headers=worker.headers), 415, "upload_content_type"),
        (
            worker.client.post(
                PHOTOS,
                content=b"--x\r\nbroken",
                headers={**worker.headers, "Content-Type": "multipart/form-data; boundary=x"},
            ),
            400,
            "upload_header",
        ),
        (
            worker.client.post(PHOTOS, content=b"", headers={**worker.headers, "Content-Type": "multipart/form-data"}),
            400,
            "upload_header",
        ),
        (
            worker.client.post(PHOTOS, files={"photo_id": (None, str(photo_id))}, headers=worker.headers),
            400,
            "upload_header",
        ),
    ]
    for answer, status, code in refusals:
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    monkeypatch.setenv("MAX_PHOTO_BYTES", "2000")
    get_settings.cache_clear()
    for size in (2001, 200_000):
        answer = send(worker, photo_id, bytes(size))
        assert (answer.status_code, answer.json()["code"]) == (413, "photo_too_large")
    get_settings.cache_clear()
    assert fetch(worker, f"{PHOTOS}/{photo_id}").status_code == 404
    assert list((get_settings().state_dir / "uploads").glob("*")) == []


def test_without_a_login_a_form_is_not_even_read(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(_: object) -> None:
        raise AssertionError("the form was read")

    monkeypatch.setattr("starlette.formparsers.MultiPartParser.parse", read)
    answer = api.post(PHOTOS, data={"photo_id": "x"}, files={"file": ("a.jpg", jpeg())})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_a_record_names_a_photo_before_or_after_it_arrives(worker: Handheld, drain: Callable[[], int]) -> None:
    early, late, never, content = new_id(), new_id(), new_id(), jpeg()
    assert send(worker, early, content).status_code == 201
    record = event_with(worker, manifest(early, content), manifest(late, content), manifest(never, content))
    view = fetch(worker, f"/media/v1/completeness?document_id={record}").json()
    assert (view["expected"], view["received"], view["complete"]) == (3, 1, False)
    assert fetch(worker, f"{PHOTOS}/{late}").json()["state"] == "expected"
    assert fetch(worker, f"{PHOTOS}/{late}").json()["received"] is False
    assert fetch(worker, f"{PHOTOS}/{late}/large").json()["code"] == "photo_not_ready"
    assert send(worker, late, jpeg(33, 33)).json()["code"] == "photo_id_taken"
    assert send(worker, late, content).status_code == 201
    drain()
    view = fetch(worker, f"/media/v1/completeness?document_id={record}").json()
    assert (view["expected"], view["received"], view["processed"], view["failed"]) == (3, 2, 2, 0)
    assert [photo["state"] for photo in view["photos"]] == ["processed", "processed", "expected"]


def test_a_cut_photo_says_in_chinese_what_to_do(worker: Handheld, drain: Callable[[], int]) -> None:
    photo_id, content = new_id(), jpeg()[:-300]
    send(worker, photo_id, content)
    drain()
    shown = fetch(worker, f"{PHOTOS}/{photo_id}").json()
    assert shown["state"] == "failed"
    assert shown["failure"]["code"] == "photo_truncated"
    assert "重新拍摄" in shown["failure"]["text_zh"]
    assert shown["variants"] == []
    assert fetch(worker, f"{PHOTOS}/{photo_id}/large").status_code == 404


def test_copies_are_served_clean_with_tag_and_range(worker: Handheld, drain: Callable[[], int]) -> None:
    photo_id, content = new_id(), jpeg(2000, 1500)
    send(worker, photo_id, content)
    drain()
    shown = fetch(worker, f"{PHOTOS}/{photo_id}").json()
    assert (shown["width"], shown["height"], shown["taken_at"]) == (2000, 1500, "2026-03-02T01:12:45Z")
    assert [variant["variant"] for variant in shown["variants"]] == ["large", "large.webp", "thumb", "thumb.webp"]
    for variant in shown["variants"]:
        answer = fetch(worker, variant["href"])
        assert answer.status_code == 200
        assert answer.headers["content-type"] == variant["mime"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"].startswith("private")
        assert len(answer.content) == variant["size"]
        assert carried(variant["variant"], answer.content) == set()
        assert SECRET not in answer.content
        with Image.open(BytesIO(answer.content)) as image:
            assert image.size == (variant["width"], variant["height"])
        etag = answer.headers["ETag"]
        again = fetch(worker, variant["href"], **{"If-None-Match": etag})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
        part = fetch(worker, variant["href"], Range="bytes=10-19")
        assert (part.status_code, part.content) == (206, answer.content[10:20])
        assert part.headers["Content-Range"] == f"bytes 10-19/{variant['size']}"
        old = fetch(worker, variant["href"], **{"Range": "bytes=10-19", "If-Range": '"another"'})
        assert (old.status_code, len(old.content)) == (200, variant["size"])
    outside = fetch(worker, f"{PHOTOS}/{photo_id}/large", Range="bytes=99999999-")
    assert (outside.status_code, outside.json()["code"]) == (416, "range_outside")
    assert fetch(worker, f"{PHOTOS}/{photo_id}/original").status_code == 422


def test_a_photo_is_seen_by_the_grid_and_the_offices_and_by_nobody_else(
    world: World, worker: Handheld, drain: Callable[[], int]
) -> None:
    photo_id, content = new_id(), jpeg()
    send(worker, photo_id, content)
    record = event_with(worker, manifest(photo_id, content))
    drain()
    other = next(
        handheld
        for handheld in map(world.handheld, world.workers()[1:])
        if not set(handheld.grids()) & set(worker.grids())
    )
    paths = [f"{PHOTOS}/{photo_id}", f"{PHOTOS}/{photo_id}/thumb", f"/media/v1/completeness?document_id={record}"]
    for path in paths:
        assert world.client.get(path).status_code == 401
        assert fetch(worker, path).status_code == 200
        foreign = fetch(other, path)
        unknown = fetch(other, path.replace(str(photo_id), str(new_id())).replace(record, str(new_id())))
        assert foreign.status_code == unknown.status_code == 404
        assert foreign.json() == unknown.json()
        assert world.client.get(path, headers=world.office("supervisor")).status_code == 200
        assert world.client.get(path, headers=world.office("system_admin")).status_code == 403


def test_naming_the_photo_of_another_worker_in_a_record_of_ones_own_shows_nothing(
    world: World, worker: Handheld, drain: Callable[[], int]
) -> None:
    photo_id, content = new_id(), jpeg()
    send(worker, photo_id, content)
    event_with(worker, manifest(photo_id, content))
    drain()
    other = next(
        handheld
        for handheld in map(world.handheld, world.workers()[1:])
        if not set(handheld.grids()) & set(worker.grids())
    )
    event_with(other, {**manifest(photo_id, content), "sha256": "0" * 64})
    event_with(other, manifest(photo_id, content))
    own = fetch(other, f"{PHOTOS}/{photo_id}").json()
    assert (own["sha256"], own["state"], own["variants"]) == ("0" * 64, "expected", [])
    assert fetch(other, f"{PHOTOS}/{photo_id}/large").status_code == 404
    assert fetch(worker, f"{PHOTOS}/{photo_id}/large").status_code == 200


def test_a_copy_the_store_has_lost_is_a_fault_of_ours(worker: Handheld, drain: Callable[[], int]) -> None:
    photo_id = new_id()
    send(worker, photo_id, jpeg())
    drain()
    object_store()
    for path in (get_settings().state_dir / "media" / "derivatives").rglob("*-thumb-*.jpeg"):
        path.unlink()
    answer = fetch(worker, f"{PHOTOS}/{photo_id}/thumb")
    assert (answer.status_code, answer.json()["code"]) == (503, "object_missing")


def test_completeness_wants_one_source(worker: Handheld) -> None:
    for query in ("", f"?document_id={new_id()}&report_id={new_id()}"):
        assert fetch(worker, f"/media/v1/completeness{query}").status_code == 400
    assert fetch(worker, f"/media/v1/completeness?report_id={new_id()}").status_code == 404
