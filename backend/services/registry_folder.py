"""The folder drop: departments put files into a folder of this machine, and find them again with a report.

    IMPORT_FOLDER/population.csv                      a whole dataset
    IMPORT_FOLDER/population.20261001.xlsx            the same; what stands in the middle is theirs
    IMPORT_FOLDER/population.changes.20261001.csv     what changed

A file that nobody has written to for `IMPORT_QUIET_SECONDS` is sealed, moved to `working`, and loaded as an upload is.
When its load has ended it lies in `done` or `failed`, beside a report without anything personal. Files there are
removed after `IMPORT_KEEP_DAYS`: they are as readable as they were handed over.
"""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import msgspec
from sqlmodel import Session

from backend.core.clock import now
from backend.core.enums import ImportState, LoadMode
from backend.core.errors import NotFound, TooLarge, ZhiwangError
from backend.core.ids import new_id
from backend.core.logging import get_logger
from backend.core.settings import get_settings
from backend.models import Snapshot
from backend.services import registry
from backend.services.registry_uploads import Upload

ACTOR = "import_folder"
SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".xlsx", ".jsonl", ".ndjson", ".parquet"})
WORKING, DONE, FAILED = "working", "done", "failed"
BLOCK_BYTES = 1024 * 1024
ID_CHARACTERS = 36

log = get_logger(__name__)


class FileUnnamed(ZhiwangError):
    code = "file_unnamed"
    status = 422
    title_zh = "文件名须以数据集编码开头，如 population.csv"
    title_en = "A file's name begins with the code of its dataset, as population.csv"


def gather(session: Session) -> None:
    """Take new files in, and put those away whose load has ended. Does nothing where no folder is set."""
    folder = _folder()
    if folder is None:
        return
    for name in (WORKING, DONE, FAILED):
        (folder / name).mkdir(exist_ok=True)
    _put_away(session, folder)
    for path in list(_finished(folder)):
        _take(session, folder, path)
    _remove_old(folder)


def _folder() -> Path | None:
    named = get_settings().import_folder
    return Path(named) if named and Path(named).is_dir() else None


def _finished(folder: Path) -> Iterator[Path]:
    """Files that nobody is writing any more, the oldest first. Links are not followed: they might lead anywhere."""
    quiet_since = now().timestamp() - get_settings().import_quiet_seconds
    files = [path for path in folder.iterdir() if path.suffix in SUFFIXES and not path.name.startswith(".")]
    written = {path: path.lstat().st_mtime for path in files if path.is_file() and not path.is_symlink()}
    return (
        path for path in sorted(written, key=lambda path: (written[path], path.name)) if written[path] <= quiet_since
    )


def _take(session: Session, folder: Path, path: Path) -> None:
    """Hand a file over. It is moved before the commit: one that is in `working` without a snapshot goes back."""
    try:
        with Upload() as upload, session.begin_nested():
            dataset, mode = _named(path.name)
            registry.check_dataset(session, dataset)
            with path.open("rb") as file:
                while block := file.read(BLOCK_BYTES):
                    upload.write(block)
            upload.finish()
            registry.request_import(session, dataset, upload=upload, taken_at=None, actor=ACTOR, mode=mode)
            path.rename(folder / WORKING / f"{upload.id}-{path.name}")
    except (FileUnnamed, NotFound, TooLarge) as error:
        _move(path, folder / FAILED / f"{new_id()}-{path.name}", {"state": "failed", "failure": error.code})


def _named(name: str) -> tuple[str, LoadMode]:
    dataset, *rest = name.split(".")
    if not dataset:
        raise FileUnnamed
    return dataset, LoadMode.INCREMENTAL if "changes" in rest[:-1] else LoadMode.FULL


def _put_away(session: Session, folder: Path) -> None:
    for path in sorted((folder / WORKING).iterdir()):
        snapshot = session.get(Snapshot, UUID(path.name[:ID_CHARACTERS]))
        if snapshot is None:
            path.rename(folder / path.name[ID_CHARACTERS + 1 :])
        elif snapshot.state is not ImportState.LOADING:
            target = FAILED if snapshot.state is ImportState.FAILED else DONE
            _move(path, folder / target / path.name, _report(snapshot))


def _report(snapshot: Snapshot) -> dict[str, object]:
    return {
        "snapshot_id": str(snapshot.id),
        "dataset": snapshot.dataset_code,
        "state": snapshot.state.value,
        "failure": snapshot.failure,
        "accepted": snapshot.accepted,
        "rejected": snapshot.rejected,
        "carried": snapshot.carried,
        "deleted": snapshot.deleted,
        "reasons": snapshot.reasons,
    }


def _move(path: Path, target: Path, report: dict[str, object]) -> None:
    """The report first: a file that was moved has one."""
    target.with_name(f"{target.name}.report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    path.rename(target)
    os.utime(target)


def _remove_old(folder: Path) -> None:
    before = now().timestamp() - timedelta(days=get_settings().import_keep_days).total_seconds()
    old = [path for name in (DONE, FAILED) for path in (folder / name).iterdir() if path.lstat().st_mtime < before]
    for path in old:
        path.unlink(missing_ok=True)
    if old:
        log.info("imported files removed", files=len(old))
