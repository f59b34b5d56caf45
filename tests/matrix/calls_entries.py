"""Sync, photos, verdicts and citizens' reports."""

from base64 import b64encode
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from backend.core.ids import new_id
from backend.kinds import Document
from sync.canonical import hash_of
from tests.matrix.calls_people import WORKER_PLACES
from tests.matrix.cells import GRID_PLACES, Ask, Call, Cell, Place
from tests.matrix.things import PICTURE

TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}


def _push(cell: Cell) -> Ask:
    """An edit of the document in the place, over the version that a thief could know by chance."""
    things = cell.scene.places[cell.place]
    edit: Document = {**things.fields, "description": "改写", "id": str(things.document_id), "op": str(uuid4())}
    assumed = {**things.fields, "id": str(things.document_id), "op": str(things.op), "_deleted": False}
    row = {"assumedMasterState": assumed, "newDocumentState": {**edit, "_deleted": False}}
    return Ask("POST", "/sync/v1/event/push", {"json": {"rows": [row]}})


def _was_taken(cell: Cell, answer: Any) -> bool:
    """A row that was taken stands; one that was not is answered with a tombstone, which holds nothing."""
    documents = answer.json()
    assert "改写" not in answer.text or cell.place is Place.HELD
    if not documents:
        return True
    assert documents[0]["_deleted"] is True, cell
    assert "description" not in documents[0], cell
    return False


def _pull(_: Cell) -> Ask:
    return Ask("GET", "/sync/v1/event/pull", {"params": {"limit": 500}})


def _holds_document(cell: Cell, answer: Any) -> bool:
    things = cell.scene.places[cell.place]
    found = [one for one in answer.json()["documents"] if one["id"] == str(things.document_id)]
    return any(not one["_deleted"] for one in found)


def _counts_document(cell: Cell, answer: Any) -> bool:
    """Each place of the scene is a grid with one event."""
    found = answer.json()["grids"].get(cell.scene.places[cell.place].grid_id)
    return found is not None and found["count"] > 0


def _receipt(cell: Cell) -> Ask:
    """The true content under an `op` of one's own: a stranger must not learn that he guessed right."""
    things = cell.scene.places[cell.place]
    held = {"kind": "event", "id": str(things.document_id), "op": str(new_id()), "hash": _hash_of(cell)}
    return Ask("POST", "/sync/v1/receipt", {"json": {"records": [held]}})


def _hash_of(cell: Cell) -> str:
    """The hash of what the document truly holds."""
    things = cell.scene.places[cell.place]
    return hash_of({"id": str(things.document_id), **things.fields})


def _is_confirmed(_: Cell, answer: Any) -> bool:
    return bool(answer.json()["records"][0]["state"] == "applied")


def _upload(method: str, headers: dict[str, str], **options: Any) -> Call:
    def ask(cell: Cell) -> Ask:
        own = cell.place is Place.OWN and cell.role
        upload_id = cell.scene.uploads[cell.role] if own else _foreign_upload(cell)
        return Ask(method, f"/media/v1/uploads/{upload_id}", {"headers": headers, **options})

    # Who holds the lock of an upload in a transaction that never ends is another cell of this very test.
    return Call(ask, places=(Place.OWN, Place.FAR), passed={"upload_busy"})


def _foreign_upload(cell: Cell) -> UUID:
    """Somebody else's upload, whoever calls."""
    return next(upload for role, upload in cell.scene.uploads.items() if role is not cell.role)


def _create_upload(_: Cell) -> Ask:
    values = {"photo_id": str(new_id()), "sha256": sha256(PICTURE).hexdigest(), "filetype": "image/jpeg"}
    written = ",".join(f"{name} {_base64(value)}" for name, value in values.items())
    headers = {**TUS, "Upload-Length": str(len(PICTURE)), "Upload-Metadata": written}
    return Ask("POST", "/media/v1/uploads", {"headers": headers})


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def _send_photo(_: Cell) -> Ask:
    values = {"photo_id": str(new_id()), "sha256": sha256(PICTURE).hexdigest(), "mime": "image/jpeg"}
    return Ask("POST", "/media/v1/photos", {"data": values, "files": {"file": ("x.jpg", PICTURE, "image/jpeg")}})


