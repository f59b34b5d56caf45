"""Sending a photo by tus 1.0 (https://tus.io), in pieces and from where it stopped."""

import base64
from dataclasses import dataclass
from hashlib import sha256

import httpx

from backend.core.ids import new_id
from backend.demo.client import Json, Login, Patience, Unreachable, taken

PIECE_BYTES = 24 * 1024
UPLOADS = "/media/v1/uploads"
TUS = {"Tus-Resumable": "1.0.0"}
CHUNK_TYPE = "application/offset+octet-stream"
GONE = (httpx.codes.NOT_FOUND, httpx.codes.GONE)
ASK_WHERE = (httpx.codes.CONFLICT, httpx.codes.LOCKED, httpx.codes.REQUEST_TIMEOUT, *GONE)


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo as its taker names it."""

    id: str
    content: bytes
    sha256: str
    mime: str = "image/jpeg"

    @classmethod
    def of(cls, content: bytes) -> "Photo":
        """A photo just taken."""
        return cls(str(new_id()), content, sha256(content).hexdigest())

    def manifest(self) -> Json:
        """Its line in a record's photo manifest."""
        return {"photo_id": self.id, "sha256": self.sha256, "size": len(self.content), "mime": self.mime}


def upload(owner: Login, photo: Photo) -> None:
    """Send a photo to its end. After a cut connection the server is asked how much of it is safe there."""
    place, offset = _begin(owner, photo), 0
    patience = Patience()
    while offset < len(photo.content):
        reached = _send(owner, place, photo.content, offset)
        if reached is None:
            patience.wait(f"PATCH {UPLOADS}")
            reached = _safe_bytes(owner, place)
        if reached is None:
            place, reached = _begin(owner, photo), 0
        offset = reached


def _begin(owner: Login, photo: Photo) -> str:
    declared = {"photo_id": photo.id, "sha256": photo.sha256, "mime": photo.mime}
    metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in declared.items())
    headers = {**TUS, "Upload-Length": str(len(photo.content)), "Upload-Metadata": metadata}
    return str(taken(owner.call("POST", UPLOADS, headers=headers)).headers["Location"])


def _send(owner: Login, place: str, content: bytes, offset: int) -> int | None:
    """Send the next piece; the offset that is reached, or None where that has to be asked."""
    piece = content[offset : offset + PIECE_BYTES]
    headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": CHUNK_TYPE}
    try:
        answer = owner.call("PATCH", place, patient=False, content=piece, headers=headers)
    except Unreachable:
        return None
    if answer.status_code in ASK_WHERE:
        return None
    return int(taken(answer).headers["Upload-Offset"])


def _safe_bytes(owner: Login, place: str) -> int | None:
    """How much of an upload is safe; None where the server no longer has it."""
    answer = owner.call("HEAD", place, headers=TUS)
    return None if answer.status_code in GONE else int(taken(answer).headers["Upload-Offset"])
