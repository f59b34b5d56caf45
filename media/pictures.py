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
    """A usable photo: its type by content, its size as people see it (upright), its claims and its copies.

    `placeholder` is a BlurHash; `fingerprint` is in hexadecimal, and `detail` says how much it is worth, 0 to 100
    (`media.fingerprint`).
    """

    mime: str
    width: int
    height: int
    claims: Claims
    placeholder: str
    fingerprint: str
    detail: int
    copies: tuple[Copy, ...]


def pack(picture: Picture) -> tuple[bytes, bytes]:
    """A picture as head and body of an answer."""
    head = asdict(replace(picture, copies=()))
    return _pack(head, picture.copies)


def pack_copy(copy: Copy) -> tuple[bytes, bytes]:
    """A single copy as head and body of an answer."""
    return _pack({}, (copy,))


def pack_failure(failure: Failure) -> tuple[bytes, bytes]:
    """A failing verdict as head and body of an answer."""
    return json.dumps({"failure": failure.value}).encode(), b""


def unpack(head: bytes, body: bytes) -> Picture:
    """The picture in an answer; raises its failing verdict as `Unusable`."""
    answer, copies = _unpack(head, body)
    return Picture(**{**answer, "claims": Claims(**answer["claims"]), "copies": copies})


def unpack_copy(head: bytes, body: bytes) -> Copy:
    """The single copy in an answer; raises a failing verdict as `Unusable`."""
    _, (copy,) = _unpack(head, body)
    return copy


def _pack(head: dict[str, Any], copies: tuple[Copy, ...]) -> tuple[bytes, bytes]:
    described = [{**asdict(replace(copy, content=b"")), "content": len(copy.content)} for copy in copies]
    return json.dumps({**head, "copies": described}).encode(), b"".join(copy.content for copy in copies)


def _unpack(head: bytes, body: bytes) -> tuple[dict[str, Any], tuple[Copy, ...]]:
    answer: dict[str, Any] = json.loads(head)
    if "failure" in answer:
        raise Unusable(Failure(answer["failure"]))
    copies: list[Copy] = []
    start = 0
    for copy in answer["copies"]:
        end = start + copy["content"]
        copies.append(Copy(**{**copy, "variant": Variant(copy["variant"]), "content": body[start:end]}))
        start = end
    return answer, tuple(copies)
