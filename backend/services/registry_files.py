"""Files that hold personal data of many people, or of nobody knows whom, sealed in frames.

Uploads and refused rows are sealed under a data key of their snapshot, so that they are erased by deleting it: such a
file is `ZWS2` and frames. Files of release 0.1.0, and those made to be fetched within days, are frames under the key
ring itself. A frame is `4-byte length | ciphertext`, bound to the file's context, its place, and whether it is the
last: frames that are swapped, left out, cut off or moved to another file do not open. Nothing is ever written to disk
readable, and memory holds one frame.
"""

import io
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import IO, Protocol

from backend.core.crypto import DataKey, Undecipherable, key_ring

MAGIC = b"ZWS2"
"""As the length of a frame it would be 1.4 GB, which no frame has."""
FRAME_BYTES = 1024 * 1024
LENGTH_BYTES = 4


class SealedWriter:
    """Seals what is written to it into `file`; `close` writes the last frame and leaves `file` open.

    Without a `key` of its own a file is sealed under the ring: for what is gone before a master key is.
    """

    def __init__(self, file: IO[bytes], *, context: bytes, key: DataKey | None = None) -> None:
        self._file = file
        self._context = context
        self._key = key
        if key is not None:
            self._file.write(MAGIC)
        self._buffer = bytearray()
        self._frames = 0

    def write(self, content: bytes) -> None:
        """Add bytes to the file."""
        self._buffer += content
        while len(self._buffer) > FRAME_BYTES:
            self._seal(bytes(self._buffer[:FRAME_BYTES]), last=False)
            del self._buffer[:FRAME_BYTES]

    def close(self) -> None:
        """Seal what is left as the last frame."""
        self._seal(bytes(self._buffer), last=True)
        self._buffer.clear()

    def _seal(self, content: bytes, *, last: bool) -> None:
        seal = self._key.seal if self._key is not None else key_ring().seal_system
        sealed = seal(content, context=_frame_context(self._context, self._frames, last=last))
        self._file.write(len(sealed).to_bytes(LENGTH_BYTES) + sealed)
        self._frames += 1


class SealedReader(io.RawIOBase):
    """Reads what a `SealedWriter` wrote, from the blocks of a stored object. `Undecipherable` if it is not whole.

    `key` is None where the key is gone; a file of release 0.1.0 opens all the same.
    """

    def __init__(self, blocks: Iterable[bytes], *, context: bytes, key: DataKey | None) -> None:
        self._content = opened(blocks, context=context, key=key)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]
        """As `io.RawIOBase.readinto`."""
        while not self._rest:
            following = next(self._content, None)
            if following is None:
                return 0
            self._rest = following
        taken, self._rest = self._rest[: len(target)], self._rest[len(target) :]
        target[: len(taken)] = taken
        return len(taken)


def opened(blocks: Iterable[bytes], *, context: bytes, key: DataKey | None = None) -> Iterator[bytes]:
    """The frames of a sealed file in the clear."""
    start, frames = _begun(iter(blocks))
    open_frame = key_ring().open_system if start != MAGIC else _opener(key)
    waiting: bytes | None = None
    place = 0
    for sealed in frames:
        if waiting is not None:
            yield open_frame(waiting, context=_frame_context(context, place, last=False))
            place += 1
        waiting = sealed
    if waiting is None:
        raise Undecipherable("an empty sealed file")
    yield open_frame(waiting, context=_frame_context(context, place, last=True))


class _OpenFrame(Protocol):
    def __call__(self, ciphertext: bytes, *, context: bytes) -> bytes: ...


def _opener(key: DataKey | None) -> _OpenFrame:
    if key is None:
        raise Undecipherable("the key of a sealed file is gone")
    return key.open


def _begun(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first four bytes of a file, and its frames."""
    begin = b""
    for block in blocks:
        begin += block
        if len(begin) >= len(MAGIC):
            break
    start = begin[: len(MAGIC)]
    return start, _frames(chain([begin.removeprefix(MAGIC)], blocks))


def _frames(blocks: Iterable[bytes]) -> Iterator[bytes]:
    buffer = bytearray()
    for block in blocks:
        buffer += block
        while len(buffer) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(buffer[:LENGTH_BYTES])
            if len(buffer) < end:
                break
            yield bytes(buffer[LENGTH_BYTES:end])
            del buffer[:end]
    if buffer:
        raise Undecipherable("a sealed file that was cut off")


def _frame_context(context: bytes, place: int, *, last: bool) -> bytes:
    return context + place.to_bytes(8) + (b"last" if last else b"more")
