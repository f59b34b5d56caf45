"""Keeping the write-ahead log of an embedded PostgreSQL, and bringing a cluster back from a copy and that log.

A segment is written under another name, flushed and renamed, so that a file of its name is always whole; one that is
there already is accepted if it is the same and never overwritten. Segments are kept until a person removes them.
"""

import os
import shlex
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backend.embedded.accounts import Account, can_enter, hand_over
from backend.embedded.children import EmbeddedError

LONGEST_WAIT_SECONDS = 300
"""A segment that is not full is kept after this time: how much a lost disk can cost."""

_ARCHIVE = (
    'd={folder}; if [ -f "$d/%f" ]; then cmp -s \'%p\' "$d/%f"; else '
    'cp \'%p\' "$d/.%f.new" && sync "$d/.%f.new" && mv "$d/.%f.new" "$d/%f" && sync "$d"; fi'
)
_FETCH = "cp {folder}/%f '%p'"


@dataclass(frozen=True, slots=True)
class Target:
    """What to recover to: the log in a folder up to a moment, or to its end. Without a folder the end of the copy."""

    archive: Path | None
    at: datetime | None = None

    def settings(self) -> tuple[str, ...]:
        """The server's settings for the recovery. The log that the promoted server writes is not archived yet:
        should the recovery be given up, nothing of it may be there."""
        # The file cannot be found where there is no archive; the copy has all it needs to be consistent.
        folder = self.archive or Path("/nonexistent")
        found = (
            f"restore_command={_command(_FETCH, folder)}",
            "recovery_target_timeline=current",
            "recovery_target_action=promote",
            "archive_mode=off",
        )
        if self.at is None:
            return found
        return (*found, f"recovery_target_time={self.at.isoformat()}")


def archive_settings(folder: Path) -> tuple[str, ...]:
    """The server's settings that keep its log in a folder."""
    return (
        "archive_mode=on",
        f"archive_command={_command(_ARCHIVE, folder)}",
        f"archive_timeout={LONGEST_WAIT_SECONDS}",
    )


def make_archive(folder: Path, account: Account | None) -> None:
    """Make the folder of the log for the server's account. `EmbeddedError` where that account cannot reach it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    hand_over(folder, account)
    if account and not can_enter(account, folder):
        raise EmbeddedError(
            f"数据库账户 {account.name} 无法进入 WAL_ARCHIVE，请换一个目录 · "
            f"the server's account {account.name} cannot enter WAL_ARCHIVE, choose another folder: {folder}"
        )


def lay_out(copy: Path, cluster: Path, account: Account | None) -> None:
    """Make a cluster that will recover out of a copy of one. The copy stays as it is."""
    shutil.rmtree(cluster, ignore_errors=True)
    shutil.copytree(copy, cluster, symlinks=True)
    (cluster / "recovery.signal").touch(mode=0o600)
    for place, folders, files in os.walk(cluster):
        for name in (".", *folders, *files):
            hand_over(Path(place, name), account)
    cluster.chmod(0o700)


def keep_history(cluster: Path, archive: Path, account: Account | None) -> None:
    """Put the recovered cluster's history of timelines with the log, so that no later recovery takes its number."""
    for history in sorted((cluster / "pg_wal").glob("*.history")):
        if (archive / history.name).exists():
            continue
        scratch = archive / f".{history.name}.new"
        shutil.copyfile(history, scratch)
        hand_over(scratch, account)
        scratch.rename(archive / history.name)


def _command(template: str, folder: Path) -> str:
    """A shell command for PostgreSQL, which reads per cent signs itself."""
    return template.replace("{folder}", shlex.quote(str(folder.absolute())).replace("%", "%%"))
