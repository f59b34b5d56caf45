"""The object store: photographs and other files, in a local folder or in S3, behind one small interface.

What `put` accepted is durable: the local store flushes the file and its folders to disk before it returns, S3 answers
after it stored. Objects are written whole or not at all, and writing equal bytes again is harmless. Keys are made by
the server, never taken from a file name. What is larger than `PART_BYTES` goes to S3 in parts, of which few are in
memory; an upload in parts that a crash left open is the bucket's to clear (docs/media.md). The S3 store reads
`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_REGION` from the environment.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from backend.core.errors import Unavailable, ZhiwangError
from backend.core.ids import new_id
from backend.core.settings import get_settings

BLOCK_BYTES = 1024 * 1024
PART_BYTES = 5 * 1024 * 1024
PARTS_AT_ONCE = 4
TIMEOUT_SECONDS = 30
RETRY_AFTER_SECONDS = 10

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP})
_DISK_FULL_TEXT = f"(os error {errno.ENOSPC})"


class StoreUnavailable(Unavailable):
    """The store does not answer, or refuses us; the caller keeps its bytes and comes again."""

    code = "storage_unavailable"
    title_zh = "文件存储暂时不可用，请稍后重试（请勿删除本机照片）"
    title_en = "The file store is away; keep the file and try again"


class ObjectMissing(StoreUnavailable):
    """A key that was written is not there: a fault of the store, not of the caller."""

    code = "object_missing"
    title_zh = "文件暂时无法读取，请联系管理员"
    title_en = "The file cannot be read; tell the operator"


class StoreFull(ZhiwangError):
    code = "storage_full"
    status = 507
    title_zh = "服务器存储空间不足，请稍后重试（请勿删除本机照片）"
    title_en = "The server's disk is full; keep the file and try again"


class ObjectStore(Protocol):
    """What both stores do. Errors: `ObjectMissing`, `StoreUnavailable`, `StoreFull`; `ValueError` for a bad key."""

    def put(self, key: str, content: bytes | Path, *, mime: str | None = None) -> None:
        """Store a whole object, from memory or from a copy of a file; an object of this key is replaced.

        `mime` is what a signed address will say that it is; our own routes say it themselves.
        """

    def take(self, key: str, file: Path) -> None:
        """As `put`, from a file that the caller gives away: it may be removed, and is never written to again."""

    def address(self, key: str, *, seconds: int) -> str | None:
        """An address at which anybody may get the object for so long; None where the store cannot sign any.

        It is made without asking the store, so also for a key that is not there. Whoever has it needs no login: give
        it only to who may see the object, and let it be short-lived.
        """

    def get(self, key: str) -> bytes:
        """The whole object."""

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """Bytes `start` to `end` (exclusive); `0 <= start < end <= size` is the caller's to ensure."""

    def stream(self, key: str) -> Iterator[bytes]:
        """The object in blocks of about 1 MiB."""

    def head(self, key: str) -> int:
        """The size of the object in bytes."""

    def delete(self, key: str) -> None:
        """Remove the object; not an error where there is none."""

    def entries(self) -> Iterator[tuple[str, int]]:
        """Key and size in bytes of every object, in no order. Objects that come or go meanwhile may be among them."""


@contextmanager
def store_faults() -> Iterator[None]:
    """Say what obstore and the system raise in our own errors, without their texts: these name paths and hosts."""
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectMissing from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StoreFull if full else StoreUnavailable(retry_after=RETRY_AFTER_SECONDS) from error
    except BaseError as error:
        full = _DISK_FULL_TEXT in str(error)
        raise StoreFull if full else StoreUnavailable(retry_after=RETRY_AFTER_SECONDS) from error


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError("not a key of the object store")
    return key


