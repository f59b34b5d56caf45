"""Photos become clean copies, or a verdict: a cut file is never taken for a whole one."""

from io import BytesIO
from itertools import pairwise

import pytest
from PIL import Image

from media.containers import inspect
from media.images import make_picture
from media.pictures import Picture
from media.rules import Failure, Unusable
from tests.rooms.media_samples import SECRET, carried, flood, gradient, heic, jpeg, png, webp

PIXELS = 50_000_000


def make(content: bytes) -> Picture:
    return make_picture(content, max_pixels=PIXELS)


def verdict(content: bytes, *, max_pixels: int = PIXELS) -> Failure:
    with pytest.raises(Unusable) as caught:
        make_picture(content, max_pixels=max_pixels)
    return caught.value.failure


@pytest.mark.parametrize(
    "content", [jpeg(), jpeg(with_profile=False), png(), webp(), heic(), jpeg(mode="CMYK"), jpeg(mode="L")]
)
def test_no_copy_carries_anything_but_pixels(content: bytes) -> None:
    assert SECRET in content
    for copy in make(content).copies:
        assert carried(copy.variant, copy.content) == set()
        assert SECRET not in copy.content
        with Image.open(BytesIO(copy.content)) as image:
            image.load()
            assert image.mode == "RGB"
            assert image.size == (copy.width, copy.height)
            assert not image.getexif()


def test_copies_have_their_long_side_at_1600_and_400() -> None:
    picture = make(jpeg(3200, 1200))
    assert [(copy.variant.value, copy.width, copy.height) for copy in picture.copies] == [
        ("large", 1600, 600),
        ("large.webp", 1600, 600),
        ("thumb", 400, 150),
        ("thumb.webp", 400, 150),
    ]
    assert (picture.width, picture.height) == (3200, 1200)


def test_a_small_photo_is_never_enlarged() -> None:
    assert {(copy.width, copy.height) for copy in make(jpeg(120, 90)).copies} == {(120, 90)}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_stands_upright(orientation: int) -> None:
    upright = gradient(640, 480)
    undo = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }[orientation]
    stored = upright
    for step in undo:
        stored = stored.transpose(step)
    tags = Image.Exif()
    tags[0x0112] = orientation
    out = BytesIO()
    stored.save(out, "JPEG", quality=95, exif=tags)
    picture = make(out.getvalue())
    assert (picture.width, picture.height) == (640, 480)
    with Image.open(BytesIO(picture.copies[0].content)) as copy:
        assert copy.size == (640, 480)
        corners = [(8, 8), (631, 8), (8, 471), (631, 471)]
        for corner in corners:
            seen, meant = copy.getpixel(corner), upright.getpixel(corner)
            assert isinstance(seen, tuple)
            assert isinstance(meant, tuple)
            assert all(abs(a - b) < 12 for a, b in zip(seen, meant, strict=True))


def test_time_and_place_are_kept_as_claims() -> None:
    for content in (jpeg(), png(), webp(), heic()):
        claims = make(content).claims
        assert claims.taken_at == "2026-03-02T09:12:45+08:00"
        assert (claims.lat, claims.lon, claims.datum) == (225433333, 1140500000, "wgs84")


@pytest.mark.parametrize("content", [jpeg(), png(), webp(), heic()])
def test_a_photo_cut_anywhere_is_refused(content: bytes) -> None:
    make(content)
    cuts = [*range(1, len(content), max(1, len(content) // 150)), *range(len(content) - 20, len(content))]
    for cut in cuts:
        with pytest.raises(Unusable):
            make(content[:cut])


def test_pillows_own_check_would_have_accepted_a_cut_photo() -> None:
    """Why the container is walked: the control that shows the trap."""
    cut = jpeg()[: int(len(jpeg()) * 0.6)]
    with Image.open(BytesIO(cut)) as image:
        image.verify()
    assert verdict(cut) is Failure.TRUNCATED


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"subsampling": 0}])
def test_a_picture_that_ends_early_under_an_end_marker_is_refused(options: dict[str, int]) -> None:
    """As a gallery app leaves a photo that it could read in part: whole to look at, with a grey lower half."""
    out = BytesIO()
    gradient(640, 480).save(out, "JPEG", quality=88, **options)
    whole = out.getvalue()
    assert make(whole)
    for part in (0.6, 0.95, 0.999):
        assert verdict(whole[: int(len(whole) * part)] + b"\xff\xd9") is Failure.TRUNCATED


def test_pillow_would_have_accepted_a_picture_that_ends_early() -> None:
    """Why JPEGs are decoded by another library: the control that shows the trap."""
    with Image.open(BytesIO(jpeg()[: int(len(jpeg()) * 0.6)] + b"\xff\xd9")) as image:
        image.load()
        assert image.size == (640, 480)


def test_a_few_bytes_left_over_before_the_end_spoil_nothing() -> None:
    content = jpeg()
    assert make(content[:-2] + b"\x12\x34\x56\x78" + content[-2:]).width == 640


def test_a_turned_heic_stands_upright() -> None:
    picture = make(heic(64, 48, orientation=6))
    assert (picture.width, picture.height) == (48, 64)
    assert {(copy.width, copy.height) for copy in picture.copies} == {(48, 64)}


def test_another_picture_in_the_same_box_format_is_not_taken_for_a_heic() -> None:
    content = heic(64, 48)
    avif = content.replace(b"heic", b"avif").replace(b"hevc", b"avif")
    assert verdict(avif) is Failure.UNSUPPORTED
    assert verdict(b"\0\0\0\x18ftypisom\0\0\2\0isommp42" + bytes(100)) is Failure.UNSUPPORTED


