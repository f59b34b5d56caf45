"""From a photo's bytes to clean copies of it: the only module that imports Pillow.

It runs inside the limited child of `media.sandbox`, so that a file made to break a decoder breaks that child. Each
copy is built from pixels alone: no metadata of the source can reach it. The source is decoded once, at the smallest
scale its decoder offers above the size needed.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Any

from PIL import ExifTags, Image, ImageCms, ImageFile, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin

from media.containers import Container, inspect
from media.exif import read_claims
from media.pictures import Copy, Picture
from media.rules import Failure, Unusable, Variant

LARGE_PX = 1600
THUMB_PX = 400
JPEG_QUALITY = 82
WEBP_QUALITY = 78
WEBP_METHOD = 4
STRIP_PIXELS = 4_000_000
LONGEST_PROFILE = 4 * 1024 * 1024

ImageFile.LOAD_TRUNCATED_IMAGES = False
PLUGINS = (JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin)
"""Named so that they are loaded before the child forks, and no file of Pillow is read after it."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = frozenset({5, 6, 7, 8})


def make_picture(content: bytes, *, max_pixels: int) -> Picture:
    """Decode a photo and make its copies. `Unusable` with the verdict where that is not possible.

    Hostile files make Pillow raise almost any exception, so every one of them is a verdict.
    """
    container = inspect(content)
    if container.width < 1 or container.height < 1:
        raise Unusable(Failure.BROKEN)
    if container.width * container.height > max_pixels:
        raise Unusable(Failure.TOO_MANY_PIXELS)
    try:
        return _make_picture(content, container)
    except MemoryError as error:
        raise Unusable(Failure.MEMORY) from error
    except Unusable:
        raise
    except Exception as error:
        raise Unusable(Failure.BROKEN) from error


def _make_picture(content: bytes, container: Container) -> Picture:
    Image.MAX_IMAGE_PIXELS = None  # the container's size was checked, and must be the one Pillow sees
    with Image.open(BytesIO(content), formats=[container.format]) as image:
        if image.size != (container.width, container.height):
            raise Unusable(Failure.BROKEN)
        target = _fitted(image.size, LARGE_PX)
        image.draft(None, target)
        image.load()
        base, detail, gps = _tags(image)
        upright = _profiled(_shrunk(image, target), image.info.get("icc_profile"))
    orientation = base.get(ExifTags.Base.Orientation)
    if orientation in _UPRIGHT:
        upright = upright.transpose(_UPRIGHT[orientation])
    turned = orientation in _TURNED
    return Picture(
        mime=container.mime,
        width=container.height if turned else container.width,
        height=container.width if turned else container.height,
        claims=read_claims(base, detail, gps),
        copies=_copies(upright),
    )


def _copies(large: Image.Image) -> tuple[Copy, ...]:
    thumb = large.resize(_fitted(large.size, THUMB_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return (
        _encoded(large, Variant.LARGE, "JPEG", quality=JPEG_QUALITY),
        _encoded(thumb, Variant.THUMB, "JPEG", quality=JPEG_QUALITY),
        _encoded(thumb, Variant.THUMB_WEBP, "WEBP", quality=WEBP_QUALITY, method=WEBP_METHOD),
    )


def _encoded(image: Image.Image, variant: Variant, format_name: str, **options: int) -> Copy:
    """Encode pixels only: encoders take comments and profiles from `info`, so it is emptied first."""
    image.info = {}
    out = BytesIO()
    image.save(out, format_name, **options)
    return Copy(variant, f"image/{format_name.lower()}", image.width, image.height, out.getvalue())


def _fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """The size with its long side at most `longest`, in proportion, never larger and never nothing."""
    width, height = size
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _shrunk(image: Image.Image, target: tuple[int, int]) -> Image.Image:
    """Plain RGB of the target size: box-reduced to about twice the size needed, then Lanczos.

    Reduced in strips, because a full-size copy in another mode would double the memory of a large file.
    """
    factor = max(1, min(image.width // target[0], image.height // target[1]) // 2)
    if factor > 1 or image.mode != "RGB":
        image = _reduced(image, factor)
    if image.size == target:
        return image.copy()
    return image.resize(target, Image.Resampling.LANCZOS)


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    width, height = image.size
    out = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    rows = max(1, STRIP_PIXELS // width // factor) * factor
    flat = _flattener(image)
    for top in range(0, height, rows):
        strip = flat(image.crop((0, top, width, min(top + rows, height))))
        out.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    return out


def _flattener(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """How to bring this image's mode to opaque RGB; what is transparent becomes white."""
    if image.has_transparency_data:
        return _on_white
    if image.mode.startswith("I;16"):
        return lambda strip: strip.point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    if image.mode == "I":
        return lambda strip: strip.point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    return lambda strip: strip.convert("RGB")


def _on_white(strip: Image.Image) -> Image.Image:
    strip = strip.convert("RGBA")
    ground = Image.new("RGB", strip.size, "white")
    ground.paste(strip, mask=strip.getchannel("A"))
    return ground


def _profiled(image: Image.Image, profile: Any) -> Image.Image:
    """The image in sRGB. A profile that cannot be read, or is not for RGB, is left out of account."""
    if not isinstance(profile, bytes) or len(profile) > LONGEST_PROFILE:
        return image
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space.strip() != "RGB" or "sRGB" in (source.profile.profile_description or ""):
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  lcms and Pillow raise many kinds; a broken profile spoils no pixels
        return image
    return converted or image


def _tags(image: Image.Image) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any]]:
    """EXIF tags of the image, its EXIF part and its GPS part; empty where they cannot be read."""
    parts: list[dict[int, Any]] = [{}, {}, {}]
    try:
        exif = image.getexif()
        parts[0] = dict(exif)
        parts[1] = dict(exif.get_ifd(ExifTags.IFD.Exif))
        parts[2] = dict(exif.get_ifd(ExifTags.IFD.GPSInfo))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  EXIF is a stranger's TIFF: reading it may raise anything
        return parts[0], parts[1], parts[2]
    return parts[0], parts[1], parts[2]
