"""The life of data: erasures, what is held about somebody, exports, retention."""

from typing import Any

from backend.core.enums import Role
from tests.matrix.cells import GRID_PLACES, Ask, Call, Cell, Place


def _ask_for_erasure(cell: Cell) -> Ask:
    subject = {"document_id": str(cell.scene.places[cell.place].document_id)}
    return Ask("POST", "/life/v1/erasures", {"json": {"subject": subject, "reason": "subject_request"}})


def _erasure(method: str, suffix: str = "") -> Call:
    return Call(lambda cell: Ask(method, f"/life/v1/erasures/{cell.scene.erasure_id}{suffix}"))


def _ask_for_access(cell: Cell) -> Ask:
    subject = {"document_id": str(cell.scene.places[cell.place].document_id)}
    return Ask("POST", "/life/v1/access-requests", {"json": {"subject": subject, "reason": "subject_request"}})


def _file_of(things: str, path: str, suffix: str = "") -> Call:
    """Something a caller of the same role asked for, or somebody else. It is not made yet, which says that he may."""

    def ask(cell: Cell) -> Ask:
        own = getattr(cell.scene, things)
        others = (one for role, one in own.items() if role is not cell.role)
        found = own[cell.role] if cell.place is Place.OWN and cell.role else next(others)
        return Ask("GET", f"{path}/{found}{suffix}")

    return Call(ask, places=(Place.OWN, Place.FAR), passed={"file_not_ready"})


def _ask_for_export(cell: Cell) -> Ask:
    """What the role reads: a department its cases, a steward verdicts."""
    what = "cases" if cell.role is Role.HANDLER else "verdicts"
    return Ask("POST", "/exports/v1", {"json": {"what": what, "purpose_code": "statistics", "purpose": "合成测试"}})


CALLS: dict[str, Any] = {
    "life.ask_access": Call(_ask_for_access, places=GRID_PLACES),
    "life.read_access": _file_of("access_requests", "/life/v1/access-requests"),
    "life.fetch_access": _file_of("access_requests", "/life/v1/access-requests", "/file"),
    "exports.create": Call(_ask_for_export),
    "exports.list": Call(lambda _: Ask("GET", "/exports/v1")),
    "exports.read": _file_of("exports", "/exports/v1"),
    "exports.fetch": _file_of("exports", "/exports/v1", "/file"),
    "life.ask_erasure": Call(_ask_for_erasure, places=GRID_PLACES),
    "life.list_erasures": Call(lambda _: Ask("GET", "/life/v1/erasures")),
    "life.read_erasure": _erasure("GET"),
    "life.approve_erasure": _erasure("POST", "/approve"),
    "reference.purposes": Call(lambda _: Ask("GET", "/reference/v1/purposes")),
    "life.retention_runs": Call(lambda _: Ask("GET", "/life/v1/retention-runs")),
    "life.refuse_erasure": _erasure("POST", "/refuse"),
}
