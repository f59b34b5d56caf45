"""From a photo's bytes to clean copies of it, its placeholder and its fingerprint.

It runs inside the limited child of `media.sandbox`, so that a file made to break a decoder breaks that child. Each
copy is built from pixels alone: no metadata of the source can reach it.
"""

from io import BytesIO

import blurhash
import numpy as np
from PIL import Image

from media.containers import Container, inspect
from media.fingerprint import fingerprint
from media.pictures import Copy, Picture
from media.raster import Raster, load
from media.rules import Failure, Unusable, Variant
from media.scaling import fitted, scaled
from media.stamp import stamp

LARGE_PX = 1600
THUMB_PX = 400
LARGE_JPEG_QUALITY = 90
THUMB_JPEG_QUALITY = 82
WEBP_QUALITY = 82
WEBP_METHOD = 1
"""Method 4 takes 3.4 times as long for copies 12 % smaller."""

PLACEHOLDER_PX = 16
PLACEHOLDER_PARTS = (4, 3)


def make_picture(content: bytes, *, max_pixels: int) -> Picture:
    """Decode a photo and make its copies. `Unusable` with the verdict where that is not possible."""
    container, raster = _decoded(content, max_pixels)
    large = raster.image
    thumb = scaled(large, fitted(large.size, THUMB_PX))
    found = fingerprint(thumb)
    return Picture(
        mime=container.mime,
        width=raster.width,
        height=raster.height,
        claims=raster.claims,
        placeholder=_placeholder(thumb),
        fingerprint=found.bits.hex(),
        detail=found.detail,
        copies=(
            _jpeg(large, Variant.LARGE, LARGE_JPEG_QUALITY),
            _webp(large, Variant.LARGE_WEBP),
            _jpeg(thumb, Variant.THUMB, THUMB_JPEG_QUALITY),
            _webp(thumb, Variant.THUMB_WEBP),
        ),
    )


def make_stamped(content: bytes, lines: list[str], *, max_pixels: int) -> Copy:
    """The copy for case files: large, with lines of text on it. `Unusable` as `make_picture`.

    Made from the original again, as a copy of a copy would lose twice.
    """
    _, raster = _decoded(content, max_pixels)
    return _jpeg(stamp(raster.image, lines), Variant.STAMPED, LARGE_JPEG_QUALITY)


def warm_up() -> None:
    """Go all ways once, so that what libraries load and set up on first use is there before any fork."""
    small = Image.new("RGB", (64, 48), "grey")
    for format_name in ("JPEG", "PNG", "WEBP"):
        out = BytesIO()
        small.save(out, format_name)
        make_picture(out.getvalue(), max_pixels=small.width * small.height)
        make_stamped(out.getvalue(), ["0"], max_pixels=small.width * small.height)


def _decoded(content: bytes, max_pixels: int) -> tuple[Container, Raster]:
    """Hostile files make decoders raise almost any exception, so every one of them is a verdict."""
    container = inspect(content)
    if container.width < 1 or container.height < 1:
        raise Unusable(Failure.BROKEN)
    if container.width * container.height > max_pixels:
        raise Unusable(Failure.TOO_MANY_PIXELS)
    try:
        return container, load(content, container, longest=LARGE_PX, max_pixels=max_pixels)
    except MemoryError as error:
        raise Unusable(Failure.MEMORY) from error
    except Unusable:
        raise
    except Exception as error:
        raise Unusable(Failure.BROKEN) from error


def _jpeg(image: Image.Image, variant: Variant, quality: int) -> Copy:
    return _encoded(image, variant, "JPEG", quality=quality)


def _webp(image: Image.Image, variant: Variant) -> Copy:
    return _encoded(image, variant, "WEBP", quality=WEBP_QUALITY, method=WEBP_METHOD)


def _encoded(image: Image.Image, variant: Variant, format_name: str, **options: int) -> Copy:
    """Encode pixels only: encoders take comments and profiles from `info`, so it is emptied first."""
    image.info = {}
    out = BytesIO()
    image.save(out, format_name, **options)
    return Copy(variant, f"image/{format_name.lower()}", image.width, image.height, out.getvalue())


def _placeholder(thumb: Image.Image) -> str:
    """The picture as a BlurHash: some 28 characters that a client paints until the picture has come."""
    small = thumb.resize(fitted(thumb.size, PLACEHOLDER_PX), Image.Resampling.BOX)
    parts = PLACEHOLDER_PARTS if small.width >= small.height else PLACEHOLDER_PARTS[::-1]
    text: str = blurhash.encode(np.asarray(small), *parts)
    return text
