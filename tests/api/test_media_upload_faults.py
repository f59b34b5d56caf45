"""Uploads under faults, with real clients and sockets: nothing is called safe that is not, nothing is half-stored."""

import base64
import hashlib
import os
import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
import uvicorn
from sqlalchemy import text
from sqlmodel import Session
from tusclient.client import TusClient
from tusclient.exceptions import TusUploadFailed

from backend.api import media_uploads
from backend.core.db import engine_for
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.main import create_app
from backend.services.objects import StoreUnavailable, object_store
from media import uploads
from media.partials import Partial, folder, path_of
from tests.api.media_client import (
    TUS,
    UPLOADS,
    assert_refused,
    create,
    offset_of,
    open_patch,
    partial_files,
    photo_row,
    send,
)
from tests.faulty_line import FAULTS, Breaker, Kind, Line
from tests.phones import Errand, tus_js, tuspy
from tests.rooms.media_samples import digest, jpeg
from tests.simulation.node import NodeProcess, install, node
from tests.world import Handheld, World, until


@pytest.fixture
def server(world: World) -> Iterator[str]:
    """The address of the app behind a real uvicorn, over the same database as `world`."""
    config = uvicorn.Config(create_app(), host="127.0.0.1", port=0, log_level="critical", lifespan="off")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    until(lambda: running.started, what="uvicorn")
    host, port = running.servers[0].sockets[0].getsockname()[:2]
    yield f"http://{host}:{port}"
    running.should_exit = True
    thread.join()


# --- faults


def test_one_writer_at_a_time_and_others_are_not_kept_waiting(worker: Handheld) -> None:
    content = jpeg()
    place, other = create(worker, content), create(worker, content)
    held = Partial(UUID(place.rsplit("/", 1)[1]))
    try:
        answer = send(worker, place, 0, content)
        assert_refused(answer, 423, "upload_busy")
        assert_refused(worker.client.delete(place, headers={**TUS, **worker.headers}), 423, "upload_busy")
        assert send(worker, other, 0, content).status_code == 204
    finally:
        held.close()
    assert send(worker, place, 0, content).status_code == 204


def test_who_asks_for_the_offset_waits_for_the_request_that_just_broke(worker: Handheld) -> None:
    """Else it would hear of too few bytes, and send them again."""
    content = jpeg()
    place = create(worker, content)
    send(worker, place, 0, content[:100])
    held = Partial(UUID(place.rsplit("/", 1)[1]))

    def settle() -> None:
        with Session(engine_for("zw_api")) as session:
            session.connection().execute(text("UPDATE upload SET durable_offset = 150"))
            session.commit()
        held.close()

    threading.Timer(0.1, settle).start()
    assert offset_of(worker, place) == 150


def test_bytes_that_were_written_but_never_counted_are_cut_off(worker: Handheld) -> None:
    """What kill -9 between the write and the commit leaves behind."""
    photo_id, content = new_id(), jpeg()
    place = create(worker, content, photo_id=photo_id)
    send(worker, place, 0, content[:100])
    with partial_files()[0].open("ab") as partial:
        partial.write(b"never counted" * 1000)
    assert send(worker, place, 100, content[100:]).status_code == 204
    photo = photo_row(photo_id)
    assert photo is not None
    assert object_store().get(photo.original_key or "") == content


