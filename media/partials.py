"""The file of an upload while it grows: one writer at a time, and only flushed bytes count.

The lock is the kernel's, on the file itself. It ends with the writer, also one that was killed, holds between all
processes that share the folder, and takes no database connection while a slow handheld sends. A compare-and-set on
the offset (`media.uploads`) is the second wall.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.services.objects import flush_to_disk, store_faults
from media.errors import UploadBusy, UploadGone

READ_BYTES = 1024 * 1024
PART, WHOLE = ".part", ".whole"
OPENED_AT_MOST = 3
POLL_SECONDS = 0.02


def folder() -> Path:
    """Where partial files lie; names are made by the server."""
    path = get_settings().state_dir / "uploads"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def path_of(upload_id: UUID) -> Path:
    """The file of one upload."""
    return folder() / f"{upload_id}{PART}"


class Partial:
    """The open and locked file of one upload. `close` or `remove` it in every case."""

    def __init__(self, upload_id: UUID) -> None:
        """Open and lock, or `UploadBusy`.

        Between the two the last writer may have removed or replaced the file: then its lock is worth nothing.
        """
        self.path = path_of(upload_id)
        for _ in range(OPENED_AT_MOST):
            with store_faults():
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if _lock(self._descriptor) and self._is_at_its_path():
                return
            self.close()
        raise UploadBusy(retry_after=1)

    def rewind(self, offset: int) -> None:
        """Cut off what was written after the durable offset. `UploadGone` where even that much is not there."""
        found = os.fstat(self._descriptor)
        if found.st_size < offset:
            raise UploadGone
        with store_faults():
            if found.st_nlink > 1:
                self._leave_to_the_store()
            os.ftruncate(self._descriptor, offset)

    def write(self, block: bytes | bytearray, offset: int) -> None:
        """Write all of the block at the offset."""
        view = memoryview(block)
        with store_faults():
            while view:
                written = os.pwrite(self._descriptor, view, offset)
                view, offset = view[written:], offset + written

    def flush(self, *, new: bool) -> None:
        """Have the bytes on disk; `new` also the folder's entry of the file."""
        with store_faults():
            os.fsync(self._descriptor)
            if new:
                flush_to_disk(self.path.parent)

    def sha256(self) -> str:
        """The digest of all that was written."""
        digest = hashlib.sha256()
        offset = 0
        while block := os.pread(self._descriptor, READ_BYTES, offset):
            digest.update(block)
            offset += len(block)
        return digest.hexdigest()

    def _is_at_its_path(self) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self._descriptor), self.path.stat())
        return False

    def _leave_to_the_store(self) -> None:
        """Go on with a copy: the store took the file over, though the transaction that would have said so failed."""
        beside = self.path.with_suffix(f".{new_id()}")
        mine = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        _lock(mine)
        offset = 0
        while block := os.pread(self._descriptor, READ_BYTES, offset):
            offset += os.write(mine, block)
        os.fsync(mine)
        beside.replace(self.path)
        flush_to_disk(self.path.parent)
        os.close(self._descriptor)
        self._descriptor = mine

    def close(self) -> None:
        """Give the lock back. Closing twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Delete the file and give the lock back."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        self.close()


def _lock(descriptor: int) -> bool:
    """Whether the file is this process's alone now, until the descriptor is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_writer(upload_id: UUID, *, seconds: float) -> None:
    """Wait until nobody writes to an upload, for so long at most: its last request may have ended a moment ago."""
    end = time.monotonic() + seconds
    with suppress(FileNotFoundError), path_of(upload_id).open("rb") as file:
        while not _lock(file.fileno()) and time.monotonic() < end:
            time.sleep(POLL_SECONDS)


def remove_partial(upload_id: UUID) -> None:
    """Delete the file of an upload that nobody writes to."""
    with suppress(OSError):
        path_of(upload_id).unlink(missing_ok=True)


@contextmanager
def kept(file: BinaryIO) -> Iterator[tuple[Path, str]]:
    """A file's content under a name of ours, with its SHA-256, for as long as the block runs."""
    path = folder() / f"{new_id()}{WHOLE}"
    digest = hashlib.sha256()
    file.seek(0)
    try:
        with store_faults(), path.open("xb") as out:
            while block := file.read(READ_BYTES):
                digest.update(block)
                out.write(block)
        yield path, digest.hexdigest()
    finally:
        path.unlink(missing_ok=True)
