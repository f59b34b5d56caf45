"""What verdicts led to, and looks on site."""

from tests.matrix.cells import GRID_PLACES, Ask, Call, Cell


def _settlement(suffix: str = "", method: str = "GET", **options: object) -> Call:
    def ask(cell: Cell) -> Ask:
        settlement_id = cell.scene.places[cell.place].settlement_id
        return Ask(method, f"/checks/v1/settlements/{settlement_id}{suffix}", dict(options))

    # The case of the place is open, which comes to light behind the walls.
    return Call(ask, places=GRID_PLACES, passed={"settlement_not_possible"})


def _list(cell: Cell) -> Ask:
    query = {"document_id": str(cell.scene.places[cell.place].document_id)}
    return Ask("GET", "/checks/v1/settlements", {"params": query})


def _answer(cell: Cell) -> Ask:
    path = f"/checks/v1/visits/{cell.scene.places[cell.place].visit_id}/answer"
    return Ask("POST", path, {"json": {"result": "confirmed"}})


UNDO = {"instead": "accepted", "reason": "seen_on_site", "note": "合成说明"}
CALLS = {
    "settlements.list": Call(_list, places=GRID_PLACES),
    "settlements.read": _settlement(),
    "settlements.undo": _settlement("/undo", "POST", json=UNDO),
    "visits.answer": Call(_answer, places=GRID_PLACES),
}
