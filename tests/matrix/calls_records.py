"""Records: read, unmasked, searched."""

from tests.matrix.cells import GRID_PLACES, Ask, Call, Cell


def _path(cell: Cell) -> str:
    return f"/records/v1/documents/{cell.scene.places[cell.place].document_id}"


def _unmask(cell: Cell) -> Ask:
    body = {"fields": ["description"], "reason": "handling_case", "note": "合成理由"}
    return Ask("POST", f"{_path(cell)}/unmask", {"json": body})


CALLS = {
    "records.read": Call(lambda cell: Ask("GET", _path(cell)), places=GRID_PLACES),
    "records.unmask": Call(_unmask, places=GRID_PLACES),
    # Whose records a search gives is tried in tests/api/test_records.py: the scene has no people.
    "records.search": Call(lambda _: Ask("POST", "/records/v1/search", {"json": {"phone": "13800138000"}})),
}
