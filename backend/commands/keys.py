"""`keys`: what the master keys protect, and putting everything under the newest."""

import typer
from rich.console import Console
from rich.table import Table
from sqlmodel import Session

from backend.core.crypto import key_ring
from backend.core.db import engine_for, transaction
from backend.services.key_rotation import ROTATE_JOB, request_rotation
from backend.services.key_use import key_use, old_reject_files
from backend.services.overview import jobs_by_name

app = typer.Typer(no_args_is_help=True, help="主密钥 · master keys: status, rotate.")
console = Console()

IN_USE = "使用中 in use"
NEWEST = "最新 newest"
UNUSED = "可移除 removable"
ABSENT = "缺失 missing"


@app.command()
def status() -> None:
    """How much each master key protects; one that protects nothing may be taken out of MASTER_KEYS."""
    ring = key_ring()
    table = Table("版本 version", "算法 cipher", "数据密钥 keys", "旧数据 old rows", "状态 state", box=None)
    with Session(engine_for("zw_worker")) as session:
        found, files = key_use(session), old_reject_files(session)
        for use in found:
            table.add_row(
                str(use.version), use.cipher.value, str(use.subject_keys), str(use.system_rows), _state(use.version)
            )
        # A file does not say which key sealed it without being read, so old files hold on to every old key.
        free = UNUSED if not files else IN_USE
        for version in sorted(ring.masters.keys() - {use.version for use in found}, reverse=True):
            table.add_row(str(version), "–", "0", "0", NEWEST if version == ring.newest else free)
        console.print(table)
        console.print(f"旧的拒收文件 · reject files sealed by 0.1.0: {files}", highlight=False)
        for name, state, number, seconds in jobs_by_name(session):
            if name == ROTATE_JOB:
                console.print(f"{name}: {state} {number}, {seconds:.0f} s", highlight=False)


def _state(version: int) -> str:
    ring = key_ring()
    if version not in ring.masters:
        return ABSENT
    return NEWEST if version == ring.newest else IN_USE


@app.command()
def rotate() -> None:
    """Put all data keys under the newest master key, in the background; `keys status` shows how far it is."""
    with transaction(engine_for("zw_worker")) as session:
        version = request_rotation(session, actor="command_line")
    console.print(f"已开始轮换到版本 {version} · rotating to version {version}", highlight=False)
