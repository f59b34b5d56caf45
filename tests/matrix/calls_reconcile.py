"""Bulk reconciliations of one grid in each place."""

from typing import Any

from tests.matrix.cells import GRID_PLACES, Ask, Call, Cell, Place


def _create(cell: Cell) -> Ask:
    """The scene has no snapshot in force, which is said after the grid was found to lie in reach."""
    body = {"dataset": "population", "grids": [cell.scene.places[cell.place].grid_id]}
    return Ask("POST", "/reconciliations/v1/runs", {"json": body})


def _run(method: str, suffix: str = "", *, places: tuple[Place, ...] = (Place.HELD, Place.FAR), **options: Any) -> Call:
    def ask(cell: Cell) -> Ask:
        return Ask(method, f"/reconciliations/v1/runs/{cell.scene.runs[cell.place]}{suffix}")

    return Call(ask, places=places, **options)


def _lists_run(cell: Cell, answer: Any) -> bool:
    return str(cell.scene.runs[cell.place]) in {run["id"] for run in answer.json()["runs"]}


CALLS = {
    "reconciliations.create": Call(_create, places=GRID_PLACES, passed={"reconciliation_no_snapshot"}),
    "reconciliations.list": Call(
        lambda _: Ask("GET", "/reconciliations/v1/runs"), places=GRID_PLACES, granted=_lists_run
    ),
    "reconciliations.read": _run("GET", places=GRID_PLACES),
    "reconciliations.cancel": _run("POST", "/cancel"),
    "reconciliations.report": _run("GET", "/report", passed={"reconciliation_not_done"}),
    "reconciliations.chart": _run("GET", "/charts/outcomes", passed={"reconciliation_not_done"}),
}
