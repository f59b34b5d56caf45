"""Decoding in a child process with limits: what the photo does to the child is a verdict on it, what the host does not.

The child (`media.decode`) is an ordinary program, as the pool processes of Celery may not have children through
`multiprocessing`. One lives as long as the process that uses it; starting it costs about 0.1 s, a photo in it 2 ms
more than in this process.
"""

import atexit
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO

from backend.core.errors import Unavailable
from backend.core.logging import get_logger
from backend.core.settings import get_settings
from media.pictures import Copy, Picture, unpack, unpack_copy
from media.rules import Failure, Unusable

MEMORY_BYTES = 256 * 1024 * 1024
"""What a child may have in memory, of which Python, Pillow and their libraries take about 60 MB."""

CPU_SECONDS = 10
WALL_SECONDS = 60.0
"""A decoder that works meets `CPU_SECONDS` long before: one that is late was kept from working."""

START_SECONDS = 30.0

_ROOT = Path(__file__).resolve().parents[1]
_KILLED_FROM_OUTSIDE = frozenset(128 + number for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP))
"""Exit codes for signals that no codec raises; SIGKILL is how the system takes memory back."""

_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    # A fork gets each page of its memory anew from the system, which took a fifth of its time: buffers are used again.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(1024 * 1024 * 1024),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}

_SIZES = struct.Struct(">II")

log = get_logger(__name__)


class DecoderUnavailable(Unavailable):
    """The child did not start, was kept from working or was killed: nothing was learnt about the photo.

    The job is repeated with growing delays and dead-lettered in the end; the photo stays `received`, never `failed`.
    """

    code = "decoder_unavailable"
    title_zh = "照片处理服务暂时不可用，稍后自动重试"
    title_en = "The photo decoder is away; it will be tried again"


class Decoder:
    """One child, used by one thread at a time, restarted after it died."""

    def __init__(
        self,
        *,
        max_pixels: int,
        memory_bytes: int = MEMORY_BYTES,
        cpu_seconds: int = CPU_SECONDS,
        wall_seconds: float = WALL_SECONDS,
    ) -> None:
        self._limits = (memory_bytes, cpu_seconds, max_pixels)
        self._wall_seconds = wall_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def decode(self, content: bytes) -> Picture:
        """Decode one photo. `Unusable` with the verdict, `DecoderUnavailable` where it says nothing of the photo."""
        return unpack(*self._ask(content, None))

    def stamp(self, content: bytes, lines: list[str]) -> Copy:
        """The copy of a photo with lines of text on it. Raises as `decode`."""
        return unpack_copy(*self._ask(content, lines))

    def _ask(self, content: bytes, lines: list[str] | None) -> tuple[bytes, bytes]:
        with self._lock:
            process = self._running()
            with _Deadline(process, self._wall_seconds) as deadline:
                answer = _exchange(process, json.dumps(lines).encode(), content)
            if answer is None:
                raise self._verdict_of_death(process, late=deadline.passed)
        return answer

    def close(self) -> None:
        """Stop the child, if there is one."""
        with self._lock:
            process = self._process
            self._forget()
            if process is not None:
                _end(process)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._forget()
        process = _start(self._limits)
        with _Deadline(process, START_SECONDS):
            ready = _read(process, 1)
        if ready is None:
            _end(process)
            raise DecoderUnavailable
        self._process = process
        return process

    def _verdict_of_death(self, process: subprocess.Popen[bytes], *, late: bool) -> Exception:
        self._forget()
        code = _end(process)
        log.warning("decoder died", exit_code=code, late=late)
        if code == 128 + signal.SIGXCPU:
            return Unusable(Failure.TIME)
        if late or code < 0 or code in _KILLED_FROM_OUTSIDE:
            return DecoderUnavailable()
        return Unusable(Failure.CRASHED)

    def _forget(self) -> None:
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None


class _Deadline:
    """Kills the child and its forks when the time is over; the reader then sees the end of the pipe."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.passed = False
        self._process = process
        self._timer = threading.Timer(seconds, self._strike)
        self._timer.daemon = True

    def _strike(self) -> None:
        self.passed = True
        _kill_group(self._process)

    def __enter__(self) -> "_Deadline":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


@lru_cache(maxsize=1)
def _decoder_of(process_id: int) -> Decoder:
    made = Decoder(max_pixels=get_settings().max_photo_pixels)
    atexit.register(lambda: made.close() if os.getpid() == process_id else None)
    return made


def decoder() -> Decoder:
    """The decoder of this process. A forked process gets its own: two readers on one pipe would mix answers."""
    return _decoder_of(os.getpid())


def _start(limits: tuple[int, ...]) -> subprocess.Popen[bytes]:
    """Start the child apart from our session, so that Ctrl-C in a terminal is not taken for the fault of a photo.

    Its environment is empty: a decoder that is taken over finds no keys and no addresses.
    """
    try:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "media.decode", *map(str, limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd=_ROOT,
            env=_ENVIRONMENT,
            start_new_session=True,
        )
    except OSError as error:
        raise DecoderUnavailable from error


def _exchange(process: subprocess.Popen[bytes], order: bytes, content: bytes) -> tuple[bytes, bytes] | None:
    """Head and body of the answer, None where the child died over it."""
    assert process.stdin is not None
    try:
        _write(process.stdin, _SIZES.pack(len(order), len(content)) + order)
        _write(process.stdin, content)
    except BrokenPipeError:
        return None
    sizes = _read(process, _SIZES.size)
    if sizes is None:
        return None
    head, body = (_read(process, size) for size in _SIZES.unpack(sizes))
    return None if head is None or body is None else (head, body)


def _write(pipe: IO[bytes], content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[pipe.write(view) :]


def _read(process: subprocess.Popen[bytes], size: int) -> bytes | None:
    assert process.stdout is not None
    parts: list[bytes] = []
    while size:
        part = process.stdout.read(size)
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _end(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a child whose pipes were closed; one that does not end by itself within a second is killed."""
    try:
        return process.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        _kill_group(process)
        return process.wait()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
