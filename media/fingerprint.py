"""The perceptual hash of a picture: 256 bits that stay nearly the same when it is scaled, recoded or re-lit.

The method is that of PDQ (Facebook, "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm", 2019):
the signs, around their median, of the 16 × 16 lowest frequencies of the picture at 64 × 64. The bits are not the same
as PDQ's, as it blurs in another way before it scales; what counts here is the distance between our own. The published
binding is built on the machine that installs it, which needs a compiler, so it is not used.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 64
FREQUENCIES = 16
BITS = FREQUENCIES * FREQUENCIES


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """32 bytes, and how much there is to tell by, from 0 (a bare wall, the dark) to 100."""

    bits: bytes
    detail: int


def _transform() -> npt.NDArray[np.float32]:
    """The rows 1 to 16 of the cosine transform of 64 points; row 0 is brightness, which says nothing."""
    rows = np.arange(1, FREQUENCIES + 1)[:, None]
    points = np.arange(SIDE)[None, :]
    cosines = np.cos(np.pi / (2 * SIDE) * rows * (2 * points + 1)) * np.sqrt(2 / SIDE)
    rounded: npt.NDArray[np.float32] = cosines.astype(np.float32)
    return rounded


_TRANSFORM = _transform()


def fingerprint(image: Image.Image) -> Fingerprint:
    """The fingerprint of a picture in any size; 400 pixels are enough."""
    grey = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    pixels = np.asarray(grey, dtype=np.float32)
    frequencies = _TRANSFORM @ pixels @ _TRANSFORM.T
    bits = np.packbits(frequencies > np.median(frequencies)).tobytes()
    return Fingerprint(bits, _detail(pixels))


def _detail(pixels: npt.NDArray[np.float32]) -> int:
    """PDQ's measure: the sum of differences between neighbours in hundredths of the range, a ninetieth of it."""
    across = np.abs(np.trunc(np.diff(pixels, axis=1) * 100 / 255)).sum()
    down = np.abs(np.trunc(np.diff(pixels, axis=0) * 100 / 255)).sum()
    return min(100, int((across + down) / 90))
