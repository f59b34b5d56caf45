"""Files that hold personal data of people whose keys are not known yet: uploads and refused rows, sealed in frames.

A frame is `4-byte length | ciphertext under the key ring`, bound to the file's context, its place, and whether it is
the last: frames that are swapped, left out, cut off or moved to another file do not open. Nothing is ever written to
disk readable, and memory holds one frame.
"""

import io
from collections.abc import Iterable, Iterator
from typing import IO

from backend.core.crypto import Undecipherable, key_ring

FRAME_BYTES = 1024 * 1024
LENGTH_BYTES = 4


class SealedWriter:
    """Seals what is written to it into `file`; `close` writes the last frame and leaves `file` open."""

    def __init__(self, file: IO[bytes], *, context: bytes) -> None:
        self._file = file
        self._context = context
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
        sealed = key_ring().seal_system(content, context=_frame_context(self._context, self._frames, last=last))
        self._file.write(len(sealed).to_bytes(LENGTH_BYTES) + sealed)
        self._frames += 1


class SealedReader(io.RawIOBase):
    """Reads what a `SealedWriter` wrote, from the blocks of a stored object. `Undecipherable` if it is not whole."""

    def __init__(self, blocks: Iterable[bytes], *, context: bytes) -> None:
        self._content = opened(blocks, context=context)
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


def opened(blocks: Iterable[bytes], *, context: bytes) -> Iterator[bytes]:
    """The frames of a sealed file in the clear."""
    waiting: bytes | None = None
    place = 0
    for sealed in _frames(blocks):
        if waiting is not None:
            yield key_ring().open_system(waiting, context=_frame_context(context, place, last=False))
            place += 1
        waiting = sealed
    if waiting is None:
        raise Undecipherable("an empty sealed file")
    yield key_ring().open_system(waiting, context=_frame_context(context, place, last=True))


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
