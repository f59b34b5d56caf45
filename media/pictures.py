"""What decoding a photo gives, and how it travels from the decoding child to its parent."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from media.exif import Claims
from media.rules import Failure, Unusable, Variant


@dataclass(frozen=True, slots=True)
class Copy:
    """One derivative, free of all metadata of the original."""

    variant: Variant
    mime: str
    width: int
    height: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Picture:
    """A usable photo: its type by content, its size as people see it (upright), its claims and its copies."""

    mime: str
    width: int
    height: int
    claims: Claims
    copies: tuple[Copy, ...]


def pack(picture: Picture) -> tuple[bytes, bytes]:
    """A picture as head and body of an answer."""
    body = b"".join(copy.content for copy in picture.copies)
    head = asdict(replace(picture, copies=()))
    head["copies"] = [{**asdict(replace(copy, content=b"")), "content": len(copy.content)} for copy in picture.copies]
    return json.dumps(head).encode(), body


def pack_failure(failure: Failure) -> tuple[bytes, bytes]:
    """A failing verdict as head and body of an answer."""
    return json.dumps({"failure": failure.value}).encode(), b""


def unpack(head: bytes, body: bytes) -> Picture:
    """The picture in an answer; raises its failing verdict as `Unusable`."""
    answer: dict[str, Any] = json.loads(head)
    if "failure" in answer:
        raise Unusable(Failure(answer["failure"]))
    copies: list[Copy] = []
    start = 0
    for copy in answer["copies"]:
        end = start + copy["content"]
        copies.append(Copy(**{**copy, "variant": Variant(copy["variant"]), "content": body[start:end]}))
        start = end
    return Picture(**{**answer, "claims": Claims(**answer["claims"]), "copies": tuple(copies)})
