"""The command line: seeding, importing, accounts, keys, jobs and the demo day."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from sqlmodel import Session

from backend import jobs
from backend.commands import audit, backup, grids, keys
from backend.core.crypto import new_secret
from backend.core.db import engine_for, transaction
from backend.core.enums import LoadMode, Role
from backend.core.errors import ZhiwangError
from backend.core.settings import get_settings
from backend.demo import day
from backend.seed import load
from backend.services.accounts import create_account
from backend.services.backfill import request_backfill
from backend.services.overview import jobs_by_name

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="织网 Zhiwang: seed, import, accounts, keys, jobs, demo.",
)
app.add_typer(backup.app, name="backup")
app.add_typer(audit.app, name="audit")
app.add_typer(keys.app, name="keys")
app.add_typer(grids.app, name="grids")
console = Console()

NO_DEMO_ACCOUNTS = (
    "没有演示账号：仅在非正式环境、DEMO=true 且 HOST 为本机地址时生成；请用 add-account 新建账号 · "
    "no demo accounts: they are made outside production only, with DEMO=true and a loopback HOST; "
    "add-account makes others"
)


@app.command()
def seed() -> None:
    """Code tables, territory, demo accounts and synthetic business records, through the product's own import."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=total)
            progress.update(tasks[step], completed=done, total=total)

        load.seed_all(engine_for("zw_worker"), scale=get_settings().seed_scale, progress=show)


@app.command("demo-logins")
def demo_logins() -> None:
    """The demo accounts of this stack. There are none in production, with DEMO=false, or off the loopback address."""
    if not get_settings().demo_accounts():
        console.print(NO_DEMO_ACCOUNTS, highlight=False, soft_wrap=True)
        return
    logins = load.demo_logins()
    table = Table("账号 login", "角色 role", Column("试试 try", overflow="fold"), box=None)
    for entry in logins:
        if entry.role is not Role.GRID_WORKER:
            table.add_row(entry.login, entry.role.value, entry.note)
    workers = [entry.login for entry in logins if entry.role is Role.GRID_WORKER]
    table.add_row(f"{workers[0]} … {workers[-1]}", Role.GRID_WORKER.value, "用绑定码登记掌机后采集 · enrol a handheld")
    console.print(table)
    console.print(f"密码均为 · the password of all: {logins[0].password}", highlight=False)


@app.command()
def demo(url: Annotated[str, typer.Option(help="Address of the running stack")] = "") -> None:
    """Play a demo day on a running stack, over HTTP only, and print the table. Fails if it does not add up."""
    if not url and not get_settings().demo_accounts():
        console.print(NO_DEMO_ACCOUNTS, highlight=False, soft_wrap=True)
        raise typer.Exit(1)
    raise typer.Exit(day.play(url or f"http://127.0.0.1:{get_settings().port}", console))


@app.command("import")
def import_dataset(
    dataset: Annotated[str, typer.Argument(help="population, houses, organisations or components")],
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, XLSX, JSON lines or Parquet")],
    fewer: Annotated[bool, typer.Option("--fewer", help="Half the rows, or a column less, are meant")] = False,
    changes: Annotated[bool, typer.Option("--changes", help="The file says what changed since the last")] = False,
) -> None:
    """Load a department's file as the new snapshot of a dataset."""
    mode = LoadMode.INCREMENTAL if changes else LoadMode.FULL
    result = load.import_file(engine_for("zw_worker"), dataset=dataset, path=file, fewer=fewer, mode=mode)
    console.print(f"{dataset}: accepted {result.accepted}, rejected {result.rejected}, snapshot {result.snapshot_id}")
    if result.failure:
        console.print(f"not loaded: {result.failure}")
        raise typer.Exit(1)


@app.command("add-account")
def add_account(
    login: str,
    role: Role,
    name: Annotated[str, typer.Option(help="Name shown to others; the login where absent")] = "",
    territory: Annotated[str, typer.Option(help="Division code prefix; empty for the whole city")] = "",
    department: Annotated[str, typer.Option(help="Department code, for handlers")] = "",
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)] = "",
) -> None:
    """Make an account; how a new deployment gets its first administrator."""
    try:
        with transaction(engine_for("zw_worker")) as session:
            account_id = create_account(
                session,
                actor="command_line",
                login=login,
                display_name=name or login,
                role=role,
                password=password,
                territory_code=territory,
                department_code=department or None,
            )
    except ZhiwangError as error:
        console.print(f"{error.title_zh} · {error.title_en}")
        raise typer.Exit(1) from error
    console.print(f"account {account_id}")


@app.command("new-keys")
def new_keys() -> None:
    """Fresh secrets for a deployment, as lines for its `.env`."""
    console.print(f"MASTER_KEYS=1:{new_secret()}", highlight=False, soft_wrap=True)
    for name in ("INDEX_KEY", "TOKEN_SECRET", "AUDIT_KEY"):
        console.print(f"{name}={new_secret()}", highlight=False, soft_wrap=True)


@app.command()
def backfill() -> None:
    """Complete what an older release left out: references of records, tasks that wait. In the background; harmless to
    ask for again."""
    with transaction(engine_for("zw_worker")) as session:
        asked = request_backfill(session, actor="command_line")
    console.print(f"已排入后台任务 · jobs asked for: {len(asked)}", highlight=False)


@app.command("jobs")
def list_jobs() -> None:
    """Jobs that are not done, by name and state, with the age of the oldest."""
    table = Table("任务 job", "状态 state", "数量 number", "最久 oldest", box=None)
    with Session(engine_for("zw_worker")) as session:
        for name, state, number, seconds in jobs_by_name(session):
            table.add_row(name, state, str(number), f"{seconds:.0f} s")
    console.print(table)


@app.command("retry-dead")
def retry_dead(
    name: Annotated[str, typer.Argument(help="The job's name")],
    since: Annotated[datetime | None, typer.Option(help="Only those that died after this moment")] = None,
) -> None:
    """Give dead-lettered jobs of one name another full set of attempts."""
    with transaction(engine_for("zw_worker")) as session:
        revived = jobs.revive(session, name, since=since)
    console.print(f"{name}: {revived}")


if __name__ == "__main__":
    app()
