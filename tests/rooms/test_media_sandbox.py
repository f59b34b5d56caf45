"""The decoding child: what kills it is a verdict on that photo, and the next one finds a child again."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from backend.core.settings import PROJECT_ROOT
from media.rules import Failure, Unusable
from media.sandbox import _ENVIRONMENT, Decoder, DecoderUnavailable
from tests.rooms.media_samples import carried, jpeg, png
from tests.world import until

PIXELS = 50_000_000


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    made = Decoder(max_pixels=PIXELS)
    yield made
    made.close()


def child_of(decoder: Decoder) -> "subprocess.Popen[bytes]":
    assert decoder._process is not None
    return decoder._process


def verdict(decoder: Decoder, content: bytes) -> Failure:
    with pytest.raises(Unusable) as caught:
        decoder.decode(content)
    return caught.value.failure


@lru_cache
def transparent(side: int) -> bytes:
    """Small as a file; with a side of 7,000 pixels 196 MB in memory."""
    out = BytesIO()
    Image.new("RGBA", (side, side)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def heavy() -> bytes:
    return transparent(7000)


def test_many_photos_are_decoded_by_one_child(decoder: Decoder) -> None:
    first = decoder.decode(jpeg())
    process = child_of(decoder)
    assert decoder.decode(jpeg()) == first
    assert verdict(decoder, jpeg()[:-1]) is Failure.TRUNCATED
    assert decoder.decode(png()).mime == "image/png"
    assert child_of(decoder) is process
    assert [carried(copy.variant, copy.content) for copy in first.copies] == [set()] * 4


def test_a_copy_is_stamped_by_the_child_too(decoder: Decoder) -> None:
    plain = decoder.decode(jpeg()).copies[0]
    stamped = decoder.stamp(jpeg(), ["2026-03-02 09:12:45 +08:00", "GRID 440305001001001  BY w0001"])
    assert (stamped.variant, stamped.width, stamped.height) == ("stamped", plain.width, plain.height)
    assert carried(stamped.variant, stamped.content) == set()
    with pytest.raises(Unusable):
        decoder.stamp(jpeg()[:-1], ["x"])


def test_too_much_memory_is_a_verdict_and_the_next_photo_is_decoded() -> None:
    decoder = Decoder(max_pixels=PIXELS, memory_bytes=160 * 1024 * 1024)
    try:
        assert verdict(decoder, heavy()) is Failure.MEMORY
        assert decoder.decode(jpeg()).width == 640
    finally:
        decoder.close()


def test_too_much_processor_time_is_a_verdict_and_the_next_photo_is_decoded() -> None:
    decoder = Decoder(max_pixels=400_000_000, cpu_seconds=1, memory_bytes=4 * 1024**3)
    try:
        assert verdict(decoder, transparent(11_000)) is Failure.TIME
        assert decoder.decode(jpeg()).width == 640
    finally:
        decoder.close()


def test_too_much_wall_time_says_nothing_of_the_photo_and_the_next_one_is_decoded(decoder: Decoder) -> None:
    """A decoder that works meets its limit of processor time first: late is a host that is overloaded or asleep."""
    decoder.decode(jpeg())
    decoder._wall_seconds = 0.02
    with pytest.raises(DecoderUnavailable):
        decoder.decode(heavy())
    decoder._wall_seconds = 60.0
    assert decoder.decode(jpeg()).width == 640


def test_a_decoder_that_crashes_is_a_verdict(decoder: Decoder) -> None:
    """The fork that decodes is killed as a fault in a codec would kill it; the program reports how it died."""
    with struck(decoder, signal.SIGSEGV):
        assert verdict(decoder, heavy()) is Failure.CRASHED
    assert decoder.decode(jpeg()).width == 640


def test_a_decoder_that_the_system_kills_for_memory_says_nothing_of_the_photo(decoder: Decoder) -> None:
    with struck(decoder, signal.SIGKILL), pytest.raises(DecoderUnavailable):
        decoder.decode(heavy())
    assert decoder.decode(jpeg()).width == 640


@contextmanager
def struck(decoder: Decoder, number: signal.Signals) -> Iterator[None]:
    """Send a signal to the fork that decodes, as soon as there is one."""
    heavy()
    decoder.decode(jpeg())
    forks = Path(f"/proc/{child_of(decoder).pid}/task/{child_of(decoder).pid}/children")
    until(lambda: not forks.read_text())

    def strike() -> bool:
        found = forks.read_text().split()
        for fork in found:
            os.kill(int(fork), number)
        return bool(found)

    striker = threading.Thread(target=until, args=(strike,))
    striker.start()
    yield
    striker.join()


def test_a_child_that_somebody_stopped_says_nothing_of_the_photo(decoder: Decoder) -> None:
    decoder.decode(jpeg())
    process = child_of(decoder)
    os.kill(process.pid, signal.SIGSTOP)
    killer = threading.Timer(0.2, process.kill)
    killer.start()
    with pytest.raises(DecoderUnavailable):
        decoder.decode(jpeg())
    killer.join()
    assert decoder.decode(jpeg()).width == 640


def test_a_child_that_died_between_photos_is_replaced(decoder: Decoder) -> None:
    decoder.decode(jpeg())
    child_of(decoder).kill()
    child_of(decoder).wait()
    assert decoder.decode(jpeg()).width == 640


def test_what_is_loaded_on_first_use_is_loaded_before_any_fork() -> None:
    """A fork forgets what it loaded: each photo would pay for it again."""
    program = (
        "import sys\n"
        "from media.images import make_picture, warm_up\n"
        "warm_up()\n"
        "before = set(sys.modules)\n"
        "make_picture(sys.stdin.buffer.read(), max_pixels=10**6)\n"
        "print(sorted(set(sys.modules) - before))\n"
    )
    for content in (jpeg(), jpeg(mode="CMYK"), png()):
        done = subprocess.run(
            [sys.executable, "-c", program], input=content, capture_output=True, cwd=PROJECT_ROOT, check=False
        )
        assert done.stdout.strip() == b"[]", (done.stdout, done.stderr)


def test_the_child_ends_with_the_process_that_uses_it() -> None:
    program = (
        "import os, sys\n"
        "from media.sandbox import Decoder\n"
        "decoder = Decoder(max_pixels=10**6)\n"
        "decoder.decode(sys.stdin.buffer.read())\n"
        "print(decoder._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=jpeg(), capture_output=True, cwd=PROJECT_ROOT, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])


def test_the_child_knows_no_secret_and_reads_no_setting(decoder: Decoder) -> None:
    os.environ["PLANTED_SECRET"] = "x"
    try:
        decoder.decode(jpeg())
        environment = Path(f"/proc/{child_of(decoder).pid}/environ").read_bytes()
    finally:
        del os.environ["PLANTED_SECRET"]
    names = {part.split(b"=")[0] for part in environment.split(b"\0") if part}
    assert names == {name.encode() for name in _ENVIRONMENT}
    assert all(name.startswith((b"MALLOC_", b"GLIBC_", b"OPENBLAS_", b"LC_")) for name in names)


def test_it_works_inside_a_daemonic_process() -> None:
    """As a pool process of Celery is one, which may not have children through `multiprocessing`."""
    program = (
        "import multiprocessing, sys\n"
        "from media.sandbox import Decoder\n"
        "content = sys.stdin.buffer.read()\n"
        "def work(): print(Decoder(max_pixels=10**6).decode(content).width, flush=True)\n"
        "process = multiprocessing.get_context('fork').Process(target=work, daemon=True)\n"
        "process.start(); process.join()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=jpeg(), capture_output=True, cwd=PROJECT_ROOT, check=False
    )
    assert done.stdout.strip() == b"640", done.stderr
