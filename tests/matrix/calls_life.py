"""The life of data: erasures."""

from typing import Any

from tests.matrix.cells import GRID_PLACES, Ask, Call, Cell


def _ask_for_erasure(cell: Cell) -> Ask:
    subject = {"document_id": str(cell.scene.places[cell.place].document_id)}
    return Ask("POST", "/life/v1/erasures", {"json": {"subject": subject, "reason": "subject_request"}})


def _erasure(method: str, suffix: str = "") -> Call:
    return Call(lambda cell: Ask(method, f"/life/v1/erasures/{cell.scene.erasure_id}{suffix}"))


CALLS: dict[str, Any] = {
    "life.ask_erasure": Call(_ask_for_erasure, places=GRID_PLACES),
    "life.list_erasures": Call(lambda _: Ask("GET", "/life/v1/erasures")),
    "life.read_erasure": _erasure("GET"),
    "life.approve_erasure": _erasure("POST", "/approve"),
    "reference.purposes": Call(lambda _: Ask("GET", "/reference/v1/purposes")),
    "life.retention_runs": Call(lambda _: Ask("GET", "/life/v1/retention-runs")),
    "life.refuse_erasure": _erasure("POST", "/refuse"),
}
