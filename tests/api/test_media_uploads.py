"""Uploads by tus 1.0 against the real app: right and wrong requests, and who may send them."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi.testclient import TestClient
from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.db import engine_for
from backend.core.enums import PhotoState
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import AuditEntry, Job, Upload
from backend.services.objects import object_store
from tests.api.media_client import (
    CHUNK,
    TUS,
    UPLOADS,
    assert_refused,
    create,
    creation,
    offset_of,
    partial_files,
    photo_row,
    send,
)
from tests.rooms.media_samples import digest, jpeg
from tests.world import Handheld, World

# --- what is offered


def test_options_tells_what_is_offered_without_a_login(api: TestClient) -> None:
    answer = api.options(UPLOADS)
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == answer.headers["Tus-Resumable"] == "1.0.0"
    offered = set(answer.headers["Tus-Extension"].split(","))
    assert offered == {"creation", "creation-with-upload", "checksum", "expiration", "termination"}
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"
    assert int(answer.headers["Tus-Max-Size"]) == get_settings().max_photo_bytes


def test_another_version_is_refused(worker: Handheld) -> None:
    for version in ({}, {"Tus-Resumable": "0.2.2"}, {"Tus-Resumable": "2.0.0"}):
        headers = {name: value for name, value in creation(worker, b"x").items() if name not in TUS} | version
        answer = worker.client.post(UPLOADS, headers=headers)
        assert_refused(answer, 412, "tus_version")
        assert answer.headers["Tus-Version"] == "1.0.0"


# --- the way of a photo


def test_a_photo_in_three_parts_is_safe_with_the_last_answer(worker: Handheld, drain: Callable[[], int]) -> None:
    drain()
    photo_id, content = new_id(), jpeg()
    place = create(worker, content, photo_id=photo_id)
    first, second = len(content) // 3, len(content) // 2
    assert offset_of(worker, place) == 0
    for start, end in ((0, first), (first, second)):
        answer = send(worker, place, start, content[start:end])
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(end))
        assert parsedate_to_datetime(answer.headers["Upload-Expires"]) > now()
    assert photo_row(photo_id) is None
    assert send(worker, place, second, content[second:]).status_code == 204
    photo = photo_row(photo_id)
    assert photo is not None
    assert (photo.state, photo.sha256, photo.mime) == (PhotoState.RECEIVED, digest(content), "image/jpeg")
    assert object_store().get(photo.original_key or "") == content
    assert offset_of(worker, place) == len(content)
    assert partial_files() == []
    assert drain() == 2, "one job makes the copies, one assesses"
    shown = worker.client.get(f"/media/v1/photos/{photo_id}", headers=worker.headers).json()
    assert (shown["state"], shown["received"], shown["failure"]) == ("processed", True, None)


def test_creation_with_upload_takes_the_whole_photo_in_one_request(worker: Handheld) -> None:
    photo_id, content = new_id(), jpeg()
    headers = creation(worker, content, photo_id=photo_id) | CHUNK
    answer = worker.client.post(UPLOADS, content=content, headers=headers)
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, str(len(content)))
    assert photo_row(photo_id) is not None


def test_head_gives_back_length_metadata_and_expiry(worker: Handheld) -> None:
    photo_id, content = new_id(), jpeg()
    place = create(worker, content, photo_id=photo_id)
    answer = worker.client.head(place, headers={**TUS, **worker.headers})
    assert answer.headers["Upload-Length"] == str(len(content))
    assert answer.headers["Cache-Control"] == "no-store"
    assert f"photo_id {base64.b64encode(str(photo_id).encode()).decode()}" in answer.headers["Upload-Metadata"]
    assert parsedate_to_datetime(answer.headers["Upload-Expires"]) > now() + timedelta(hours=23)


def test_post_with_an_override_serves_clients_without_patch(worker: Handheld) -> None:
    photo_id, content = new_id(), jpeg()
    place = create(worker, content, photo_id=photo_id)

    def post(method: str, body: bytes = b"", **headers: str) -> Any:
        sent = {**TUS, **CHUNK, **worker.headers, "X-HTTP-Method-Override": method, **headers}
        return worker.client.post(place, content=body, headers=sent)

    assert post("PATCH", content[:100], **{"Upload-Offset": "0"}).status_code == 204
    assert post("HEAD").headers["Upload-Offset"] == "100"
    assert_refused(post("PUT"), 400, "upload_header")
    assert post("PATCH", content[100:], **{"Upload-Offset": "100"}).status_code == 204
    assert photo_row(photo_id) is not None
    other = create(worker, content)
    assert (
        worker.client.post(other, headers={**TUS, **worker.headers, "X-HTTP-Method-Override": "DELETE"}).status_code
        == 204
    )
    assert worker.client.head(other, headers={**TUS, **worker.headers}).status_code == 404


def test_a_terminated_upload_leaves_nothing(worker: Handheld) -> None:
    content = jpeg()
    place = create(worker, content)
    send(worker, place, 0, content[:100])
    assert len(partial_files()) == 1
    assert worker.client.delete(place, headers={**TUS, **worker.headers}).status_code == 204
    assert partial_files() == []
    assert_refused(send(worker, place, 100, content[100:]), 404, "not_found")


def test_the_same_photo_again_is_fine_and_other_bytes_under_its_id_are_not(worker: Handheld) -> None:
    photo_id, content = new_id(), jpeg()
    for _ in range(2):
        place = create(worker, content, photo_id=photo_id)
        assert send(worker, place, 0, content).status_code == 204
    with Session(engine_for("zw_api")) as session:
        assert len(session.exec(select(Job).where(Job.key == str(photo_id))).all()) == 1
        audits = session.exec(select(AuditEntry.action).where(AuditEntry.object_id == str(photo_id))).all()
    assert audits == ["photo.received"]
    answer = worker.client.post(UPLOADS, headers=creation(worker, jpeg(90, 90), photo_id=photo_id))
    assert_refused(answer, 409, "photo_id_taken")


def test_of_two_uploads_of_one_id_with_other_bytes_the_second_is_refused_whole(worker: Handheld) -> None:
    photo_id, content, other = new_id(), jpeg(), jpeg(90, 90)
    place, late = create(worker, content, photo_id=photo_id), create(worker, other, photo_id=photo_id)
    assert send(worker, place, 0, content).status_code == 204
    assert_refused(send(worker, late, 0, other), 409, "photo_id_taken")
    assert worker.client.head(late, headers={**TUS, **worker.headers}).status_code == 404
    photo = photo_row(photo_id)
    assert photo is not None
    assert object_store().get(photo.original_key or "") == content
    assert partial_files() == []


# --- bad input


def test_a_length_that_cannot_be_read_is_refused(worker: Handheld) -> None:
    headers = creation(worker, b"x")
    headers.pop("Upload-Length")
    assert_refused(worker.client.post(UPLOADS, headers=headers), 400, "upload_header")
    for length in ("", "-5", "ten", "9" * 16):
        answer = worker.client.post(UPLOADS, headers=headers | {"Upload-Length": length})
        assert_refused(answer, 400, "upload_header")


def test_nothing_and_too_much_are_refused_before_a_byte_is_sent(worker: Handheld) -> None:
    assert_refused(worker.client.post(UPLOADS, headers=creation(worker, b"")), 400, "photo_empty")
    headers = creation(worker, b"x") | {"Upload-Length": str(get_settings().max_photo_bytes + 1)}
    answer = worker.client.post(UPLOADS, headers=headers)
    assert_refused(answer, 413, "photo_too_large")
    assert answer.json()["max_bytes"] == get_settings().max_photo_bytes


def test_metadata_that_cannot_be_read_is_refused(worker: Handheld) -> None:
    for header in ("", "photo_id", "photo_id !!", "sha256 YQ==", "\x80"):
        headers = creation(worker, b"x") | {"Upload-Metadata": header}
        encoded = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
        assert_refused(worker.client.post(UPLOADS, headers=encoded), 400, "upload_header")


def test_a_name_that_points_elsewhere_is_never_looked_at(worker: Handheld, tmp_path: Path) -> None:
    content = jpeg()
    headers = creation(worker, content, filename="../../../../etc/passwd") | CHUNK
    assert worker.client.post(UPLOADS, content=content, headers=headers).status_code == 201
    stored = [path for path in get_settings().state_dir.rglob("*") if path.is_file()]
    assert len(stored) == 1
    assert stored[0].is_relative_to(get_settings().state_dir / "media" / "originals")


def test_a_wrong_offset_is_refused_and_the_right_one_is_told(worker: Handheld) -> None:
    content = jpeg()
    place = create(worker, content)
    send(worker, place, 0, content[:100])
    for offset in (0, 99, 101, len(content)):
        answer = send(worker, place, offset, content[offset:])
        assert_refused(answer, 409, "offset_mismatch")
        assert answer.json()["offset"] == 100
    assert_refused(send(worker, place, 100, content[100:], **{"Upload-Offset": "x"}), 400, "upload_header")
    assert offset_of(worker, place) == 100
    assert send(worker, place, 100, content[100:]).status_code == 204


def test_more_than_declared_is_refused_and_nothing_of_it_kept(worker: Handheld) -> None:
    content = jpeg()
    place = create(worker, content)
    assert_refused(send(worker, place, 0, content + b"x"), 413, "upload_too_long")

    def without_length() -> Iterator[bytes]:
        yield content
        yield b"more"

    headers = {**TUS, **CHUNK, **worker.headers, "Upload-Offset": "0"}
    answer = worker.client.patch(place, content=without_length(), headers=headers)
    assert_refused(answer, 413, "upload_too_long")
    assert offset_of(worker, place) == 0
    assert send(worker, place, 0, content).status_code == 204


def test_a_wrong_checksum_drops_the_bytes_of_that_request_only(worker: Handheld) -> None:
    content = jpeg()

    def checksum(algorithm: str, part: bytes) -> dict[str, str]:
        value = base64.b64encode(hashlib.new(algorithm, part).digest()).decode()
        return {"Upload-Checksum": f"{algorithm} {value}"}

    for algorithm in ("sha1", "sha256"):
        place = create(worker, content)
        assert send(worker, place, 0, content[:100], **checksum(algorithm, content[:100])).status_code == 204
        bad = send(worker, place, 100, content[100:], **checksum(algorithm, content[101:]))
        assert_refused(bad, 460, "chunk_checksum_mismatch")
        assert offset_of(worker, place) == 100
        assert send(worker, place, 100, content[100:], **checksum(algorithm, content[100:])).status_code == 204
    unknown = {"Upload-Checksum": "crc32 AAAA"}
    assert_refused(send(worker, create(worker, content), 0, content, **unknown), 400, "upload_header")


def test_a_photo_that_is_not_the_declared_one_is_refused_and_nothing_stays(worker: Handheld) -> None:
    photo_id, content = new_id(), jpeg()
    place = create(worker, content, photo_id=photo_id)
    wrong = content[:-50] + bytes(50)
    assert_refused(send(worker, place, 0, wrong), 460, "photo_checksum_mismatch")
    assert photo_row(photo_id) is None
    assert partial_files() == []
    assert worker.client.head(place, headers={**TUS, **worker.headers}).status_code == 404
    assert send(worker, create(worker, content, photo_id=photo_id), 0, content).status_code == 204


def test_another_content_type_is_refused(worker: Handheld) -> None:
    content = jpeg()
    answer = send(worker, create(worker, content), 0, content, **{"Content-Type": "image/jpeg"})
    assert_refused(answer, 415, "upload_content_type")


# --- who may


def test_without_a_login_no_byte_is_written(worker: Handheld) -> None:
    content = jpeg()
    place = create(worker, content)
    worker_headers = {**TUS, **CHUNK, "Upload-Offset": "0"}
    for headers in (worker_headers, {**worker_headers, "Authorization": "Bearer forged"}):
        assert_refused(worker.client.patch(place, content=content, headers=headers), 401, "unauthenticated")
    anonymous = creation(worker, content)
    del anonymous["Authorization"]
    assert_refused(worker.client.post(UPLOADS, headers=anonymous), 401, "unauthenticated")
    assert partial_files() == []


def test_a_foreign_upload_is_not_found(world: World, worker: Handheld) -> None:
    content = jpeg()
    place = create(worker, content)
    other = world.handheld(world.workers()[1])
    assert world.client.head(place, headers={**TUS, **other.headers}).status_code == 404
    assert_refused(send(other, place, 0, content), 404, "not_found")
    assert_refused(world.client.delete(place, headers={**TUS, **other.headers}), 404, "not_found")
    assert offset_of(worker, place) == 0
    assert partial_files() == []


def test_nobody_can_occupy_the_id_of_another_ones_photo(world: World, worker: Handheld) -> None:
    """Who knows the id and comes first has a photo of his own, and the owner's upload is none the worse for it."""
    photo_id, content, false = new_id(), jpeg(), jpeg(90, 90)
    other = world.handheld(world.workers()[1])
    for who, what in ((other, false), (worker, content)):
        assert send(who, create(who, what, photo_id=photo_id), 0, what).status_code == 204
    for who, what in ((other, false), (worker, content)):
        shown = world.client.get(f"/media/v1/photos/{photo_id}", headers=who.headers).json()
        assert (shown["sha256"], shown["received"]) == (digest(what), True)


def test_a_handheld_handed_to_another_account_can_finish_its_uploads(world: World, worker: Handheld) -> None:
    photo_id, content = new_id(), jpeg()
    send(worker, create(worker, content, photo_id=photo_id), 0, content)
    other = world.handheld(world.workers()[1])
    assert send(other, create(other, content, photo_id=photo_id), 0, content).status_code == 204
    photo = photo_row(photo_id)
    assert photo is not None
    assert photo.owner_id == UUID(worker.tokens["account_id"])


def test_finished_uploads_stay_known_until_they_expire(worker: Handheld) -> None:
    """A client that lost the last answer asks again and hears that all is here."""
    content = jpeg()
    place = create(worker, content)
    send(worker, place, 0, content)
    assert offset_of(worker, place) == len(content)
    assert send(worker, place, len(content), b"").status_code == 204
    assert_refused(send(worker, place, 0, content), 409, "offset_mismatch")
    with Session(engine_for("zw_api")) as session:
        assert session.exec(select(Upload.finished)).all() == [True]
