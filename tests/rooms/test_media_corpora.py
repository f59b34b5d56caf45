"""Public corpora of hostile and odd images: each file gets a verdict, within limits, and nothing of it leaks.

They are not part of the repository; `test_media_hostile` goes the same ways with images made by the tests.
"""

import time
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend.core.settings import PROJECT_ROOT
from media.pictures import Copy
from media.rules import Unusable
from media.sandbox import Decoder
from tests.rooms.media_samples import carried

CORPORA = PROJECT_ROOT.parent / "shared" / "corpora" / "images"
FILES = sorted(path for path in CORPORA.rglob("*") if path.is_file())
SECONDS_A_FILE = 5.0

MISSING = "no decoding of the public corpora of hostile and odd images: ../shared/corpora/images has no files"
ALL: Sequence[Any] = FILES or [pytest.param(CORPORA, marks=pytest.mark.skip(reason=MISSING))]
needs_corpora = pytest.mark.skipif(not FILES, reason=MISSING)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    made = Decoder(max_pixels=50_000_000, memory_bytes=256 * 1024 * 1024)
    yield made
    made.close()


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name[:40])
def test_every_file_gets_a_verdict_and_leaks_nothing(path: Path, decoder: Decoder) -> None:
    started = time.monotonic()
    try:
        picture = decoder.decode(path.read_bytes())
    except Unusable:
        copies: tuple[Copy, ...] = ()
    else:
        copies = picture.copies
        assert copies
    for copy in copies:
        assert carried(copy.variant, copy.content) == set()
        with Image.open(BytesIO(copy.content)) as image:
            image.load()
            assert image.size == (copy.width, copy.height)
            assert max(image.size) <= 1600
    assert time.monotonic() - started < SECONDS_A_FILE


@needs_corpora
def test_photos_with_gps_keep_it_as_a_claim(decoder: Decoder) -> None:
    named = [path for path in FILES if path.name.startswith("jpg_gps_")]
    assert named
    for path in named:
        claims = decoder.decode(path.read_bytes()).claims
        assert claims.taken_at is not None
        assert claims.lat is not None


@needs_corpora
def test_the_eight_orientations_of_one_scene_come_out_upright(decoder: Decoder) -> None:
    for shape, expected in (("landscape", (600, 450)), ("portrait", (450, 600))):
        named = [path for path in FILES if path.name.startswith(f"jpg_orientation_{shape}")]
        assert len(named) == 8
        sizes = {(found.width, found.height) for found in (decoder.decode(path.read_bytes()) for path in named)}
        assert sizes == {expected}