def _photo(suffix: str) -> Call:
    def ask(cell: Cell) -> Ask:
        return Ask("GET", f"/media/v1/photos/{cell.scene.photo_at(cell.place, cell.role)}{suffix}")

    return Call(ask, places=(*GRID_PLACES, Place.OWN))


def _own_device(cell: Cell) -> Ask:
    """One's own handheld, where there is one, or that of a worker who lies there."""
    own = cell.place is Place.OWN and cell.caller.device_id
    place = Place.FAR if cell.place is Place.OWN else cell.place
    device_id = cell.caller.device_id if own else cell.scene.workers[place].device_id
    return Ask("GET", f"/media/v1/devices/{device_id}/completeness")


def _of_document(path: str) -> Call:
    def ask(cell: Cell) -> Ask:
        return Ask("GET", path, {"params": {"document_id": str(cell.scene.places[cell.place].document_id)}})

    return Call(ask, places=GRID_PLACES)


def _verdict(cell: Cell) -> Ask:
    return Ask("GET", f"/checks/v1/verdicts/{cell.scene.places[cell.place].verdict_id}")


def _lists_report(cell: Cell, answer: Any) -> bool:
    return str(cell.scene.places[cell.place].report_id) in {report["id"] for report in answer.json()["reports"]}


def _push_target(_: Cell) -> Ask:
    return Ask("PUT", "/notices/v1/push-target", {"json": {"target": "fid-synthetic-matrix", "kind": "fid"}})


def _notice(cell: Cell) -> Ask:
    notices = cell.scene.notices
    others = (notice for role, notice in notices.items() if role is not cell.role)
    notice_id = notices[cell.role] if cell.place is Place.OWN and cell.role else next(others)
    return Ask("POST", f"/notices/v1/inbox/{notice_id}/read")


CALLS = {
    "sync.push": Call(_push, places=GRID_PLACES, granted=_was_taken),
    "sync.pull": Call(_pull, places=GRID_PLACES, granted=_holds_document),
    "sync.outcomes": Call(lambda _: Ask("GET", "/sync/v1/outcomes")),
    "sync.digest": Call(lambda _: Ask("GET", "/sync/v1/event/digest"), places=GRID_PLACES, granted=_counts_document),
    "sync.receipt": Call(_receipt, places=GRID_PLACES, granted=_is_confirmed),
    "sync.stream": Call(lambda _: Ask("GET", "/sync/v1/stream")),
    "media.options": Call(lambda _: Ask("OPTIONS", "/media/v1/uploads")),
    "media.create_upload": Call(_create_upload),
    "media.upload_offset": _upload("HEAD", TUS),
    "media.append": _upload("PATCH", CHUNK, content=b""),
    "media.terminate": _upload("DELETE", TUS),
    "media.override": _upload("POST", {**CHUNK, "X-HTTP-Method-Override": "PATCH"}, content=b""),
    "media.send_photo": Call(_send_photo),
    "media.read_photo": _photo(""),
    "media.read_copy": _photo("/thumb"),
    "media.device_completeness": Call(_own_device, places=(*WORKER_PLACES, Place.OWN)),
    "media.completeness": _of_document("/media/v1/completeness"),
    "media.list_photos": _of_document("/media/v1/photos"),
    "media.evidence": _of_document("/media/v1/evidence"),
    "checks.list": _of_document("/checks/v1/verdicts"),
    "checks.read": Call(_verdict, places=GRID_PLACES),
    "checks.summary": Call(lambda _: Ask("GET", "/checks/v1/summary")),
    "reports.list": Call(
        lambda _: Ask("GET", "/channels/v1/reports", {"params": {"limit": 200}}),
        places=(Place.HELD, Place.NEAR, Place.PAST, Place.FAR),
        granted=_lists_report,
    ),
    "reports.summary": Call(lambda _: Ask("GET", "/channels/v1/summary")),
    "notices.inbox": Call(lambda _: Ask("GET", "/notices/v1/inbox")),
    "notices.read": Call(_notice, places=(Place.OWN, Place.FAR)),
    "notices.push_target": Call(_push_target),
}
