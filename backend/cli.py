"""The command line: seeding, importing, the demo, and what an operator needs by hand."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backend.core.crypto import new_secret
from backend.core.db import engine_for
from backend.core.settings import get_settings
from backend.seed import load

app = typer.Typer(no_args_is_help=True, add_completion=False, help="织网 Zhiwang: seed, import, demo, keys.")
console = Console()


@app.command()
def seed() -> None:
    """Code tables, territory, demo accounts and synthetic business records, through the product's own import."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, int] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = int(progress.add_task(step, total=total))
            progress.update(progress.task_ids[tasks[step]], completed=done, total=total)

        load.seed_all(engine_for("zw_worker"), scale=get_settings().seed_scale, progress=show)


@app.command("demo-logins")
def demo_logins() -> None:
    """The demo accounts of this stack. There are none in production."""
    for entry in load.demo_logins():
        console.print(f"{entry.login:<16} {entry.password:<20} {entry.role:<20} {entry.display_name}", highlight=False)


@app.command()
def demo(url: Annotated[str, typer.Option(help="Address of the running stack")] = "") -> None:
    """Play a demo day on a running stack, over HTTP only, and print the table. Fails if it does not add up."""
    from backend.demo.day import play

    raise typer.Exit(play(url or f"http://127.0.0.1:{get_settings().port}", console))


@app.command("import")
def import_dataset(
    dataset: Annotated[str, typer.Argument(help="population, houses, organisations or components")],
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A CSV drop")],
) -> None:
    """Load a CSV drop as the new snapshot of a dataset."""
    result = load.import_file(engine_for("zw_worker"), dataset=dataset, path=file)
    console.print(f"{dataset}: accepted {result.accepted}, rejected {result.rejected}, snapshot {result.snapshot_id}")


@app.command("new-keys")
def new_keys() -> None:
    """Fresh secrets for a deployment, as lines for its `.env`."""
    for line in (f"MASTER_KEYS=1:{new_secret()}", f"INDEX_KEY={new_secret()}", f"TOKEN_SECRET={new_secret()}"):
        print(line)


if __name__ == "__main__":
    app()
