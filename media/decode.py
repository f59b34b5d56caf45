"""The decoding child: a program that turns photos from its standard input into copies on its standard output.

It loads Pillow once and then forks for every photo. The fork has limits of its own on memory, processor time and
files, no secrets in its environment, and ends with its photo: what one file does to a decoder cannot reach the next
one. A fork that dies takes this program with it, with exit code 128 + signal, because half an answer may stand in the
pipe; `media.sandbox` starts another.

A request is `size of order (4 bytes) | size of photo (4 bytes) | order | photo`, where the order is JSON: null for all
copies, or the lines to be stamped on one. An answer is `size of head (4 bytes) | size of body (4 bytes) | head | body`.
"""

import gc
import json
import os
import resource
import signal
import struct
import sys
from pathlib import Path

from media.images import make_picture, make_stamped, warm_up
from media.pictures import pack, pack_copy, pack_failure
from media.rules import Unusable

SIZES = struct.Struct(">II")
READY = b"R"
OPEN_FILES = 16


def main() -> None:
    """Serve until the input ends. Arguments: bytes of memory a photo, seconds of processor time, most pixels."""
    memory, seconds, max_pixels = map(int, sys.argv[1:4])
    warm_up()
    gc.freeze()
    os.write(1, READY)
    while request := _read(SIZES.size):
        child = os.fork()
        if child == 0:
            _limit(memory, seconds)
            order_size, size = SIZES.unpack(request)
            _serve(order_size, size, max_pixels)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _limit(memory: int, seconds: int) -> None:
    memory = _address_space(memory)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _address_space(memory: int) -> int:
    """The address space in which at most so much memory can be resident: what is only mapped now is let off."""
    try:
        mapped, resident = map(int, Path("/proc/self/statm").read_text().split()[:2])
    except OSError:  # no Linux
        return memory
    return memory + (mapped - resident) * resource.getpagesize()


def _serve(order_size: int, size: int, max_pixels: int) -> None:
    lines = json.loads(_read(order_size))
    content = _read(size)
    try:
        if lines is None:
            answer = pack(make_picture(content, max_pixels=max_pixels))
        else:
            answer = pack_copy(make_stamped(content, lines, max_pixels=max_pixels))
    except Unusable as verdict:
        answer = pack_failure(verdict.failure)
    _write(*answer)


def _read(size: int) -> bytes:
    """Exactly `size` bytes of the input, or nothing where it ended."""
    content = bytearray(size)
    view, got = memoryview(content), 0
    while got < size:
        count = os.readv(0, [view[got:]])
        if count == 0:
            return b""
        got += count
    return bytes(content)


def _write(head: bytes, body: bytes) -> None:
    view = memoryview(SIZES.pack(len(head), len(body)) + head + body)
    while view:
        view = view[os.write(1, view) :]


if __name__ == "__main__":
    main()
