"""Requests to verify values that handhelds propose for departments' fields."""

from typing import Any

from tests.matrix.cells import Ask, Call, Cell, Place

PLACES = (Place.HELD, Place.NEAR, Place.PAST, Place.FAR, Place.SENT)
WHY = {"reason": "verifying_entry", "note": "合成理由"}


def _request(suffix: str, method: str = "POST", **options: Any) -> Call:
    def ask(cell: Cell) -> Ask:
        request_id = cell.scene.places[cell.place].verification_id
        return Ask(method, f"/reviews/v1/verifications/{request_id}{suffix}", options)

    return Call(ask, places=PLACES, passed={"review_not_allowed"})


def _decide(what: str, reason: str) -> Call:
    return _request(f"/{what}", json={"reason": reason}, headers={"If-Match": '"1"'})


def _lists(cell: Cell, answer: Any) -> bool:
    return str(cell.scene.places[cell.place].verification_id) in {one["id"] for one in answer.json()["requests"]}


def _write(cell: Cell) -> Ask:
    path = f"/reviews/v1/documents/{cell.scene.places[cell.place].document_id}/department-fields"
    body = {"fields": {"severity": "urgent"}, "reason": "department_record"}
    return Ask("POST", path, {"json": body, "headers": {"If-Match": '"1"'}})


CALLS = {
    "verifications.list": Call(
        lambda _: Ask("GET", "/reviews/v1/verifications", {"params": {"limit": 200}}), places=PLACES, granted=_lists
    ),
    "verifications.read": _request("", "GET"),
    "verifications.unmask": _request("/unmask", json=WHY),
    "verifications.approve": _decide("approve", "checked_on_site"),
    "verifications.refuse": _decide("refuse", "not_true"),
    "verifications.reopen": _decide("reopen", "new_information"),
    # No department owns a field of an event, which comes to light behind the walls.
    "verifications.write_fields": Call(_write, places=PLACES, passed={"record_unfit"}),
}
