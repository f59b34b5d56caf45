"""Synthetic photos for tests, with metadata that must not survive, and a reader of what a file still carries."""

import struct
from hashlib import sha256
from io import BytesIO

import pillow_heif
from PIL import Image, ImageCms, PngImagePlugin

SECRET = b"SECRET-OF-THE-SOURCE"
TAKEN = "2026:03:02 09:12:45"


def gradient(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A picture whose top left corner is dark and whose bottom right corner is bright, so that turning shows."""
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (Image.blend(across, down, 0.5), across, down)).convert(mode)


def exif(*, orientation: int = 1, gps: bool = True) -> Image.Exif:
    """Tags as a phone writes them, with a maker's note and a comment that must not survive."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010F] = SECRET.decode()
    detail = tags.get_ifd(0x8769)
    detail[0x9003] = TAKEN
    detail[0x9011] = "+08:00"
    detail[0x927C] = SECRET
    if gps:
        position = tags.get_ifd(0x8825)
        position[1], position[2] = "N", (22.0, 32.0, 36.0)
        position[3], position[4] = "E", (114.0, 3.0, 0.0)
    return tags


def jpeg(
    width: int = 640,
    height: int = 480,
    *,
    orientation: int = 1,
    gps: bool = True,
    mode: str = "RGB",
    with_profile: bool = True,
) -> bytes:
    """A JPEG with EXIF, XMP, a comment and, where asked for, a colour profile that is not named sRGB."""
    out = BytesIO()
    profile = _undated_profile()
    gradient(width, height, mode).save(
        out,
        "JPEG",
        quality=88,
        exif=exif(orientation=orientation, gps=gps),
        xmp=b"<x:xmpmeta>" + SECRET + b"</x:xmpmeta>",
        comment=SECRET,
        icc_profile=profile.replace(b"s\0R\0G\0B", b"s\0R\0B\0G") if with_profile else None,
    )
    return out.getvalue()


def _undated_profile() -> bytes:
    """A profile without the second it was made in: equal calls give equal bytes."""
    profile: bytes = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + bytes(12) + profile[36:]


def png(width: int = 640, height: int = 480, *, mode: str = "RGB") -> bytes:
    """A PNG with text chunks and EXIF."""
    out, texts = BytesIO(), PngImagePlugin.PngInfo()
    texts.add_text("Comment", SECRET.decode())
    texts.add_itxt("XML:com.adobe.xmp", SECRET.decode())
    gradient(width, height, "RGB").convert(mode).save(out, "PNG", pnginfo=texts, exif=exif())
    return out.getvalue()


def webp(width: int = 640, height: int = 480) -> bytes:
    """A WebP with EXIF and XMP."""
    out = BytesIO()
    gradient(width, height).save(out, "WEBP", quality=80, exif=exif(), xmp=SECRET)
    return out.getvalue()


def heic(width: int = 640, height: int = 480, *, orientation: int = 1) -> bytes:
    """A HEIC with EXIF and XMP, as phones of one maker write by default."""
    out, tags = BytesIO(), exif(orientation=orientation)
    pillow_heif.from_pillow(gradient(width, height)).save(out, quality=80, exif=tags.tobytes(), xmp=SECRET)
    return out.getvalue()


def flood(width: int, height: int) -> bytes:
    """A PNG of very many pixels and few bytes."""
    out = BytesIO()
    Image.new("1", (width, height)).save(out, "PNG")
    return out.getvalue()


def digest(content: bytes) -> str:
    """The SHA-256 as clients write it."""
    return sha256(content).hexdigest()


def carried(variant: str, content: bytes) -> set[str]:
    """Names of all parts of a derivative other than pixels, read without Pillow."""
    if variant.endswith(".webp"):
        return {name for name in _riff_chunks(content) if name != "VP8 "}
    return {f"{marker:02x}" for marker in _jpeg_markers(content) if marker not in _PIXEL_MARKERS}


_PIXEL_MARKERS = {0xC0, 0xC4, 0xDA, 0xDB, 0xD8, 0xD9, 0xE0}
"""Frame, tables, scan, start, end, and the JFIF header, which says nothing but the density of pixels."""


def _jpeg_markers(content: bytes) -> list[int]:
    assert content[:2] == b"\xff\xd8"
    assert content[-2:] == b"\xff\xd9"
    markers, position = [0xD8, 0xD9], 2
    while True:
        assert content[position] == 0xFF
        marker = content[position + 1]
        markers.append(marker)
        if marker == 0xDA:
            return markers
        length = int.from_bytes(content[position + 2 : position + 4])
        if marker == 0xE0:
            assert content[position + 4 : position + 9] == b"JFIF\0"
            assert length == 16, "a JFIF header may carry a thumbnail"
        position += 2 + length


def _riff_chunks(content: bytes) -> list[str]:
    (stated,) = struct.unpack_from("<I", content, 4)
    assert stated + 8 == len(content)
    names, position = [], 12
    while position < len(content):
        names.append(content[position : position + 4].decode())
        (length,) = struct.unpack_from("<I", content, position + 4)
        position += 8 + length + length % 2
    return names
