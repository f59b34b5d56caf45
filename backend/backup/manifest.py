"""`MANIFEST.json`: what a backup holds and of which state, with the hash of every file, signed under the keys' own.

It is written last, and the folder gets its name only after that: a folder with a manifest is a whole backup. It holds
ids, counts and hashes, no secrets and nothing personal.
"""

import hmac
from dataclasses import dataclass
from datetime import datetime
from hashlib import file_digest
from pathlib import Path
from typing import Literal

import msgspec

from backend.backup.errors import BackupError
from backend.backup.keys import MANIFEST_NAME, mac_key, write_new
from backend.core.settings import Settings

FORMAT = 1
DUMP = "database.dump"
BASE = "base"
MEDIA = "media.jsonl"
MEDIA_FOLDER = "media"

Kind = Literal["dump", "base"]
MediaMode = Literal["copy", "link", "manifest"]


class FileEntry(msgspec.Struct, frozen=True):
    """A file of the backup: bytes and SHA-256."""

    size: int
    sha256: str


class MediaSummary(msgspec.Struct, frozen=True):
    """The stored files: whether they are in the backup, how many there are, and what the store had lost by then."""

    mode: MediaMode
    objects: int
    bytes: int
    missing: int
    damaged: int


class AuditHead(msgspec.Struct, frozen=True):
    """The end of the audit trail: how many entries, and number and head of the last sealed batch."""

    entries: int
    batch: int
    head: str


class LedgerHead(msgspec.Struct, frozen=True):
    """The erasure ledger as it was: its length and the hash of that much. It only grows, so a later one begins so."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of one backup. `counts` are rows by table in the very snapshot of the dump; empty in a base backup."""

    format: int = FORMAT
    id: str
    kind: Kind
    taken_at: datetime
    product: str
    revision: str
    epoch: str
    database: str
    postgres: int
    wal_position: str
    roles: list[str]
    counts: dict[str, int]
    audit: AuditHead
    ledger: LedgerHead
    keys: dict[str, str]
    media: MediaSummary
    files: dict[str, FileEntry]
    mac: str = ""


@dataclass(frozen=True, slots=True)
class Backup:
    """A whole backup in its folder."""

    folder: Path
    manifest: Manifest

    @property
    def dump(self) -> Path:
        """The dump of the database."""
        return self.folder / DUMP

    @property
    def base(self) -> Path:
        """The copy of the cluster."""
        return self.folder / BASE


def sign(manifest: Manifest, settings: Settings) -> Manifest:
    """The manifest with its code under the keys of these settings."""
    return msgspec.structs.replace(manifest, mac=_mac(manifest, settings))


def is_signed(manifest: Manifest, settings: Settings) -> bool:
    """Whether the manifest was written under the keys of these settings and is unchanged."""
    return hmac.compare_digest(manifest.mac, _mac(manifest, settings))


def write(manifest: Manifest, folder: Path) -> None:
    """Write the manifest into a folder that has none."""
    content = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=2)
    write_new(folder / MANIFEST_NAME, content)


def read(folder: Path) -> Backup:
    """The backup in a folder. `BackupError` where there is no manifest, or one of another format."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST_NAME).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise BackupError(f"这里没有完整的备份：{folder}", f"there is no whole backup here: {folder}") from error
    if manifest.format != FORMAT:
        raise BackupError(
            f"备份格式 {manifest.format} 不受此版本支持", f"this version does not know backup format {manifest.format}"
        )
    return Backup(folder, manifest)


def hash_file(path: Path) -> FileEntry:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    return FileEntry(path.stat().st_size, digest)


def _mac(manifest: Manifest, settings: Settings) -> str:
    content = msgspec.json.encode(msgspec.structs.replace(manifest, mac=""), order="sorted")
    return hmac.digest(mac_key(settings), content, "sha256").hex()
