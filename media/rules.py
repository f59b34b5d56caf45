"""Pure rules of the media room: tus headers, byte ranges, verdicts on photos, and completeness of a record."""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from backend.core.enums import PhotoState

SHA256_TEXT = re.compile(r"[0-9a-f]{64}")
CHECKSUM_ALGORITHMS = {"sha1": 20, "sha256": 32}
UNKNOWN_MIME = "application/octet-stream"

_MIME = re.compile(r"[a-z0-9.+-]{1,31}/[a-z0-9.+-]{1,32}")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Variant(StrEnum):
    """The cleaned copies of a photo: 1600 px and 400 px on the long side, never larger than the original.

    `stamped` is the large one with time, grid and collector burnt in, made for photos of case files.
    """

    LARGE = "large"
    LARGE_WEBP = "large.webp"
    THUMB = "thumb"
    THUMB_WEBP = "thumb.webp"
    STAMPED = "stamped"


class Failure(StrEnum):
    """Why a photo that arrived whole cannot be used. A verdict: the same bytes would get it again."""

    EMPTY = "photo_empty"
    UNSUPPORTED = "format_unsupported"
    TRUNCATED = "photo_truncated"
    BROKEN = "photo_broken"
    TOO_MANY_PIXELS = "too_many_pixels"
    MEMORY = "decode_memory"
    TIME = "decode_time"
    CRASHED = "decode_crashed"
    LOST = "original_lost"


FAILURE_TEXTS: Mapping[Failure, tuple[str, str]] = {
    Failure.EMPTY: ("照片文件是空的，请重新拍摄", "The photo is empty; take it again"),
    Failure.UNSUPPORTED: (
        "不支持此照片格式，请使用 JPEG、PNG、WebP 或 HEIC",
        "Not a JPEG, PNG, WebP or HEIC photo",
    ),
    Failure.TRUNCATED: ("照片不完整，请重新拍摄或重新选择", "The photo is cut off; take or choose it again"),
    Failure.BROKEN: ("照片已损坏，无法打开", "The photo is damaged and cannot be opened"),
    Failure.TOO_MANY_PIXELS: ("照片尺寸过大，请降低分辨率后重新拍摄", "The photo has too many pixels"),
    Failure.MEMORY: ("照片解码占用内存过多，已停止处理", "Decoding the photo took too much memory"),
    Failure.TIME: ("照片解码时间过长，已停止处理", "Decoding the photo took too long"),
    Failure.CRASHED: ("照片无法安全解码，已停止处理", "The photo could not be decoded safely"),
    Failure.LOST: (
        "照片原件在服务器故障中丢失，请重新拍摄",
        "The original was lost by the server",
    ),
}


class Unusable(Exception):
    """A photo that gets a failing verdict."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure


class BadHeader(ValueError):
    """A header or form value that cannot be read. The message names the part, never the value."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What a client says about a photo before it sends it."""

    photo_id: UUID
    sha256: str
    size: int
    mime: str


@dataclass(frozen=True, slots=True)
class Checksum:
    """The digest a client gives for the bytes of one request."""

    algorithm: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Completeness:
    """How many photos a record names, and what became of them. `failed` and `processed` arrived whole."""

    expected: int
    received: int
    processed: int
    failed: int

    @property
    def complete(self) -> bool:
        """Whether every photo the record names has arrived."""
        return self.received == self.expected


def completeness(states: Iterable[PhotoState | None]) -> Completeness:
    """Count the states of the photos a record names; None for one the server has never heard of."""
    known = list(states)
    arrived = [state for state in known if state not in (None, PhotoState.EXPECTED)]
    return Completeness(
        expected=len(known),
        received=len(arrived),
        processed=arrived.count(PhotoState.PROCESSED),
        failed=arrived.count(PhotoState.FAILED),
    )


def parse_metadata(header: str) -> dict[str, str]:
    """`Upload-Metadata` of tus 1.0: comma-separated `key base64(value)`. `BadHeader` where it cannot be read."""
    values: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in header.split(","))):
        key, _, encoded = part.partition(" ")
        if key in values:
            raise BadHeader("Upload-Metadata: a key occurs twice")
        try:
            values[key] = base64.b64decode(encoded.strip(), validate=True).decode()
        except ValueError as error:
            raise BadHeader("Upload-Metadata: not base64 of UTF-8") from error
    return values


def format_metadata(values: Mapping[str, str]) -> str:
    """The reverse of `parse_metadata`."""
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


def parse_declared(values: Mapping[str, str], *, size: int) -> Declared:
    """What a client declared, from tus metadata or form fields. A file name among them is never looked at."""
    try:
        photo_id = UUID(values.get("photo_id", ""))
    except ValueError as error:
        raise BadHeader("photo_id: not a UUID") from error
    sha256 = values.get("sha256", "").lower()
    if not SHA256_TEXT.fullmatch(sha256):
        raise BadHeader("sha256: not 64 hexadecimal digits")
    mime = (values.get("mime") or values.get("filetype") or UNKNOWN_MIME).lower()
    return Declared(photo_id, sha256, size, mime if _MIME.fullmatch(mime) else UNKNOWN_MIME)


def parse_count(text: str | None, *, name: str) -> int:
    """A whole number of bytes in a header."""
    if text is None or not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise BadHeader(f"{name}: not a number of bytes")
    return int(text)


def parse_checksum(header: str | None) -> Checksum | None:
    """`Upload-Checksum` of tus 1.0: `algorithm base64(digest)`."""
    if header is None:
        return None
    algorithm, _, encoded = header.strip().partition(" ")
    if algorithm not in CHECKSUM_ALGORITHMS:
        raise BadHeader("Upload-Checksum: algorithm not supported")
    try:
        digest = base64.b64decode(encoded.strip(), validate=True)
    except ValueError as error:
        raise BadHeader("Upload-Checksum: not base64") from error
    if len(digest) != CHECKSUM_ALGORITHMS[algorithm]:
        raise BadHeader("Upload-Checksum: wrong length")
    return Checksum(algorithm, digest)


def parse_range(header: str | None, *, size: int) -> tuple[int, int] | None:
    """The half-open byte range a `Range` header asks for, or None where the whole is to be sent.

    Several ranges, other units and unreadable headers are answered with the whole, as RFC 9110 allows. `ValueError`
    for a range that lies outside.
    """
    found = _RANGE.fullmatch((header or "").strip())
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    start, end = (int(first), int(last) + 1 if last else size) if first else (max(0, size - int(last)), size)
    if start >= size or end <= start:
        raise ValueError("range outside")
    return start, min(end, size)
