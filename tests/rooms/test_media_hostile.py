"""Hostile images made here: each gets its verdict from the decoding child, or copies that carry nothing but pixels."""

import time
import zlib
from collections.abc import Iterator
from io import BytesIO

import pytest
from PIL import Image

from media.rules import Failure, Unusable
from media.sandbox import Decoder
from tests.rooms.media_samples import SECRET, carried, flood, gradient, heic, jpeg, png, webp

SECONDS_A_FILE = 5.0
SCRIPT = b"<?php system($_GET[0]); ?><script>alert(1)</script>" + SECRET
ZIP_END = b"PK\x05\x06" + bytes(18)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    made = Decoder(max_pixels=50_000_000, memory_bytes=256 * 1024 * 1024)
    yield made
    made.close()


def chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4)


def with_chunk(name: bytes, content: bytes) -> bytes:
    """A small PNG with one chunk more before its pixels."""
    whole = png(64, 48)
    place = whole.index(b"IDAT") - 4
    return whole[:place] + chunk(name, content) + whole[place:]


def stated_size(width: int, height: int) -> bytes:
    """A small JPEG whose frame header states other measures than its scan has pixels for."""
    whole = bytearray(jpeg(64, 48, with_profile=False))
    frame = whole.rindex(b"\xff\xc0")
    whole[frame + 5 : frame + 9] = height.to_bytes(2) + width.to_bytes(2)
    return bytes(whole)


def bomb() -> bytes:
    """A PNG of stated 100 × 100 pixels whose packed rows would become 200 MB."""
    head = (100).to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    rows = zlib.compress(bytes(200_000_000), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def many_scans() -> bytes:
    """A progressive JPEG of many pixels whose last scan comes again and again: cheap to send, dear to decode."""
    out = BytesIO()
    Image.new("L", (6000, 6000), 128).save(out, "JPEG", progressive=True, quality=30)
    whole = out.getvalue()
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * 400 + whole[-2:]


def wide_webp() -> bytes:
    """A WebP of few bytes that states the largest canvas there is."""
    whole = bytearray(webp(64, 48))
    place = whole.index(b"VP8X") + 12
    whole[place : place + 6] = b"\xff\xff\xff" * 2
    return bytes(whole)


def wide_heic() -> bytes:
    """A HEIC of few bytes that states a very large picture."""
    whole = bytearray(heic(64, 48))
    place = whole.index(b"ispe") + 8
    whole[place : place + 8] = (60_000).to_bytes(4) * 2
    return bytes(whole)


def many_frames() -> bytes:
    out = BytesIO()
    frames = [gradient(32, 24, "P") for _ in range(300)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


def lying_exif() -> bytes:
    """Tags that state a moment before time, a place off the globe, a size and an orientation that cannot be."""
    tags = Image.Exif()
    tags[0x0112], tags[0x0100], tags[0x0101] = 77, 4_000_000_000, 4_000_000_000
    detail = tags.get_ifd(0x8769)
    detail[0x9003], detail[0xA002] = "0000:00:00 00:00:00", 4_000_000_000
    place = tags.get_ifd(0x8825)
    place[1], place[2], place[3], place[4] = "N", (900.0, 99.0, 99.0), "E", (9e9, 0.0, 0.0)
    out = BytesIO()
    gradient(64, 48).save(out, "JPEG", exif=tags)
    return out.getvalue()


def animated(count: int) -> bytes:
    out = BytesIO()
    frames = [gradient(64, 48, "L") for _ in range(count)]
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:], default_image=True)
    return out.getvalue()


REFUSED = {
    "jpeg cut in its scan": (jpeg()[:-300], Failure.TRUNCATED),
    "jpeg cut in its header": (jpeg()[:60], Failure.TRUNCATED),
    "png cut": (png()[:-20], Failure.TRUNCATED),
    "webp cut": (webp()[:-20], Failure.TRUNCATED),
    "png of 400 megapixels in few bytes": (flood(20_000, 20_000), Failure.TOO_MANY_PIXELS),
    "jpeg that states 65,500 pixels a side": (stated_size(65_500, 65_500), Failure.TOO_MANY_PIXELS),
    "png with a text bomb": (with_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000), 9)), Failure.BROKEN),
    "jpeg of many scans, dear to decode": (many_scans(), Failure.BROKEN),
    "heic cut": (heic()[:-20], Failure.TRUNCATED),
    "webp of few bytes that states 16 million pixels a side": (wide_webp(), Failure.TOO_MANY_PIXELS),
    "heic of few bytes that states 60,000 pixels a side": (wide_heic(), Failure.TOO_MANY_PIXELS),
    "gif of many frames": (many_frames(), Failure.UNSUPPORTED),
    "script that begins like a gif": (b"GIF89a/*" + SCRIPT, Failure.UNSUPPORTED),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", Failure.UNSUPPORTED),
    "zip": (ZIP_END, Failure.UNSUPPORTED),
    "script behind the mark of a jpeg": (b"\xff\xd8\xff" + SCRIPT, None),
    "jpeg segment that points past the end": (b"\xff\xd8\xff\xe1\xff\xff" + SCRIPT, None),
    "nothing": (b"", Failure.EMPTY),
}
KEPT = {
    "jpeg and zip and script in one": jpeg() + ZIP_END + SCRIPT,
    "jpeg within a jpeg": jpeg() + jpeg(32, 24),
    "png with a script in a private chunk": with_chunk(b"teSt", SCRIPT),
    "png that is animated": animated(12),
    "heic and zip and script in one": heic(64, 48) + ZIP_END + SCRIPT,
    "jpeg whose tags lie": lying_exif(),
}


@pytest.mark.parametrize(("content", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_gets_its_verdict_in_time(
    content: bytes, expected: Failure | None, decoder: Decoder
) -> None:
    started = time.monotonic()
    with pytest.raises(Unusable) as caught:
        decoder.decode(content)
    assert expected in (None, caught.value.failure)
    assert time.monotonic() - started < SECONDS_A_FILE


@pytest.mark.parametrize("content", KEPT.values(), ids=KEPT)
def test_what_hides_in_a_photo_does_not_reach_its_copies(content: bytes, decoder: Decoder) -> None:
    for copy in decoder.decode(content).copies:
        assert carried(copy.variant, copy.content) == set()
        assert SECRET not in copy.content
        assert b"<?php" not in copy.content
        with Image.open(BytesIO(copy.content)) as image:
            image.load()
            assert image.size == (copy.width, copy.height)


def test_tags_that_lie_make_no_claims(decoder: Decoder) -> None:
    claims = decoder.decode(lying_exif()).claims
    assert (claims.taken_at, claims.lat, claims.lon) == (None, None, None)


def test_more_packed_rows_than_stated_are_not_unpacked(decoder: Decoder) -> None:
    started = time.monotonic()
    assert decoder.decode(bomb()).width == 100
    assert time.monotonic() - started < SECONDS_A_FILE
    assert decoder.decode(jpeg()).width == 640
