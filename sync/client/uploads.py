"""Sending a photo by tus 1.0 (https://tus.io), in pieces and from where it stopped.

The address of an upload is kept as soon as it is known, so that one that was cut off by a kill goes on where it was.
"""

import base64
import sqlite3

import httpx

from sync.client.connection import Connection
from sync.client.errors import Refused, Unreachable
from sync.client.store import Store

PIECE_BYTES = 256 * 1024
UPLOADS = "/media/v1/uploads"
TUS = {"Tus-Resumable": "1.0.0"}
CHUNK_TYPE = "application/offset+octet-stream"
GONE = (httpx.codes.NOT_FOUND, httpx.codes.GONE)
ASK_WHERE = (httpx.codes.CONFLICT, httpx.codes.LOCKED, *GONE)
MOST_STOPS = 20


def upload(connection: Connection, store: Store, photo: sqlite3.Row) -> None:
    """Send a photo to its end. Whenever the way was cut the server is asked how much of it is safe there; `Unreachable`
    where that happens too often, `Refused` where the server does not want it."""
    content = store.photo_content(photo["id"])
    place, stops = photo["place"], 0
    offset = _safe_bytes(connection, place) if place else None
    while offset != len(content):
        if offset is None:
            place, offset = _begin(connection, photo, len(content)), 0
            store.note_photo(photo["id"], place=place)
        reached = _send(connection, place, content, offset)
        if reached is None:
            stops += 1
            if stops > MOST_STOPS:
                raise Unreachable(f"PATCH {UPLOADS}")
            reached = _safe_bytes(connection, place)
        offset = reached
    store.note_photo(photo["id"], sent=True)


def _begin(connection: Connection, photo: sqlite3.Row, size: int) -> str:
    declared = {"photo_id": photo["id"], "sha256": photo["sha256"], "mime": photo["mime"]}
    metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in declared.items())
    headers = {**TUS, "Upload-Length": str(size), "Upload-Metadata": metadata}
    return str(connection.call("POST", UPLOADS, headers=headers).headers["Location"])


def _send(connection: Connection, place: str, content: bytes, offset: int) -> int | None:
    """Send the next piece; the offset that is reached, or None where that has to be asked."""
    piece = content[offset : offset + PIECE_BYTES]
    headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": CHUNK_TYPE}
    try:
        answer = connection.call("PATCH", place, patient=False, content=piece, headers=headers)
    except Unreachable:
        return None
    except Refused as refused:
        if refused.status in ASK_WHERE:
            return None
        raise
    return int(answer.headers["Upload-Offset"])


def _safe_bytes(connection: Connection, place: str) -> int | None:
    """How much of an upload is safe; None where the server no longer has it."""
    try:
        return int(connection.call("HEAD", place, headers=TUS).headers["Upload-Offset"])
    except Refused as refused:
        if refused.status in GONE:
            return None
        raise
