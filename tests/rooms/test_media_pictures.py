"""What a picture looks like after the pipeline, and what is told of it: likeness, placeholder, fingerprint, stamp."""

from io import BytesIO

import blurhash
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from bench.media_pictures import photo, scene, ssim
from media.containers import inspect
from media.fingerprint import BITS, Fingerprint, fingerprint
from media.images import make_picture, make_stamped
from media.raster import load
from tests.rooms.media_samples import gradient, jpeg

PIXELS = 50_000_000
NEAR = 31
"""Bits that two pictures of the same scene may differ in."""


@pytest.fixture(scope="module")
def scenes() -> list[Image.Image]:
    return [scene(seed, 1000, 750) for seed in range(4)]


def recoded(image: Image.Image, width: int, quality: int) -> Image.Image:
    out = BytesIO()
    image.resize((width, width * 3 // 4), Image.Resampling.LANCZOS).save(out, "JPEG", quality=quality)
    return Image.open(BytesIO(out.getvalue())).convert("RGB")


def distance(one: Fingerprint, other: Fingerprint) -> int:
    return (int.from_bytes(one.bits) ^ int.from_bytes(other.bits)).bit_count()


def test_decoding_at_a_reduced_scale_is_not_seen(scenes: list[Image.Image]) -> None:
    for image in scenes:
        content = photo(image)
        with Image.open(BytesIO(content)) as whole:
            reference = whole.convert("RGB").resize((400, 300), Image.Resampling.LANCZOS)
        small = load(content, inspect(content), longest=400, max_pixels=PIXELS).image
        assert small.size == (400, 300)
        assert ssim(small, reference) >= 0.98


def test_the_measure_of_likeness_sees_a_blur(scenes: list[Image.Image]) -> None:
    small = scenes[0].resize((400, 300))
    assert ssim(small, small) == pytest.approx(1)
    assert ssim(small, small.resize((200, 150)).resize((400, 300))) < 0.98


@pytest.mark.parametrize("size", [(5001, 3003), (1601, 1200), (1, 4000), (4000, 1)])
def test_scaling_gives_what_pillows_own_gives(size: tuple[int, int]) -> None:
    """Also over images that Pillow keeps in several blocks of memory, and of one pixel's width."""
    from media.scaling import fitted, scaled

    image = gradient(*size)
    target = fitted(size, 1600)
    ours, theirs = scaled(image, target), image.resize(target, Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(ours, int) - np.asarray(theirs, int)).max() <= 4


def test_a_placeholder_has_the_colours_of_the_picture() -> None:
    content = jpeg(800, 600)
    text = make_picture(content, max_pixels=PIXELS).placeholder
    assert len(text) == 28
    painted = np.asarray(blurhash.decode(text, 8, 6), float)
    with Image.open(BytesIO(content)) as image:
        meant = np.asarray(image.convert("RGB").resize((8, 6), Image.Resampling.BOX), float)
    assert np.abs(painted.mean((0, 1)) - meant.mean((0, 1))).max() < 30
    assert painted[-1, -1].sum() > painted[0, 0].sum() + 100


@pytest.mark.parametrize(("width", "quality"), [(1080, 60), (720, 40), (400, 30)])
def test_a_picture_sent_on_by_a_messenger_is_known_again(scenes: list[Image.Image], width: int, quality: int) -> None:
    for image in scenes:
        assert distance(fingerprint(image), fingerprint(recoded(image, width, quality))) <= NEAR
        brighter = ImageEnhance.Brightness(image).enhance(1.15)
        assert distance(fingerprint(image), fingerprint(brighter)) <= NEAR


def test_another_picture_is_told_apart(scenes: list[Image.Image]) -> None:
    found = [fingerprint(image) for image in scenes]
    pairs = [(one, other) for place, one in enumerate(found) for other in found[:place]]
    assert all(distance(*pair) > 2 * NEAR for pair in pairs)
    assert {len(one.bits) * 8 for one in found} == {BITS}


def test_a_bare_wall_says_that_there_is_nothing_to_tell_it_by(scenes: list[Image.Image]) -> None:
    assert fingerprint(Image.new("RGB", (400, 300), (200, 190, 180))).detail == 0
    assert fingerprint(scenes[0]).detail > 50


def test_the_stamp_stands_at_the_lower_edge_and_covers_nothing_else() -> None:
    content = jpeg(1600, 1200)
    plain = make_picture(content, max_pixels=PIXELS).copies[0]
    stamped = make_stamped(content, ["2026-03-02 09:12:45 +08:00", "GRID 440305001001001"], max_pixels=PIXELS)
    with Image.open(BytesIO(plain.content)) as before, Image.open(BytesIO(stamped.content)) as after:
        change = np.abs(np.asarray(before, int) - np.asarray(after, int)).max(axis=2)
    rows = np.nonzero((change > 24).mean(axis=1) > 0.5)[0]
    assert rows.min() > 1200 * 0.85
    assert rows.max() >= 1190
    assert change[: rows.min() - 16].max() < 48
    white = (np.asarray(Image.open(BytesIO(stamped.content)).convert("L"))[rows.min() :] > 240).mean()
    assert 0.005 < white < 0.2


def test_a_stamp_fits_the_smallest_picture_and_holds_no_odd_characters() -> None:
    for size in ((16, 12), (60, 900), (900, 60)):
        copy = make_stamped(jpeg(*size), ["x" * 60, "网格\0\n" * 3], max_pixels=PIXELS)
        assert (copy.width, copy.height) == size
        assert copy.mime == "image/jpeg"
