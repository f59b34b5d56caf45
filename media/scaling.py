"""Sizes of pictures and how to get there: Lanczos on Pillow's own images, by a library that uses vector instructions.

Pillow's own Lanczos took 50 ms from 2000 to 1600 pixels where this takes 8, with differences of rounding.
"""

import numpy as np
import numpy.typing as npt
from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer
from cykooz_resizer.alpha import set_image_mode
from PIL import Image

STRIP_PIXELS = 4_000_000

_RESIZER = Resizer()


def fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """The size with its long side at most `longest`, in proportion, never larger and never nothing."""
    width, height = size
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A plain RGB image in another size; the image itself where it has that size."""
    if image.size == size:
        return image
    return _resized(image, size)


def scaled_pixels(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    """As `scaled`, of rows of RGBA whose last part means nothing. They are not copied into an image first."""
    height, width = pixels.shape[:2]
    image = Image.frombuffer("RGBA", (width, height), pixels, "raw", "RGBA", 0, 1)
    if image.size == size:
        return image.convert("RGB")
    set_image_mode(image, "RGBa")  # so that nothing is multiplied with the part that means nothing
    return _resized(image, size)


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    out = Image.new("RGB", size)
    _RESIZER.resize_pil(image, out, ResizeOptions(resize_alg=ResizeAlg.convolution(FilterType.lanczos3)))
    return out
