"""The command line of `make restore`."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backend.backup.errors import BackupError
from backend.backup.manifest import read
from backend.core.settings import Settings


@dataclass(frozen=True, slots=True)
class RestoreOrder:
    """What to restore: a backup, for a copy of a cluster up to a moment, over a database that is there or not."""

    folder: Path
    kind: str
    at: datetime | None
    replace: bool

    @classmethod
    def read(cls, arguments: Sequence[str], settings: Settings) -> "RestoreOrder":
        """From the command line. `BackupError` where it asks for what cannot be done."""
        parser = argparse.ArgumentParser(prog="make restore")
        parser.add_argument("folder", type=Path)
        parser.add_argument("--at", type=datetime.fromisoformat)
        parser.add_argument("--replace", action="store_true")
        asked = parser.parse_args(arguments)
        manifest = read(asked.folder).manifest
        if asked.at is not None and (manifest.kind != "base" or not settings.wal_archive):
            raise BackupError(
                "AT 需要集群副本（backup base）与 WAL_ARCHIVE",
                "AT needs a copy of the cluster (`backup base`) and WAL_ARCHIVE",
            )
        if asked.at is not None and (asked.at.tzinfo is None or asked.at <= manifest.taken_at):
            taken = f"{manifest.taken_at:%Y-%m-%dT%H:%M:%SZ}"
            raise BackupError(f"AT 须带时区且晚于 {taken}", f"AT needs a time zone and has to be later than {taken}")
        return cls(asked.folder.absolute(), manifest.kind, asked.at, asked.replace)
