"""Uploads that expire, pile up, or were left behind, and what became of all photos of one handheld."""

import os
from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import Session

from backend.core.db import engine_for
from backend.core.ids import new_id
from backend.core.settings import get_settings
from media import reaping
from media.partials import WHOLE, Partial, folder, path_of
from tests.api.media_client import (
    TUS,
    UPLOADS,
    assert_refused,
    create,
    creation,
    event_with,
    offset_of,
    partial_files,
    send,
)
from tests.rooms.media_samples import digest, jpeg
from tests.world import Handheld, World


def expire_all() -> None:
    with Session(engine_for("zw_api")) as session:
        session.connection().execute(text("UPDATE upload SET expires_at = now() - interval '1 second'"))
        session.commit()


def reap() -> int:
    with Session(engine_for("zw_worker")) as session:
        return reaping.reap(session)


def test_an_expired_upload_is_gone_and_its_bytes_are_reaped(worker: Handheld) -> None:
    content = jpeg()
    place = create(worker, content)
    send(worker, place, 0, content[:100])
    assert reap() == 0
    expire_all()
    assert worker.client.head(place, headers={**TUS, **worker.headers}).status_code == 410
    assert_refused(send(worker, place, 100, content[100:]), 410, "upload_gone")
    send(worker, create(worker, content), 0, content[:100])
    assert len(partial_files()) == 2
    assert reap() == 1
    assert len(partial_files()) == 1
    assert worker.client.head(place, headers={**TUS, **worker.headers}).status_code == 410


def test_what_a_crash_left_is_reaped_and_what_is_written_to_is_not(worker: Handheld) -> None:
    """Files of no upload, of a finished one, and halves of photos that came in one piece."""
    content = jpeg()
    finished = UUID(create(worker, content).rsplit("/", 1)[1])
    assert send(worker, f"{UPLOADS}/{finished}", 0, content).status_code == 204
    old, young = folder() / f"{new_id()}{WHOLE}", folder() / f"{new_id()}{WHOLE}"
    for path in (path_of(finished), path_of(new_id()), old, young):
        path.write_bytes(b"left")
    os.utime(old, (0, 0))
    held = Partial(new_id())
    assert reap() == 3
    assert set(partial_files()) == {young, held.path}
    held.close()
    assert reap() == 1


def test_a_new_upload_of_a_photo_takes_the_place_of_the_one_that_was_begun(world: World, worker: Handheld) -> None:
    """Over a bad line the answer that named the first is lost; not even a quota of one may lock its sender out."""
    photo_id, content = new_id(), jpeg()
    other = world.handheld(world.workers()[1])
    foreign = create(other, content, photo_id=photo_id)
    places = [create(worker, content, photo_id=photo_id) for _ in range(2)]
    assert worker.client.head(places[0], headers={**TUS, **worker.headers}).status_code == 404
    assert (offset_of(worker, places[1]), offset_of(other, foreign)) == (0, 0)
    send(worker, places[1], 0, content[:100])
    third = create(worker, content, photo_id=photo_id)
    assert partial_files() == []
    assert send(worker, third, 0, content).status_code == 204


def test_too_many_open_uploads_and_too_many_bytes_wait(worker: Handheld, monkeypatch: pytest.MonkeyPatch) -> None:
    content = jpeg()
    for name, value in (("MAX_OPEN_UPLOADS", 2), ("MAX_UPLOAD_BYTES_PER_DAY", 3 * len(content) + 1024)):
        monkeypatch.setenv(name, str(value))
    get_settings.cache_clear()
    places = [create(worker, content) for _ in range(2)]
    answer = worker.client.post(UPLOADS, headers=creation(worker, content))
    assert_refused(answer, 429, "upload_quota")
    assert (answer.json()["max_open"], int(answer.headers["Retry-After"]) > 0) == (2, True)
    assert send(worker, places[0], 0, content).status_code == 204
    create(worker, content)
    assert send(worker, places[1], 0, content).status_code == 204
    answer = worker.client.post(UPLOADS, headers=creation(worker, content))
    assert_refused(answer, 429, "upload_quota")
    assert answer.json()["max_bytes_per_day"] == 3 * len(content) + 1024
    fields = {"photo_id": str(new_id()), "sha256": digest(content)}
    whole = worker.client.post("/media/v1/photos", data=fields, files={"file": content}, headers=worker.headers)
    assert (whole.status_code, whole.json()["code"]) == (429, "upload_quota")


def test_uploads_leave_room_on_the_disk(worker: Handheld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIN_FREE_BYTES", str(2**60))
    get_settings.cache_clear()
    answer = worker.client.post(UPLOADS, headers=creation(worker, jpeg()))
    assert_refused(answer, 507, "storage_full")


def test_what_became_of_the_photos_of_a_handheld(world: World, worker: Handheld, drain: Callable[[], int]) -> None:
    """One was processed, one cannot be used, one is half here, one only named; another handheld's do not count."""
    good, bad, half, named = jpeg(), b"no picture at all", jpeg(90, 90), new_id()
    for content in (good, bad):
        assert send(worker, create(worker, content), 0, content).status_code == 204
    send(worker, create(worker, half), 0, half[:100])
    entry = {"photo_id": str(named), "sha256": digest(b"to come"), "size": 7, "mime": "image/jpeg"}
    event_with(worker, entry)
    other = world.handheld(world.workers()[1])
    assert send(other, create(other, good), 0, good).status_code == 204
    drain()
    path = f"/media/v1/devices/{worker.tokens['device_id']}/completeness"
    answer = world.client.get(path, headers=worker.headers)
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    counts = {name: shown[name] for name in ("expected", "received", "processed", "failed", "complete")}
    assert counts == {"expected": 3, "received": 2, "processed": 1, "failed": 1, "complete": False}
    assert [(one["failure"]["code"], one["count"]) for one in shown["failures"]] == [("format_unsupported", 1)]
    assert [one["photo_id"] for one in shown["awaited"]] == [str(named)]
    assert shown["uploading"] == {"uploads": 1, "safe_bytes": 100, "bytes": len(half)}
    assert world.client.get(path, headers=other.headers).status_code == 404
