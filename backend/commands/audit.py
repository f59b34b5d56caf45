"""`cli audit`: verify the trail, say how far it is, and fork its anchor after a lawful restore."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from sqlmodel import Session

from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.core.settings import get_settings
from backend.services import audit_chain, audit_sealing
from backend.services.audit_anchor import AuditBroken, private_key, public_key, public_text
from backend.services.audit_locate import Finding, Wrong
from backend.services.audit_verify import Report
from backend.services.audit_verify import verify as verify_trail

app = typer.Typer(no_args_is_help=True, help="审计记录：校验、状态、分叉 · the audit trail: verify, status, fork")
console = Console()

TEXTS = {
    Wrong.EDITED: "记录被改动或替换 · the entry was edited or replaced",
    Wrong.DELETED: "记录或批次被删除 · an entry or a batch was deleted",
    Wrong.INSERTED: "有记录被插入 · an entry was inserted",
    Wrong.REORDERED: "记录顺序被改动 · entries were reordered",
    Wrong.CUT_OFF: "审计记录的末尾被截去 · the end of the trail was cut off",
    Wrong.SEAL_ALTERED: "封存记录被改动 · a seal was altered",
    Wrong.BATCH_ALTERED: "批次信息被改动 · the row of a batch was altered",
    Wrong.DROPPED_EARLY: "批次未到保存期限即被清除 · a batch was dropped before its time",
    Wrong.ANCHOR_ALTERED: "锚文件被改动 · the anchor file was altered",
    Wrong.ANCHOR_CUT_OFF: "锚文件缺少已封存的批次 · the anchor lacks batches that were sealed",
}


@app.command()
def verify(
    public: Annotated[str, typer.Option("--public-key", help="The key to verify with, as `status` shows it")] = "",
    anchor: Annotated[Path | None, typer.Option(help="Another anchor file than the one of the settings")] = None,
    expect_head: Annotated[str, typer.Option(help="A head that was written down earlier; it must be there")] = "",
    strict: Annotated[bool, typer.Option(help="Entries that say too early a time fail too")] = False,
) -> None:
    """Verify every entry, and locate the first bad one. Ends with 1 where anything is wrong."""
    try:
        ours = private_key()
        key = public_key(public) if public else ours.public_key() if ours else None
        head = bytes.fromhex(expect_head) if expect_head else None
    except ValueError as error:
        raise typer.BadParameter("密钥或链头格式不正确 · the key or the head is malformed") from error
    with Session(engine_for("zw_worker")) as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        path = anchor or get_settings().anchor_path()
        report = verify_trail(session, path=path, moment=now(), key=key, expect_head=head)
    _tell(report, trusted=key is not None)
    if report.finding or (strict and report.late):
        raise typer.Exit(1)


@app.command()
def status() -> None:
    """How far the trail is, and the head and public key to write down somewhere else."""
    with Session(engine_for("zw_worker")) as session:
        seen = audit_sealing.trail(session)
        unsealed = audit_sealing.count_unsealed(session)
        anchored = audit_chain.noted_batch(session)
    key = private_key()
    for name, value in (
        ("批次 batches", seen.batches),
        ("已锚定 anchored", anchored),
        ("已清除 dropped", seen.dropped_batches),
        ("待封存 unsealed", unsealed),
        ("封存时间 sealed at", seen.sealed_at.isoformat() if seen.sealed_at else "–"),
        ("链头 head", seen.head.hex()),
        ("公钥 public key", public_text(key.public_key()) if key else "–"),
    ):
        _say(f"{name}: {value}")


@app.command()
def fork(
    reason: Annotated[str, typer.Option(help="Why, in a few words without personal data")],
    backup: Annotated[str, typer.Option(help="The backup that was restored; its id")] = "none",
) -> None:
    """Say in the anchor that the database was lawfully set back (`restore` does it), or that a new file begins."""
    try:
        with transaction(engine_for("zw_worker")) as session:
            number = audit_chain.append_fork(session, reason=reason, backup_id=backup)
    except AuditBroken as error:
        _say(f"未写入 · not written: {error}")
        raise typer.Exit(1) from error
    _say(f"自第 {number} 批起继续 · the trail goes on from batch {number}")


def _tell(report: Report, *, trusted: bool) -> None:
    if not trusted and report.public_key:
        _say(f"公钥取自锚文件，请核对 · the key is the anchor's own, compare it with yours: {report.public_key}")
    for late in report.late:
        where = f"batch {late.batch} position {late.position}" if late.batch else "unsealed"
        _say(f"时间早于封存顺序 · says too early a time: {where} entry {late.entry_id}")
    if report.finding:
        _say(f"✗ {TEXTS[report.finding.wrong]}: {_place(report.finding)}")
        return
    _say(
        f"✓ 审计记录完整 · OK: entries={report.entries} batches={report.batches} dropped={report.dropped_batches} "
        f"unsealed={report.unsealed} unanchored={report.unanchored} forks={report.forks} late={len(report.late)}"
    )
    _say(f"链头 head: {report.head.hex()}")


def _place(finding: Finding) -> str:
    parts = [f"batch {finding.batch}"]
    if finding.position:
        parts.append(f"position {finding.position}")
    if finding.entry_id:
        parts.append(f"entry {finding.entry_id}")
    if finding.line:
        parts.append(f"line {finding.line} of the anchor")
    return ", ".join(parts)


def _say(text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True, markup=False)
