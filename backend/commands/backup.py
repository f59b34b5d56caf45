"""`backup …`: making, listing and verifying backups, the keys apart, and restoring."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backend.backup import keys
from backend.backup.after import Done, after_restore, check_fit
from backend.backup.create import create_base, create_dump
from backend.backup.errors import BackupError
from backend.backup.manifest import Backup, read
from backend.backup.restore import restore_dump
from backend.backup.verify import MOST_FAULTS, Report, list_backups
from backend.backup.verify import verify as verify_backup
from backend.core.errors import ZhiwangError
from backend.core.settings import get_settings

MOST_KEYS = 20
MEDIA_WORDS = {
    "put_back": "从备份放回的文件 · files put back from the backup",
    "expected": "原件缺失、等待掌机重传的照片 · photos whose original is gone, expected again from their handhelds",
    "failed": "原件丢失的照片 · photos whose original is lost",
    "made_anew": "将由原件重新生成的副本 · copies to be made anew from their originals",
    "adopted": "备份之后收到、重新登记的照片 · photos received since the backup, taken in again",
    "lost": "丢失的其他文件 · other files that are lost",
    "orphans": "数据库不再提及的文件 · files that the database does not name",
}

app = typer.Typer(no_args_is_help=True, help="备份与恢复 · back up, verify, restore.")
console = Console()

Folder = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The folder of a backup")]
To = Annotated[Path | None, typer.Option(help="The folder to make; by default a new one in BACKUP_DIR")]
PassphraseFile = Annotated[Path | None, typer.Option(exists=True, help="A file whose first line is the passphrase")]


@contextmanager
def refusals_shown() -> Iterator[None]:
    """Say why a command cannot go on, and end with exit code 1."""
    try:
        yield
    except (BackupError, ZhiwangError) as error:
        text = f"{error.title_zh} · {error.title_en}" if isinstance(error, ZhiwangError) else str(error)
        console.print(f"✗ {text}", highlight=False, soft_wrap=True, markup=False)
        raise typer.Exit(1) from error


def say(chinese: str, english: str) -> None:
    """One line for each step."""
    console.print(f"… {chinese} · {english}", highlight=False, soft_wrap=True, markup=False)


@app.command("create")
def create(to: To = None) -> None:
    """Back up the database and the stored files. The keys are not in it: see `backup keys`."""
    with refusals_shown():
        _told(create_dump(get_settings(), to=to, say=say))


@app.command("base")
def base(to: To = None) -> None:
    """Copy the whole cluster: with archived WAL, any later moment can be restored from it."""
    with refusals_shown():
        _told(create_base(get_settings(), to=to, say=say))


@app.command("list")
def list_all(
    folder: Annotated[Path | None, typer.Option(help="Where to look; by default BACKUP_DIR")] = None,
) -> None:
    """Whole backups, oldest first. What is unfinished is named as such."""
    place = folder or keys.backup_folder(get_settings())
    with refusals_shown():
        whole, unfinished = list_backups(place)
    console.print(f"{place}", highlight=False, soft_wrap=True, markup=False)
    for backup in whole:
        manifest = backup.manifest
        console.print(
            f"  {backup.folder.name}  {manifest.kind}  {manifest.taken_at:%Y-%m-%dT%H:%M:%SZ}  "
            f"版本 revision {manifest.revision}  {manifest.media.objects} 个文件 files",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
    for path in unfinished:
        console.print(f"未完成，可删除 · unfinished, may be removed: {path.name}", highlight=False, markup=False)


@app.command("verify")
def verify(
    folder: Folder,
    for_restore: Annotated[bool, typer.Option(help="Also whether these keys and this version can restore it")] = False,
) -> None:
    """Hash every file again and test-read the dump. Fails where the backup is not what its manifest says."""
    with refusals_shown():
        if for_restore:
            check_fit(get_settings(), folder)
        report = verify_backup(folder, get_settings())
    _report(report)
    if not report.good:
        raise typer.Exit(1)


@app.command("keys")
def export(
    to: Annotated[Path, typer.Option(help="A new file, apart from all backups")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Write the keys to a file of their own, encrypted under a passphrase."""
    with refusals_shown():
        names = keys.export_keys(get_settings(), to=to, passphrase=_passphrase(passphrase_file, confirm=True))
    console.print(f"{to}: {', '.join(names)}", highlight=False, soft_wrap=True, markup=False)


