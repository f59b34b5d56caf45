"""What a photo file is and whether it is whole, told from its structure before any pixel is decoded.

Pillow's `verify()` accepts a JPEG cut at 60 %, and its WebP reader allocates the whole canvas on opening. Walking the
container costs a few milliseconds, allocates nothing, and finds every cut. A JPEG whose picture ends early under an end
marker that somebody put there is found by the decoder (`media.raster`).
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from media.rules import Failure, Unusable

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8\xff"
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _END = 0xDA, 0xD9
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
MOST_SCANS = 100
"""Cameras write one scan, progressive encoders about ten. Each has to be gone through for all pixels."""

_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis"})


@dataclass(frozen=True, slots=True)
class Container:
    """A whole file of a format we take; `width` and `height` as stored, before any rotation.

    `format` is the name the decoder has for it. A HEIC's are those of its largest picture.
    """

    format: str
    mime: str
    width: int
    height: int


def inspect(content: bytes) -> Container:
    """Recognise a file by its content, never by its name or declared type. `Unusable` where it is not whole."""
    if not content:
        raise Unusable(Failure.EMPTY)
    if content.startswith(_JPEG_START):
        return Container("JPEG", "image/jpeg", *_jpeg_size(content))
    if content.startswith(_PNG_SIGNATURE):
        return Container("PNG", "image/png", *_png_size(content))
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return Container("WEBP", "image/webp", *_webp_size(content))
    if content[4:8] == b"ftyp":
        return Container("HEIF", "image/heic", *_heic_size(content))
    raise Unusable(Failure.UNSUPPORTED)


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """Walk segments and scans to the end marker (ITU T.81, annex B); what follows it is not looked at.

    Thumbnails inside application segments have end markers of their own and are stepped over with their segment.
    """
    size: tuple[int, int] | None = None
    scans = 0
    position = 2
    while True:
        found = _END_OF_SCAN.search(content, position)
        if found is None:
            raise Unusable(Failure.TRUNCATED)
        marker, position = content[found.end() - 1], found.end()
        if marker == _END:
            break
        if marker in _STANDALONE:
            continue
        if position + 2 > len(content):
            raise Unusable(Failure.TRUNCATED)
        (length,) = struct.unpack_from(">H", content, position)
        if position + length > len(content):
            raise Unusable(Failure.TRUNCATED)
        if marker in _FRAMES and size is None:
            size = _frame_size(content[position : position + length])
        scans += marker == _SCAN
        position += max(length, 2)
    if size is None or not 1 <= scans <= MOST_SCANS:
        raise Unusable(Failure.BROKEN)
    return size


def _frame_size(segment: bytes) -> tuple[int, int]:
    if len(segment) < 8:
        raise Unusable(Failure.BROKEN)
    height, width = struct.unpack_from(">HH", segment, 3)
    return width, height


def _png_size(content: bytes) -> tuple[int, int]:
    """Walk the chunks to IEND, with the checksums of all critical ones (ISO/IEC 15948)."""
    view = memoryview(content)
    position = len(_PNG_SIGNATURE)
    size: tuple[int, int] | None = None
    while True:
        if position + 12 > len(content):
            raise Unusable(Failure.TRUNCATED)
        length, name = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        if end > len(content):
            raise Unusable(Failure.TRUNCATED)
        critical = name[:1].isupper()
        if critical and zlib.crc32(view[position + 4 : end - 4]) != struct.unpack_from(">I", content, end - 4)[0]:
            raise Unusable(Failure.BROKEN)
        if size is None:
            if name != b"IHDR" or length != 13:
                raise Unusable(Failure.BROKEN)
            size = struct.unpack_from(">II", content, position + 8)
        if name == b"IEND":
            return size
        position = end


def _webp_size(content: bytes) -> tuple[int, int]:
    """The canvas of the first chunk (RFC 9649); every chunk must lie within the RIFF's stated length."""
    if len(content) < 30:
        raise Unusable(Failure.TRUNCATED)
    (stated,) = struct.unpack_from("<I", content, 4)
    if stated + 8 > len(content):
        raise Unusable(Failure.TRUNCATED)
    position = 12
    while position + 8 <= stated + 8:
        (length,) = struct.unpack_from("<I", content, position + 4)
        position += 8 + length + length % 2
    if position > stated + 8:
        raise Unusable(Failure.TRUNCATED)
    name = content[12:16]
    if name == b"VP8X":
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if name == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if name == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise Unusable(Failure.BROKEN)


def _heic_size(content: bytes) -> tuple[int, int]:
    """The largest picture that the properties state (ISO/IEC 23008-12); `meta` and `mdat` must be there whole.

    What follows both is not looked at: some phones append boxes of their own making.
    """
    found: dict[bytes, memoryview] = {}
    for name, body in _boxes(memoryview(content)):
        found.setdefault(name, body)
        if name == b"ftyp" and not _is_heic(body):
            raise Unusable(Failure.UNSUPPORTED)
        if {b"meta", b"mdat"} <= found.keys():
            return _largest_picture(found[b"meta"])
    raise Unusable(Failure.TRUNCATED)


def _is_heic(body: memoryview) -> bool:
    """The main brand or one of the compatible ones, which follow it and a version."""
    brands = [bytes(body[place : place + 4]) for place in (0, *range(8, min(len(body), 136), 4))]
    return not _HEIC_BRANDS.isdisjoint(brands)


def _largest_picture(meta: memoryview) -> tuple[int, int]:
    properties = _inside(_inside(meta[4:], b"iprp"), b"ipco")
    sizes = [
        struct.unpack_from(">II", body, 4) for name, body in _boxes(properties) if name == b"ispe" and len(body) >= 12
    ]
    if not sizes:
        raise Unusable(Failure.BROKEN)
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return width, height


def _inside(parent: memoryview, wanted: bytes) -> memoryview:
    for name, body in _boxes(parent):
        if name == wanted:
            return body
    raise Unusable(Failure.BROKEN)


def _boxes(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Name and body of each box (ISO/IEC 14496-12). `Unusable` for one that is cut off or states nonsense."""
    position = 0
    while position < len(content):
        if position + 8 > len(content):
            raise Unusable(Failure.TRUNCATED)
        size, name = struct.unpack_from(">I4s", content, position)
        head = 8
        if size == 1:
            if position + 16 > len(content):
                raise Unusable(Failure.TRUNCATED)
            (size,), head = struct.unpack_from(">Q", content, position + 8), 16
        elif size == 0:
            size = len(content) - position
        if size < head:
            raise Unusable(Failure.BROKEN)
        if position + size > len(content):
            raise Unusable(Failure.TRUNCATED)
        yield name, content[position + head : position + size]
        position += size
