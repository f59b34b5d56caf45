"""The stored files of a backup: a line for each, and, for a store in a folder, the files themselves.

A bucket is not copied: its own versioning keeps what was in it, and the manifest says what that has to be.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import LiteralString
from uuid import UUID

import msgspec
from psycopg import sql

from backend.backup.keys import new_file
from backend.backup.manifest import MEDIA, MEDIA_FOLDER, MediaMode, MediaSummary
from backend.backup.programs import Connection
from backend.services.objects import BLOCK_BYTES, LocalObjects, ObjectMissing, ObjectStore


class MediaLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One stored file: its key, and what it has to be. `fault` says that the store did not have it so."""

    key: str
    size: int
    sha256: str
    of: str
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Named:
    """A file that a row of the database names: the row's id, and hash and size where it knows them."""

    of: str
    id: UUID | None
    size: int | None
    sha256: str | None


def named_objects(connection: Connection) -> dict[str, Named]:
    """All files that the database names, by key; originals of photos before their copies."""
    found: dict[str, Named] = {}
    for of, query in _NAMED.items():
        rows = connection.execute(query)
        found |= {str(key): Named(of, _uuid(row), _number(size), _string(digest)) for key, row, size, digest in rows}
    for (table,) in connection.execute(_WITH_FILES).fetchall():
        files = sql.SQL("SELECT object_key FROM {} WHERE object_key IS NOT NULL").format(sql.Identifier(str(table)))
        found |= {str(key): Named("file", None, None, None) for (key,) in connection.execute(files)}
    return found


def effective_mode(store: ObjectStore, wanted: MediaMode) -> MediaMode:
    """A bucket is only listed, whatever is wanted."""
    return wanted if isinstance(store, LocalObjects) else "manifest"


def write_media(store: ObjectStore, named: dict[str, Named], *, folder: Path, mode: MediaMode) -> MediaSummary:
    """Write `media.jsonl`, and with `copy` or `link` the files beside it. What the store lacks is noted, no fault."""
    count = total = missing = damaged = 0
    with new_file(folder / MEDIA) as file:
        for line in _lines(store, named, folder / MEDIA_FOLDER, mode):
            file.write(msgspec.json.encode(line) + b"\n")
            count += 1
            total += line.size
            missing += line.fault == "missing"
            damaged += line.fault == "damaged"
        file.flush()
        os.fsync(file.fileno())
    return MediaSummary(mode, count, total, missing, damaged)


def read_media(folder: Path) -> Iterator[MediaLine]:
    """The lines of a backup's `media.jsonl`."""
    decoder = msgspec.json.Decoder(MediaLine)
    with (folder / MEDIA).open("rb") as file:
        for line in file:
            yield decoder.decode(line)


def _lines(store: ObjectStore, named: dict[str, Named], folder: Path, mode: MediaMode) -> Iterator[MediaLine]:
    stored = dict(store.entries())
    for key in sorted(stored.keys() | named.keys()):
        expected = named.get(key, Named("nothing", None, None, None))
        if key not in stored:
            yield MediaLine(key, expected.size or 0, expected.sha256 or "", expected.of, "missing")
            continue
        try:
            yield _kept(store, key, stored[key], expected, folder, mode)
        except ObjectMissing:
            # Removed between the listing and now, as the upload of a dataset is once its load has ended.
            continue


def _kept(store: ObjectStore, key: str, size: int, expected: Named, folder: Path, mode: MediaMode) -> MediaLine:
    """Keep one file as the mode says. It is read, and so compared, where it is copied or its hash is not known."""
    digest = expected.sha256
    if mode == "copy":
        size, digest = _copied(store, key, folder / key)
    elif mode == "link":
        assert isinstance(store, LocalObjects)
        size, digest = _linked(store.root / key, folder / key)
    elif digest is None:
        digest = _hashed(store, key)
    right = expected.sha256 in (None, digest) and expected.size in (None, size)
    return MediaLine(key, size, digest, expected.of, "" if right else "damaged")


def _copied(store: ObjectStore, key: str, target: Path) -> tuple[int, str]:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, size = sha256(), 0
    with new_file(target) as file:
        for block in store.stream(key):
            file.write(block)
            digest.update(block)
            size += len(block)
        file.flush()
        os.fsync(file.fileno())
    return size, digest.hexdigest()


def _linked(source: Path, target: Path) -> tuple[int, str]:
    """A second name for the same file: it costs no room, and writing an object anew makes a new file."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileNotFoundError as error:
        raise ObjectMissing from error
    digest = sha256()
    with target.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return target.stat().st_size, digest.hexdigest()


def _hashed(store: ObjectStore, key: str) -> str:
    digest = sha256()
    for block in store.stream(key):
        digest.update(block)
    return digest.hexdigest()


def _uuid(value: object) -> UUID | None:
    return value if isinstance(value, UUID) else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None


# Uploads of datasets and files of refused rows are sealed, and no row knows the hash of what was stored.
_NAMED: dict[str, LiteralString] = {
    "photo": "SELECT original_key, id, size, sha256 FROM photo WHERE original_key IS NOT NULL",
    "derivative": "SELECT storage_key, photo_id, size, sha256 FROM derivative",
    "rejects": "SELECT reject_key, id, NULL, NULL FROM snapshot WHERE reject_key IS NOT NULL",
    "import": "SELECT 'imports/' || id, id, NULL, NULL FROM snapshot WHERE state = 'loading'",
}
# Files made for a person to fetch: any table with a column of this name.
_WITH_FILES = """
    SELECT table_name FROM information_schema.columns
    WHERE table_schema = 'public' AND column_name = 'object_key' ORDER BY table_name
"""
