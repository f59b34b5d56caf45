"""Reading backups again: which there are, and whether one is what its manifest says."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from backend.backup import programs
from backend.backup.create import BASE_MANIFEST, PARTIAL
from backend.backup.errors import BackupError
from backend.backup.keys import MANIFEST_NAME, wrong_keys
from backend.backup.manifest import BASE, DUMP, MEDIA_FOLDER, Backup, hash_file, is_signed, read
from backend.backup.media import read_media
from backend.core.settings import Settings

MOST_FAULTS = 20


@dataclass(slots=True)
class Report:
    """What was read, and each thing that is not as it has to be, in words for a person."""

    backup: Backup
    files: int = 0
    media: int = 0
    tables: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether this backup can be restored from."""
        return not self.faults


def list_backups(folder: Path) -> tuple[list[Backup], list[Path]]:
    """The whole backups in a folder, oldest first, and what is there unfinished."""
    if not folder.is_dir():
        return [], []
    inside = sorted(path for path in folder.iterdir() if path.is_dir())
    whole = [read(path) for path in inside if (path / MANIFEST_NAME).is_file() and not path.name.endswith(PARTIAL)]
    unfinished = [path for path in inside if path.name.endswith(PARTIAL)]
    return sorted(whole, key=lambda backup: backup.manifest.taken_at), unfinished


def verify(folder: Path, settings: Settings) -> Report:
    """Hash every file again, test-read the dump or the copy of the cluster, and compare both with the manifest."""
    report = Report(read(folder))
    _check_signature(report, settings)
    _check_files(report)
    _check_media(report)
    if report.backup.manifest.kind == "dump":
        _check_dump(report)
    else:
        _check_base(report)
    return report


def require_good(folder: Path, settings: Settings) -> Backup:
    """The backup, verified. `BackupError` with its first faults otherwise."""
    report = verify(folder, settings)
    if not report.good:
        raise BackupError(
            f"备份不完整或已被改动，未作任何改动（{len(report.faults)} 处）",
            f"the backup is damaged or was changed, nothing was touched ({len(report.faults)} faults)\n"
            + "\n".join(report.faults[:MOST_FAULTS]),
        )
    return report.backup


def _check_signature(report: Report, settings: Settings) -> None:
    """Only the keys of the backup can tell; with others nothing is said against the files themselves."""
    manifest = report.backup.manifest
    if wrong_keys(manifest.keys, settings):
        report.notes.append("密钥不同，未核对签名 · other keys: the signature was not checked")
    elif not is_signed(manifest, settings):
        report.faults.append(f"{MANIFEST_NAME}: 签名不符 · the signature does not match")


def _check_files(report: Report) -> None:
    for name, expected in sorted(report.backup.manifest.files.items()):
        path = report.backup.folder / name
        report.files += 1
        if not path.is_file():
            report.faults.append(f"{name}: 缺失 · missing")
        elif hash_file(path) != expected:
            report.faults.append(f"{name}: 内容与清单不符 · not what the manifest says")


def _check_media(report: Report) -> None:
    """Files that were missing or damaged when the backup was made are no fault of it, and are named.

    Where the list itself may be wrong the files are not compared with it.
    """
    summary = report.backup.manifest.media
    if summary.missing or summary.damaged:
        report.notes.append(
            f"备份时照片库已缺 {summary.missing} 个、损坏 {summary.damaged} 个文件 · "
            f"when it was made the store lacked {summary.missing} files, and {summary.damaged} were damaged"
        )
    if summary.mode == "manifest" or report.faults:
        return
    for line in read_media(report.backup.folder):
        if line.fault == "missing":
            continue
        path = report.backup.folder / MEDIA_FOLDER / line.key
        report.media += 1
        found = hash_file(path) if path.is_file() else None
        if found is None or (found.size, found.sha256) != (line.size, line.sha256):
            report.faults.append(f"{MEDIA_FOLDER}/{line.key}: 缺失或损坏 · missing or damaged")


def _check_dump(report: Report) -> None:
    if not report.backup.dump.is_file():
        return
    try:
        listing = programs.run("pg_restore", "--list", str(report.backup.dump))
    except BackupError as error:
        report.faults.append(f"{DUMP}: {error}")
        return
    tables = set(re.findall(r" TABLE DATA public (\S+) ", listing))
    report.tables = len(tables)
    lacking = report.backup.manifest.counts.keys() - tables
    report.faults += [f"{DUMP}: 缺少表 {name} · table {name} is not in it" for name in sorted(lacking)]


def _check_base(report: Report) -> None:
    if not (report.backup.folder / BASE_MANIFEST).is_file():
        return
    try:
        programs.run("pg_verifybackup", str(report.backup.folder / BASE))
    except BackupError as error:
        report.faults.append(f"{BASE}: {error}")
