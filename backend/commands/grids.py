"""`cli grids`: split or merge grids by a plan, and see how far it is."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.core.errors import ZhiwangError
from backend.models import GridChange
from backend.services import grid_changes
from backend.services.grid_changes import NewGrid

app = typer.Typer(no_args_is_help=True, help="网格：拆分、合并、进度 · grids: split, merge, progress")
console = Console()


class PlannedGrid(BaseModel):
    """A grid of the plan; see `NewGrid`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str
    name: str
    polygon: dict[str, Any] | None = None
    workers: list[str] | None = None


class Plan(BaseModel):
    """What ends, what begins, and where goes what has no place."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sources: list[str]
    targets: list[PlannedGrid]
    default: str


@app.command()
def change(
    plan: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSON: sources, targets, default")],
    hours: Annotated[float, typer.Option(min=0, help="For how long the old grids still take what was not sent")] = 72,
) -> None:
    """Split or merge grids: new ones begin now, a job moves what lies in the old ones, which end after some hours."""
    try:
        planned = Plan.model_validate_json(plan.read_bytes())
        targets = [NewGrid(**target.model_dump()) for target in planned.targets]
        with transaction(engine_for("zw_worker")) as session:
            started = grid_changes.start(
                session,
                actor="command_line",
                sources=planned.sources,
                targets=targets,
                default=planned.default,
                ends_at=now() + timedelta(hours=hours),
            )
            _say(f"网格变更 grid change {started.id}: {started.sources} → {started.targets}")
    except ValidationError as error:
        raise typer.BadParameter(f"方案格式不正确 · the plan is malformed: {error.error_count()}") from error
    except ZhiwangError as error:
        _say(f"{error.title_zh} · {error.title_en}: {error.extra}")
        raise typer.Exit(1) from error


@app.command()
def status() -> None:
    """All changes of grids, newest first: how many documents were moved, and until when the old grids run."""
    with Session(engine_for("zw_worker")) as session:
        for row in session.exec(select(GridChange).order_by(col(GridChange.id).desc())):
            done = f"完成 finished {row.finished_at.isoformat()}" if row.finished_at else "进行中 running"
            ends = row.ends_at.isoformat()
            _say(f"{row.id} {row.sources} → {row.targets}: 已移 moved {row.moved}, 原网格止于 ends {ends}, {done}")


def _say(text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True, markup=False)