@dataclass(frozen=True, slots=True)
class _Objects:
    """What both stores do alike."""

    store: LocalStore | S3Store

    def get_range(self, key: str, start: int, end: int) -> bytes:
        with store_faults():
            return bytes(obstore.get_range(self.store, _checked(key), start=start, end=end))

    def stream(self, key: str) -> Iterator[bytes]:
        with store_faults():
            yield from map(bytes, obstore.get(self.store, _checked(key)).stream(min_chunk_size=BLOCK_BYTES))

    def head(self, key: str) -> int:
        with store_faults():
            return obstore.head(self.store, _checked(key))["size"]

    def entries(self) -> Iterator[tuple[str, int]]:
        with store_faults():
            for batch in obstore.list(self.store):
                yield from ((entry["path"], entry["size"]) for entry in batch if _KEY.fullmatch(entry["path"]))


@dataclass(frozen=True, slots=True)
class S3Objects(_Objects):
    """Objects in an S3 bucket."""

    store: S3Store

    def put(self, key: str, content: bytes | Path, *, mime: str | None = None) -> None:
        with store_faults():
            obstore.put(
                self.store,
                _checked(key),
                content,
                attributes={"Content-Type": mime} if mime else None,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )

    def take(self, key: str, file: Path) -> None:
        self.put(key, file)

    def address(self, key: str, *, seconds: int) -> str | None:
        with store_faults():
            return obstore.sign(self.store, "GET", _checked(key), timedelta(seconds=seconds))

    def get(self, key: str) -> bytes:
        with store_faults():
            return bytes(obstore.get(self.store, _checked(key)).bytes())

    def delete(self, key: str) -> None:
        with store_faults():
            obstore.delete(self.store, _checked(key))


@dataclass(frozen=True, slots=True)
class LocalObjects(_Objects):
    """Objects in a folder of this machine, or of a file system that all processes share."""

    store: LocalStore
    root: Path

    def put(self, key: str, content: bytes | Path, *, mime: str | None = None) -> None:  # noqa: ARG002  no place for it
        """As `ObjectStore.put`. obstore writes beside the target and renames, but leaves flushing to the system."""
        with store_faults():
            obstore.put(self.store, _checked(key), content)
            flush_to_disk(self.root / key)
            self._flush_folders((self.root / key).parent)

    def take(self, key: str, file: Path) -> None:
        """As `ObjectStore.take`: the file gets a second name and its bytes are not written again, where it can."""
        target = self.root / _checked(key)
        beside = target.with_name(f"{target.name}#{new_id()}")
        with store_faults():
            if not target.parent.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
                self._flush_folders(target.parent)
            try:
                beside.hardlink_to(file)
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
                self.put(key, file)
                return
            try:
                beside.replace(target)
            finally:
                # Where the target is that very file already, the system renames nothing and leaves both names.
                beside.unlink(missing_ok=True)
            flush_to_disk(target)
            flush_to_disk(target.parent)

    def address(self, key: str, *, seconds: int) -> None:  # noqa: ARG002  nobody but our routes could answer there
        _checked(key)

    def _flush_folders(self, folder: Path) -> None:
        """From a folder up to the root: any of them may be new."""
        for path in (folder, *folder.parents):
            flush_to_disk(path)
            if path == self.root:
                break

    def get(self, key: str) -> bytes:
        with store_faults():
            return (self.root / _checked(key)).read_bytes()

    def delete(self, key: str) -> None:
        with store_faults():
            (self.root / _checked(key)).unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Have the system write a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_store(location: str) -> ObjectStore:
    """The store at a `file://` or `s3://bucket/prefix` address. `ValueError` for any other."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        root = Path(url2pathname(parts.path))
        root.mkdir(parents=True, exist_ok=True)
        return LocalObjects(LocalStore(root), root)
    if parts.scheme == "s3":
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
        return S3Objects(
            S3Store.from_url(
                location,
                client_options={"timeout": f"{TIMEOUT_SECONDS}s", "allow_http": endpoint.startswith("http://")},
                retry_config={"max_retries": 3},
            )
        )
    raise ValueError("MEDIA_URL must start with file:// or s3://")


@lru_cache(maxsize=4)
def _opened(location: str, _process_id: int) -> ObjectStore:
    return open_store(location)


def object_store() -> ObjectStore:
    """The store of this process. Use it after forking, not before: its threads do not survive a fork."""
    return _opened(get_settings().media_location(), os.getpid())