def test_an_upload_that_the_store_took_and_the_database_did_not_goes_on_with_a_copy(
    worker: Handheld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store has the very file: cutting it back would cut an original that a restore may take in again."""
    photo_id, content = new_id(), jpeg()
    place = create(worker, content, photo_id=photo_id)
    send(worker, place, 0, content[:100])

    def failing(*_: object, **__: object) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(uploads, "_advance", failing)
        assert_refused(send(worker, place, 100, content[100:]), 503, "storage_unavailable")
    (original,) = [key for key, _ in object_store().entries()]
    assert partial_files()[0].stat().st_nlink == 2
    assert offset_of(worker, place) == 100
    assert send(worker, place, 100, content[100:200]).status_code == 204
    assert object_store().get(original) == content
    assert partial_files()[0].read_bytes() == content[:200]
    assert send(worker, place, 200, content[200:]).status_code == 204
    assert partial_files() == []
    assert object_store().get(original) == content


def test_a_lock_on_a_file_that_was_removed_meanwhile_is_worth_nothing(
    worker: Handheld, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = create(worker, jpeg())
    path = path_of(UUID(place.rsplit("/", 1)[1]))
    path.touch()
    real = os.open

    def late(name: Any, *flags: Any) -> int:
        descriptor = real(name, *flags)
        if name == path:
            path.unlink()
            monkeypatch.undo()
        return descriptor

    monkeypatch.setattr("media.partials.os.open", late)
    content = jpeg()
    assert send(worker, place, 0, content[:100]).status_code == 204
    assert path.read_bytes() == content[:100]


def test_an_upload_whose_bytes_were_lost_begins_again(worker: Handheld) -> None:
    content = jpeg()
    place = create(worker, content)
    send(worker, place, 0, content[:100])
    partial_files()[0].unlink()
    assert_refused(send(worker, place, 100, content[100:]), 410, "upload_gone")


def test_no_success_is_told_when_the_last_commit_fails(worker: Handheld, monkeypatch: pytest.MonkeyPatch) -> None:
    photo_id, content = new_id(), jpeg()
    place = create(worker, content, photo_id=photo_id)
    real = media_uploads._settle

    def failing(session: Session, append: uploads.Append, rest: bytearray, *, cut: bool) -> Any:
        session.connection().execute(text("CREATE TEMP TABLE late (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
        session.connection().execute(text("INSERT INTO late VALUES (1), (1)"))
        return real(session, append, rest, cut=cut)

    with monkeypatch.context() as patch:
        patch.setattr(media_uploads, "_settle", failing)
        assert send(worker, place, 0, content).status_code >= 500
    assert photo_row(photo_id) is None
    assert offset_of(worker, place) == 0
    assert send(worker, place, 0, content).status_code == 204


def test_a_full_disk_is_told_and_the_upload_goes_on_later(worker: Handheld, monkeypatch: pytest.MonkeyPatch) -> None:
    content = jpeg()
    place = create(worker, content)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("media.partials.os.pwrite", full)
        assert_refused(send(worker, place, 0, content), 507, "storage_full")
    assert send(worker, place, 0, content).status_code == 204


def test_a_store_that_is_away_keeps_the_upload_unfinished(worker: Handheld) -> None:
    photo_id, content = new_id(), jpeg()
    place = create(worker, content, photo_id=photo_id)
    object_store()
    media = get_settings().state_dir / "media"
    media.rmdir()
    media.write_bytes(b"not a folder")
    answer = send(worker, place, 0, content)
    assert_refused(answer, 503, "storage_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert offset_of(worker, place) < len(content)
    media.unlink()
    media.mkdir()
    assert send(worker, place, offset_of(worker, place), content[offset_of(worker, place) :]).status_code == 204


# --- real clients over a real socket


def tus_client(server: str, worker: Handheld) -> TusClient:
    return TusClient(server + UPLOADS, headers=dict(worker.headers))


def test_tuspy_uploads_and_resumes(server: str, worker: Handheld) -> None:
    photo_id, content = new_id(), jpeg() + random.Random(1).randbytes(100_000)  # as phones append short films
    values = {"photo_id": str(photo_id), "sha256": digest(content), "filename": "../x.jpg"}
    uploader = tus_client(server, worker).uploader(
        file_stream=BytesIO(content), chunk_size=30_000, metadata=values, upload_checksum=True
    )
    uploader.upload(stop_at=60_000)
    again = tus_client(server, worker).uploader(
        file_stream=BytesIO(content), chunk_size=50_000, url=uploader.url, metadata=values
    )
    assert again.offset == 60_000
    again.upload()
    photo = photo_row(photo_id)
    assert photo is not None
    assert object_store().get(photo.original_key or "") == content


@pytest.mark.parametrize("name", ["tus-js-client", "tuspy"])
def test_a_line_that_breaks_at_every_boundary_delivers_the_photo(
    server: str, worker: Handheld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """Sixteen parts, each broken once, in another way: `make media-faults` does this at length and with kills."""
    monkeypatch.setenv("BODY_STALL_SECONDS", "0.1")
    get_settings.cache_clear()
    photo_id, content = new_id(), jpeg() + random.Random(4).randbytes(150_000)
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    place = urlsplit(server)
    breaker = Breaker(cycle(FAULTS))
    with ExitStack() as opened:
        phone = tuspy(checksum=True)
        if name == "tus-js-client":
            program = node()
            install()
            process = NodeProcess(program, "uploads.mjs")
            opened.callback(process.stop)
            phone = tus_js(process, at_once=True)
        line = opened.enter_context(Line(lambda: [(str(place.hostname), int(place.port or 0))], plan=breaker))
        phone(Errand(path, photo_id, digest(content), 10_000, line.url + UPLOADS, worker.headers))
    photo = photo_row(photo_id)
    assert photo is not None
    assert object_store().get(photo.original_key or "") == content
    assert set(breaker.met) == set(Kind)


def test_tuspy_hears_of_wrong_bytes(server: str, worker: Handheld) -> None:
    content = jpeg()
    values = {"photo_id": str(new_id()), "sha256": "0" * 64}
    uploader = tus_client(server, worker).uploader(file_stream=BytesIO(content), metadata=values)
    with pytest.raises(TusUploadFailed) as caught:
        uploader.upload()
    assert caught.value.status_code == 460


def test_what_arrived_before_a_cut_is_kept_and_the_rest_resumed(server: str, worker: Handheld) -> None:
    """Bytes that were still on their way when the line broke may be lost, counted ones never."""
    photo_id, content = new_id(), jpeg() + random.Random(2).randbytes(600_000)
    place = create(worker, content, photo_id=photo_id)
    part = folder() / f"{place.rsplit('/', 1)[1]}.part"
    with open_patch(server, place, worker, len(content)) as connection:
        connection.sendall(content[:500_000])
        until(lambda: part.exists() and part.stat().st_size > 0, what="the first block on disk")
    until(lambda: offset_of(worker, place) > 0, what="the bytes before the cut")

    def resume() -> bool:
        kept = offset_of(worker, place)
        assert 0 < kept <= 500_000
        return bool(send(worker, place, kept, content[kept:]).status_code == 204)

    until(resume, what="the lock of the cut request")
    photo = photo_row(photo_id)
    assert photo is not None
    assert object_store().get(photo.original_key or "") == content


def test_a_cut_under_a_checksum_keeps_nothing(server: str, worker: Handheld) -> None:
    content = jpeg() + random.Random(3).randbytes(600_000)
    place = create(worker, content)
    checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()
    with open_patch(server, place, worker, len(content), f"Upload-Checksum: sha256 {checksum}\r\n") as connection:
        connection.sendall(content[:500_000])
        until(lambda: any(part.stat().st_size for part in partial_files()), what="the first block on disk")
    until(lambda: send(worker, place, 0, content).status_code == 204, seconds=5, what="the lock of the cut request")


def test_more_than_declared_is_refused_before_a_byte_of_it_is_sent(server: str, worker: Handheld) -> None:
    content = jpeg()
    with open_patch(server, create(worker, content), worker, len(content) + 1) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_slow_upload_is_saved_while_it_comes_and_a_stalled_one_is_ended(
    server: str, worker: Handheld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SAVE_SECONDS", 0.0)
    monkeypatch.setenv("BODY_STALL_SECONDS", "1.5")
    get_settings.cache_clear()
    content = jpeg(1200, 900)
    place = create(worker, content)
    with open_patch(server, place, worker, len(content)) as connection:
        connection.sendall(content[:1000])
        until(lambda: offset_of(worker, place) >= 1000, what="bytes saved while the request goes on")
        connection.sendall(content[1000:1500])
        answer = ""
        while "upload_stalled" not in answer and (more := connection.recv(4096)):
            answer += more.decode()
    assert answer.startswith("HTTP/1.1 408")
    assert "upload_stalled" in answer
    assert offset_of(worker, place) == 1500


def test_slow_uploads_hold_no_database_connections(server: str, worker: Handheld) -> None:
    """Thirty senders stand still in the middle of a body; the pool has twenty connections, and others are served."""
    content = jpeg()
    places = [create(worker, content) for _ in range(30)]
    connections = [open_patch(server, place, worker, len(content)) for place in places]
    try:
        for connection in connections:
            connection.sendall(content[:200])
        until(lambda: len(partial_files()) == 30, what="thirty uploads under way")
        assert worker.client.get("/reference/v1/grids", headers=worker.headers).status_code == 200
        assert send(worker, create(worker, content), 0, content).status_code == 204
    finally:
        for connection in connections:
            connection.close()
