"""The command line of `make restore`."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backend.backup.errors import BackupError
from backend.backup.manifest import BASE, read
from backend.core.settings import Settings

__all__ = ["BackupError", "RestoreOrder"]


@dataclass(frozen=True, slots=True)
class RestoreOrder:
    """What to restore: a dump, or the `copy` of a cluster up to a moment; over a database that is there or not."""

    folder: Path
    copy: Path | None
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
        folder = asked.folder.absolute()
        manifest = read(folder).manifest
        if asked.at is not None and (manifest.kind != "base" or not settings.wal_archive):
            raise BackupError(
                "AT 需要集群副本（backup base）与 WAL_ARCHIVE",
                "AT needs a copy of the cluster (`backup base`) and WAL_ARCHIVE",
            )
        if asked.at is not None and (asked.at.tzinfo is None or asked.at <= manifest.taken_at):
            taken = f"{manifest.taken_at:%Y-%m-%dT%H:%M:%SZ}"
            raise BackupError(f"AT 须带时区且晚于 {taken}", f"AT needs a time zone and has to be later than {taken}")
        return cls(folder, folder / BASE if manifest.kind == "base" else None, asked.at, asked.replace)
