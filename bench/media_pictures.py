"""Photographs for benchmarks, made by rule, and how alike two pictures are.

As a program it fills the folders `jpeg` and `heic` of a folder with so many photos.
"""

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import Image, ImageDraw

Plane = npt.NDArray[np.float64]

SHAPES = 120
SENSOR_NOISE = 1.5
JPEG_QUALITY = 95


def scene(seed: int, width: int = 4000, height: int = 3000) -> Image.Image:
    """Clouds of every size as nature has them (amplitude falls with frequency), hard edges, and a sensor's noise."""
    random = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 118, np.float32)
    for octave in range(2, 11):
        cells = 2**octave
        shape = (max(2, height * cells // 4096 + 2), max(2, width * cells // 4096 + 2))
        cloud = Image.fromarray(random.standard_normal(shape).astype(np.float32))
        spread = np.asarray(cloud.resize((width, height), Image.Resampling.BICUBIC)) * (80 / octave**1.5)
        for channel in range(3):
            pixels[:, :, channel] += spread * (1 + 0.15 * random.standard_normal())
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    _with_shapes(image, random)
    pixels = (
        np.asarray(image, np.float32) + random.standard_normal((height, width, 1)).astype(np.float32) * SENSOR_NOISE
    )
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def photo(image: Image.Image) -> bytes:
    """A picture as a camera saves it: JPEG with halved colour."""
    out = BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:0")
    return out.getvalue()


def ssim(one: Image.Image, other: Image.Image) -> float:
    """Structural similarity of the luminance, 1 for equal pictures (Wang et al. 2004: Gaussian of 11, sigma 1.5)."""
    x, y = (np.asarray(image.convert("L"), np.float64) for image in (one, other))
    mean_x, mean_y = _blurred(x), _blurred(y)
    spread_x, spread_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    common = _blurred(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_x * mean_y + c1) * (2 * common + c2)
    likeness /= (mean_x**2 + mean_y**2 + c1) * (spread_x + spread_y + c2)
    return float(likeness.mean())


def _blurred(plane: Plane) -> Plane:
    weights = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    height, width = plane.shape
    across: Plane = sum((w * plane[:, i : width - 10 + i] for i, w in enumerate(weights)), np.zeros(()))
    return sum((w * across[i : height - 10 + i] for i, w in enumerate(weights)), np.zeros(()))


def _with_shapes(image: Image.Image, random: np.random.Generator) -> None:
    draw = ImageDraw.Draw(image, "RGBA")
    for number in range(SHAPES):
        left, top = int(random.integers(image.width)), int(random.integers(image.height))
        side = int(random.integers(image.width // 130, image.width // 7))
        colour = (*(int(part) for part in random.integers(0, 255, 3)), int(random.integers(60, 255)))
        if number % 3 == 0:
            draw.rectangle((left, top, left + side, top + side // 2), fill=colour)
        elif number % 3 == 1:
            draw.ellipse((left, top, left + side, top + side), fill=colour)
        else:
            draw.line((left, top, left + side, top + side // 3), fill=colour, width=max(2, side // 40))


def main() -> None:
    """Arguments: folder, number of JPEGs, number of HEICs."""
    folder, jpegs, heics = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    for name in ("jpeg", "heic"):
        (folder / name).mkdir()
    for seed in range(jpegs):
        image = scene(seed)
        (folder / "jpeg" / f"{seed}.jpeg").write_bytes(photo(image))
        if seed < heics:
            pillow_heif.from_pillow(image).save(folder / "heic" / f"{seed}.heic", quality=60)


if __name__ == "__main__":
    main()
