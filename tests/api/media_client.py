"""A tus client written by hand, and what the server keeps of its uploads."""

import base64
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlmodel import Session

from backend.core.db import engine_for
from backend.core.ids import new_id
from backend.models import Photo
from media.partials import folder
from tests.rooms.media_samples import digest
from tests.world import Handheld, Json, document

UPLOADS = "/media/v1/uploads"
CHUNK = {"Content-Type": "application/offset+octet-stream"}
TUS = {"Tus-Resumable": "1.0.0"}


def metadata(photo_id: UUID, content: bytes, **more: str) -> str:
    values = {"photo_id": str(photo_id), "sha256": digest(content), "filetype": "image/jpeg", **more}
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


def creation(worker: Handheld, content: bytes, *, photo_id: UUID | None = None, **more: str) -> dict[str, str]:
    return {
        **TUS,
        **worker.headers,
        "Upload-Length": str(len(content)),
        "Upload-Metadata": metadata(photo_id or new_id(), content, **more),
    }


def create(worker: Handheld, content: bytes, *, photo_id: UUID | None = None) -> str:
    answer = worker.client.post(UPLOADS, headers=creation(worker, content, photo_id=photo_id))
    assert answer.status_code == 201, answer.text
    return str(answer.headers["Location"])


def send(worker: Handheld, place: str, offset: int, content: bytes, **headers: str) -> Any:
    all_headers = {**TUS, **CHUNK, **worker.headers, "Upload-Offset": str(offset), **headers}
    return worker.client.patch(place, content=content, headers=all_headers)


def offset_of(worker: Handheld, place: str) -> int:
    answer = worker.client.head(place, headers={**TUS, **worker.headers})
    assert answer.status_code == 200, answer.status_code
    return int(answer.headers["Upload-Offset"])


def event_with(worker: Handheld, *photos: Json) -> str:
    """Push an event of the worker's grid with these photos in its manifest; gives its id."""
    record = document(
        worker.grids()[0],
        class_code="0101",
        occurred_at="2026-03-02T09:00:00+08:00",
        location={"lat": 226_000_000, "lon": 1_143_000_000},
        photos=list(photos),
    )
    worker.push("event", record)
    return str(record["id"])


def photo_row(photo_id: UUID) -> Photo | None:
    with Session(engine_for("zw_api")) as session:
        return session.get(Photo, photo_id)


def partial_files() -> list[Path]:
    return list(folder().iterdir())


def assert_refused(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["Tus-Resumable"] == "1.0.0"


def open_patch(server: str, place: str, worker: Handheld, length: int, more: str = "") -> socket.socket:
    """A socket on which a PATCH has begun and the body is awaited."""
    address = urlsplit(server)
    connection = socket.create_connection((address.hostname, address.port), timeout=20)
    connection.sendall(
        (
            f"PATCH {place} HTTP/1.1\r\nHost: test\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
            f"Authorization: {worker.headers['Authorization']}\r\nContent-Type: application/offset+octet-stream\r\n"
            f"Content-Length: {length}\r\n{more}\r\n"
        ).encode()
    )
    return connection