@app.command("open-keys")
def open_keys(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What `backup keys` wrote")],
    to: Annotated[Path, typer.Option(help="A new file of settings, as lines for `.env`")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Get the keys back, as lines for `.env` in a new file that only you can read."""
    with refusals_shown():
        values = keys.open_keys(file, passphrase=_passphrase(passphrase_file, confirm=False))
        keys.write_new(to, "".join(f"{name}={value}\n" for name, value in values.items()).encode())
    console.print(f"{to}: {', '.join(values)}", highlight=False, soft_wrap=True, markup=False)


@app.command("restore")
def restore(
    folder: Folder,
    replace: Annotated[bool, typer.Option(help="Replace a database that is not empty; it is kept beside")] = False,
) -> None:
    """Bring back the state of a dump. Stop the API, the workers and beat first."""
    with refusals_shown():
        restored = restore_dump(get_settings(), folder, replace=replace, say=say)
    _done(restored.done)
    if restored.kept:
        line(f"  原数据库保留为 · the database that was there is kept as {restored.kept}")
    line(f"✓ 已恢复到 · restored to {restored.backup.manifest.taken_at:%Y-%m-%dT%H:%M:%SZ}")


@app.command("after-restore")
def after(
    folder: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="The backup, if one was used")
    ] = None,
    reason: Annotated[str, typer.Option(help="A few words for the audit trail, nothing personal")] = "restore",
) -> None:
    """What every restore has to do, after PostgreSQL's own tools brought the database back. Safe to repeat."""
    settings = get_settings()
    with refusals_shown():
        backup = read(folder) if folder else None
        done = after_restore(settings, backup=backup, reason=reason, say=say)
    _done(done)


def line(text: str) -> None:
    """A line as it is."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)


def _done(done: Done) -> None:
    line(f"  同步纪元 · sync epoch {done.epoch_before} → {done.epoch}")
    line(f"  重新删除 · erased again: {done.erased}")
    for name, keys_of in done.media.by_name().items():
        if keys_of:
            line(f"  {MEDIA_WORDS[name]}: {len(keys_of)}")
            for key in keys_of[:MOST_KEYS]:
                line(f"    {key}")


def _passphrase(file: Path | None, *, confirm: bool) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").partition("\n")[0]
    answer: str = typer.prompt("口令 passphrase", hide_input=True, confirmation_prompt=confirm)
    return answer


def _told(backup: Backup) -> None:
    manifest = backup.manifest
    console.print(f"✓ {backup.folder}", highlight=False, soft_wrap=True, markup=False)
    rows = sum(manifest.counts.values())
    console.print(
        f"  {len(manifest.counts)} 张表 tables, {rows} 行 rows, {manifest.media.objects} 个文件 files, "
        f"WAL {manifest.wal_position}",
        highlight=False,
        soft_wrap=True,
    )
    if manifest.media.missing or manifest.media.damaged:
        console.print(
            f"  ⚠ 照片库缺 {manifest.media.missing}、损坏 {manifest.media.damaged} 个文件 · "
            "the store lacks or damaged these files: see media.jsonl",
            highlight=False,
            soft_wrap=True,
        )


def _report(report: Report) -> None:
    for line in (*report.notes, *report.faults[:MOST_FAULTS]):
        console.print(f"  {line}", highlight=False, soft_wrap=True, markup=False)
    verdict = "✓ 完好 · good" if report.good else f"✗ {len(report.faults)} 处问题 · faults"
    console.print(
        f"{verdict}: {report.files} 个文件 files, {report.tables} 张表 tables, {report.media} 张照片等 media",
        highlight=False,
        soft_wrap=True,
    )
