"""From a photo's bytes to pixels: upright, plain sRGB, at most the size asked for, and what the metadata claim.

The source is decoded once, at the smallest scale its decoder offers above that size. JPEGs go to libjpeg-turbo, which
unlike Pillow says when a scan ends before the picture does; everything else goes to Pillow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import simplejpeg
from pi_heif import options as heif_options
from pi_heif import register_heif_opener
from PIL import ExifTags, Image, ImageCms, ImageFile, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin

from media.containers import Container
from media.exif import Claims, read_claims
from media.rules import Failure, Unusable
from media.scaling import STRIP_PIXELS, fitted, scaled, scaled_pixels

LONGEST_PROFILE = 4 * 1024 * 1024

ImageFile.LOAD_TRUNCATED_IMAGES = False
PLUGINS = (JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin)
"""Named so that they are loaded before the child forks, and no file of Pillow is read after it."""

register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
heif_options.DECODE_THREADS = 1

_PLAIN = frozenset({"Gray", "RGB", "YCbCr"})
_CUT, _GARBLED = "premature end", "bad huffman code"
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


@dataclass(frozen=True, slots=True)
class Raster:
    """Pixels of mode RGB without any metadata, the upright size of the whole photo, and its claims."""

    image: Image.Image
    width: int
    height: int
    claims: Claims


def load(content: bytes, container: Container, *, longest: int, max_pixels: int) -> Raster:
    """Decode a photo whose structure was found whole. May raise anything: it reads a stranger's file."""
    Image.MAX_IMAGE_PIXELS = None  # the container's size was checked, and must be the one Pillow sees
    with Image.open(BytesIO(content), formats=[container.format]) as image:
        _check_size(image, container, max_pixels)
        target = fitted(image.size, longest)
        size = image.size
        flat = _from_jpeg(content, image, target) or scaled(_from_pillow(image, target), target)
        base, detail, gps = _tags(image)
        upright = _in_srgb(flat, image.info.get("icc_profile"))
    orientation = base.get(ExifTags.Base.Orientation)
    if orientation in _UPRIGHT:
        upright = upright.transpose(_UPRIGHT[orientation])
    upright.info = {}
    width, height = size[::-1] if orientation in _TURNED else size
    return Raster(upright, width, height, read_claims(base, detail, gps))


def _check_size(image: Image.Image, container: Container, max_pixels: int) -> None:
    """A HEIC may be turned or cut by its own properties; others have the size their header states."""
    if container.format == "HEIF":
        if image.width * image.height > max_pixels:
            raise Unusable(Failure.TOO_MANY_PIXELS)
    elif image.size != (container.width, container.height):
        raise Unusable(Failure.BROKEN)


def _from_jpeg(content: bytes, image: Image.Image, target: tuple[int, int]) -> Image.Image | None:
    """A JPEG decoded at the smallest scale of n/8 not below the target. None where Pillow has to do it (CMYK).

    A warning that bytes are left over before a marker is no verdict: phones and editors write such files, and their
    pictures are whole.
    """
    if image.format not in ("JPEG", "MPO"):
        return None
    height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
    if colours not in _PLAIN:
        return None
    if (width, height) != image.size:
        raise Unusable(Failure.BROKEN)
    try:
        pixels = simplejpeg.decode_jpeg(content, "RGBA", min_width=target[0], min_height=target[1])
    except ValueError as warning:
        said = str(warning).lower()
        if _CUT in said:
            raise Unusable(Failure.TRUNCATED) from warning
        if _GARBLED in said:
            raise Unusable(Failure.BROKEN) from warning
        pixels = simplejpeg.decode_jpeg(content, "RGBA", min_width=target[0], min_height=target[1], strict=False)
    return scaled_pixels(pixels, target)


def _from_pillow(image: Image.Image, target: tuple[int, int]) -> Image.Image:
    """Plain RGB, box-reduced to not less than twice the target.

    Reduced in strips, because a full-size copy in another mode would double the memory of a large file.
    """
    image.draft(None, target)
    image.load()
    factor = max(1, min(image.width // target[0], image.height // target[1]) // 2)
    if factor == 1 and image.mode == "RGB" and not image.has_transparency_data:
        return image.copy() if image.size == target else image
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
    if image.mode == "I" or image.mode.startswith("I;16"):
        return lambda strip: strip.point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    return lambda strip: strip.convert("RGB")


def _on_white(strip: Image.Image) -> Image.Image:
    strip = strip.convert("RGBA")
    ground = Image.new("RGB", strip.size, "white")
    ground.paste(strip, mask=strip.getchannel("A"))
    return ground


def _in_srgb(image: Image.Image, profile: Any) -> Image.Image:
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
