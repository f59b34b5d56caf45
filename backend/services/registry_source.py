"""A dataset's file as bytes: its beginning can be looked at before it is read, and how far it was read is known."""

import io
from typing import IO

SAMPLE_BYTES = 1024 * 1024


class Source(io.RawIOBase):
    """Reads `file` from where it stands. `size` is the number of its bytes, None where nobody knows."""

    def __init__(self, file: IO[bytes] | io.RawIOBase, *, size: int | None = None) -> None:
        self._file = file
        self._size = size
        self._ahead = b""
        self._read = 0

    def head(self) -> bytes:
        """The first bytes, up to `SAMPLE_BYTES`; they are read again afterwards."""
        parts, missing = [self._ahead], SAMPLE_BYTES - len(self._ahead)
        while missing > 0 and (part := self._file.read(missing)):
            parts.append(part)
            missing -= len(part)
        self._ahead = b"".join(parts)
        return self._ahead[:SAMPLE_BYTES]

    @property
    def share(self) -> float | None:
        """How much of the file was read, from 0 to 1."""
        return min(self._read / self._size, 1.0) if self._size else None

    def readable(self) -> bool:
        return True

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]
        """As `io.RawIOBase.readinto`."""
        if not self._ahead:
            self._ahead = self._file.read(len(target)) or b""
        taken, self._ahead = self._ahead[: len(target)], self._ahead[len(target) :]
        target[: len(taken)] = taken
        self._read += len(taken)
        return len(taken)