def test_what_a_phone_appends_to_a_heic_is_not_looked_at() -> None:
    assert make(heic(64, 48) + SECRET + b"SEFT").width == 64


def test_what_follows_the_end_of_a_jpeg_is_not_looked_at() -> None:
    assert make(jpeg() + b"<?php system($_GET[0]); ?>" + SECRET).copies[0].content.find(SECRET) == -1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", Failure.EMPTY),
        (b"GIF89a" + bytes(50), Failure.UNSUPPORTED),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Failure.UNSUPPORTED),
        (b"\xff\xd8\xff\xd9", Failure.BROKEN),
        (b"\xff\xd8\xff", Failure.TRUNCATED),
        (b"\x89PNG\r\n\x1a\n", Failure.TRUNCATED),
        (b"RIFF\x16\0\0\0WEBPXXXX\x0a\0\0\0" + bytes(10), Failure.BROKEN),
    ],
)
def test_what_is_no_photo_gets_its_verdict(content: bytes, expected: Failure) -> None:
    assert verdict(content) is expected


def test_a_flipped_byte_in_a_png_is_found() -> None:
    content = bytearray(png())
    place = content.index(b"IDAT") + 40
    content[place] ^= 0xFF
    assert verdict(bytes(content)) is Failure.BROKEN


def test_a_pixel_flood_is_refused_before_it_is_decoded() -> None:
    assert verdict(flood(20_000, 20_000)) is Failure.TOO_MANY_PIXELS
    assert verdict(jpeg(640, 480), max_pixels=640 * 480 - 1) is Failure.TOO_MANY_PIXELS
    assert make_picture(jpeg(640, 480), max_pixels=640 * 480)


def test_a_text_bomb_is_a_verdict() -> None:
    content = png(8, 8)
    import zlib

    packed = b"Comment\0\0" + zlib.compress(bytes(100_000_000), 9)
    chunk = len(packed).to_bytes(4) + b"zTXt" + packed + zlib.crc32(b"zTXt" + packed).to_bytes(4)
    place = content.index(b"IDAT") - 4
    assert verdict(content[:place] + chunk + content[place:]) is Failure.BROKEN


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_of_png_is_read(mode: str) -> None:
    out = BytesIO()
    if mode == "I;16":
        Image.new(mode, (1000, 700), 32768).save(out, "PNG")
    else:
        gradient(1000, 700).convert(mode).save(out, "PNG")
    with Image.open(BytesIO(make(out.getvalue()).copies[0].content)) as copy:
        assert copy.size == (1000, 700)
        pixel = copy.getpixel((500, 350))
        assert isinstance(pixel, tuple)
        assert mode == "1" or all(90 < channel < 165 for channel in pixel)


def test_what_is_transparent_becomes_white() -> None:
    out = BytesIO()
    Image.new("RGBA", (50, 50), (0, 0, 0, 0)).save(out, "PNG")
    with Image.open(BytesIO(make(out.getvalue()).copies[0].content)) as copy:
        assert copy.getpixel((25, 25)) == (255, 255, 255)


def test_a_wide_colour_photo_is_brought_to_srgb() -> None:
    """A profile with red and green exchanged: where it is obeyed, red pixels come out green."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    text = bytes(profile).replace(b"s\0R\0G\0B", b"w\0i\0d\0e").replace(b"sRGB", b"wide")
    out = BytesIO()
    Image.new("RGB", (64, 64), (220, 10, 10)).save(out, "JPEG", icc_profile=text)
    with Image.open(BytesIO(make(out.getvalue()).copies[0].content)) as copy:
        pixel = copy.getpixel((32, 32))
        assert isinstance(pixel, tuple)
        assert pixel[1] > pixel[0]


def test_a_broken_profile_spoils_nothing() -> None:
    out = BytesIO()
    gradient(64, 64).save(out, "JPEG", icc_profile=b"garbage" * 40)
    assert make(out.getvalue()).width == 64


def test_a_large_photo_is_decoded_at_reduced_scale_and_looks_the_same() -> None:
    content = jpeg(4000, 3000)
    with Image.open(BytesIO(content)) as full, Image.open(BytesIO(make(content).copies[0].content)) as copy:
        reference = full.convert("RGB").resize((1600, 1200), Image.Resampling.LANCZOS)
        for place in [(100, 100), (800, 600), (1500, 1100)]:
            for seen, meant in zip(_pixel(copy, place), _pixel(reference, place), strict=True):
                assert abs(seen - meant) < 10


def test_the_container_is_told_without_decoding() -> None:
    contents = (jpeg(301), png(302), webp(303), heic(304))
    kinds = [(inspect(content).format, inspect(content).width) for content in contents]
    assert kinds == [("JPEG", 301), ("PNG", 302), ("WEBP", 303), ("HEIF", 304)]


def test_a_progressive_jpeg_with_many_scans_is_walked_to_its_end() -> None:
    out = BytesIO()
    gradient(300, 200).save(out, "JPEG", progressive=True)
    content = out.getvalue()
    assert content.count(b"\xff\xda") > 3
    scans = [place for place in range(len(content)) if content.startswith(b"\xff\xda", place)]
    for start, _ in pairwise(scans):
        assert verdict(content[: start + 30]) is Failure.TRUNCATED
    assert make(content).width == 300


def _pixel(image: Image.Image, place: tuple[int, int]) -> tuple[int, ...]:
    pixel = image.getpixel(place)
    assert isinstance(pixel, tuple)
    return tuple(int(channel) for channel in pixel)
