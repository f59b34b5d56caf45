"""The desk of conflicts and quarantined rows, and the collector's answer."""

from typing import Any

from tests.matrix.cells import Ask, Call, Cell, Place

WHY = {"reason": "verifying_entry", "note": "合成理由"}
PLACES = (Place.HELD, Place.NEAR, Place.PAST, Place.FAR, Place.SENT)


def _conflict(suffix: str, method: str = "GET", **options: Any) -> Call:
    def ask(cell: Cell) -> Ask:
        conflict_id = cell.scene.places[cell.place].conflict_id
        return Ask(method, f"/reviews/v1/conflicts/{conflict_id}{suffix}", options)

    return Call(ask, places=PLACES, passed={"review_not_allowed"})


def _decision(cell: Cell) -> dict[str, Any]:
    conflict_id = str(cell.scene.places[cell.place].conflict_id)
    return {"decisions": [{"conflict_id": conflict_id, "choice": "mine"}], "reason": "newer_value"}


def _resolve(cell: Cell) -> Ask:
    path = f"/reviews/v1/documents/{cell.scene.places[cell.place].document_id}/resolve"
    return Ask("POST", path, {"json": _decision(cell), "headers": {"If-Match": '"1"'}})


def _resolve_many(cell: Cell) -> Ask:
    record = {"document_id": str(cell.scene.places[cell.place].document_id), "version": 1, **_decision(cell)}
    return Ask("POST", "/reviews/v1/documents/resolve", {"json": {"records": [record]}})


def _was_resolved(_: Cell, answer: Any) -> bool:
    (result,) = answer.json()["results"]
    assert result["code"] in (None, "not_found"), result
    return result["code"] is None


def _lists(cell: Cell, answer: Any) -> bool:
    conflict_id = str(cell.scene.places[cell.place].conflict_id)
    return conflict_id in {conflict["id"] for conflict in answer.json()["conflicts"]}


def _answer(what: str, **options: Any) -> Call:
    """The scene's conflicts were pushed by the worker of the place, who is nobody's caller; `own` is the caller's."""

    def ask(cell: Cell) -> Ask:
        conflict_id = cell.scene.conflicts.get(cell.role if cell.place is Place.OWN else None)
        other = cell.scene.places[Place.HELD].conflict_id
        return Ask("POST", f"/sync/v1/outcomes/{conflict_id or other}/{what}", options)

    return Call(ask, places=(Place.OWN, Place.FAR))


def _held(suffix: str, method: str = "POST", **options: Any) -> Call:
    def ask(cell: Cell) -> Ask:
        return Ask(method, f"/reviews/v1/quarantine/{cell.scene.places[cell.place].held_id}{suffix}", options)

    return Call(ask, places=PLACES, passed={"review_not_allowed"})


def _decide_many(cell: Cell) -> Ask:
    row = {"held": str(cell.scene.places[cell.place].held_id), "action": "reject", "reason": "duplicate"}
    return Ask("POST", "/reviews/v1/quarantine/decide", {"json": {"rows": [row]}})


def _lists_row(cell: Cell, answer: Any) -> bool:
    return str(cell.scene.places[cell.place].held_id) in {row["id"] for row in answer.json()["rows"]}


def _join(cell: Cell) -> Ask:
    """Two events of one place: the scene has one, so it is joined with itself, which is refused behind the walls."""
    document_id = cell.scene.places[cell.place].document_id
    body = {"duplicate_id": str(document_id), "duplicate_version": 1, "reason": "same_thing"}
    headers = {"If-Match": '"1"'}
    return Ask("POST", f"/reviews/v1/documents/{document_id}/join", {"json": body, "headers": headers})


def _part(cell: Cell) -> Ask:
    document_id = cell.scene.places[cell.place].document_id
    body = {"duplicate_id": str(document_id), "reason": "joined_wrongly"}
    headers = {"If-Match": '"1"'}
    return Ask("POST", f"/reviews/v1/documents/{document_id}/part", {"json": body, "headers": headers})


def _joins(cell: Cell) -> Ask:
    return Ask("GET", f"/reviews/v1/documents/{cell.scene.places[cell.place].document_id}/joins")


CALLS = {
    "reviews.dangling": Call(lambda _: Ask("GET", "/reviews/v1/dangling")),
    "reviews.conflicts": Call(
        lambda _: Ask("GET", "/reviews/v1/conflicts", {"params": {"limit": 200}}), places=PLACES, granted=_lists
    ),
    "reviews.conflict_counts": Call(lambda _: Ask("GET", "/reviews/v1/conflicts/counts")),
    "reviews.conflict": _conflict(""),
    "reviews.unmask_conflict": _conflict("/unmask", "POST", json=WHY),
    "reviews.resolve": Call(_resolve, places=PLACES),
    "reviews.resolve_many": Call(_resolve_many, places=PLACES, granted=_was_resolved),
    "reviews.undo": _conflict("/undo", "POST", json={"reason": "decided_wrongly"}, headers={"If-Match": '"1"'}),
    "sync.accept": _answer("accept"),
    "sync.contest": _answer("contest", json={"reason": "differs_on_site"}),
    "reviews.quarantine": Call(
        lambda _: Ask("GET", "/reviews/v1/quarantine", {"params": {"limit": 200}}), places=PLACES, granted=_lists_row
    ),
    "reviews.quarantine_counts": Call(lambda _: Ask("GET", "/reviews/v1/quarantine/counts")),
    "reviews.quarantined": _held("", "GET"),
    "reviews.unmask_quarantined": _held("/unmask", json=WHY),
    "reviews.release": _held("/release", json={"reason": "in_order"}),
    "reviews.correct": _held("/correct", json={"reason": "typing_error", "fields": {"description": "更正"}}),
    "reviews.reject": _held("/reject", json={"reason": "duplicate"}),
    "reviews.reopen": _held("/reopen", json={"reason": "new_information"}),
    "reviews.decide_many": Call(_decide_many, places=PLACES, granted=_was_resolved),
    "reviews.joins": Call(_joins, places=PLACES),
    "reviews.join": Call(_join, places=PLACES, passed={"not_joinable"}),
    "reviews.part": Call(_part, places=PLACES, passed={"not_joinable"}),
}
