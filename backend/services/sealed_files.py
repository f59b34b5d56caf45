"""Files made for a person to fetch: sealed while they are written, and removed when their time is over.

Their frames are those of `backend.services.registry_files`: nothing readable reaches a disk.
"""

import tempfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from backend.core.clock import now
from backend.core.enums import FileState
from backend.core.errors import ZhiwangError
from backend.services.objects import object_store
from backend.services.registry_files import SealedWriter, opened


class FileNotReady(ZhiwangError):
    code = "file_not_ready"
    status = 409
    title_zh = "文件尚未生成，请稍后再取"
    title_en = "The file is not made yet; come again later"


class FileGone(ZhiwangError):
    """Its time is over, it was fetched once and may be no second time, or it was refused."""

    code = "file_gone"
    status = 410
    title_zh = "文件已被取走、过期或未获批准，请重新申请"
    title_en = "The file was fetched, expired or refused; ask anew"


def check_ready(state: FileState, expires_at: datetime | None) -> None:
    """`FileNotReady` or `FileGone` where a file cannot be fetched."""
    if state is FileState.REQUESTED:
        raise FileNotReady
    if state is not FileState.READY or expires_at is None or expires_at <= now():
        raise FileGone


def keep(key: str, content: Iterable[bytes], *, context: bytes) -> None:
    """Seal the content and store it under the key."""
    with tempfile.NamedTemporaryFile() as file:
        writer = SealedWriter(file, context=context)
        for block in content:
            writer.write(block)
        writer.close()
        file.flush()
        object_store().put(key, Path(file.name))


def read(key: str, *, context: bytes) -> Iterator[bytes]:
    """The content in the clear. Its first block is read at once: a missing file is an error, not a short answer."""
    blocks = opened(object_store().stream(key), context=context)
    first = next(blocks)
    return _chained(first, blocks)


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
