"""Accounts, postings, memberships, handhelds, and what people do about their own login."""

from typing import Any
from uuid import UUID

from backend.core.ids import new_id
from backend.services.tokens import read_access_token
from tests.matrix.cells import Ask, Call, Cell, Place, State
from tests.matrix.people import PASSWORD, STREET
from tests.world import DeviceKey

WORKER_PLACES = (Place.HELD, Place.NEAR, Place.PAST, Place.FAR)
"""Where the worker lies whom the call is about. The worker of the first two is of the callers' own street."""

NOT_HIS_TO_GIVE = {"grant_refused"}
"""Said only to who reaches the account: its role is the other administrator's to give."""


def _worker(cell: Cell) -> UUID:
    return cell.scene.workers[cell.place].account_id


def _of_worker(method: str, suffix: str, body: Any = None) -> Call:
    def ask(cell: Cell) -> Ask:
        return Ask(method, f"/accounts/v1/accounts/{_worker(cell)}{suffix}", {} if body is None else {"json": body})

    return Call(ask, places=WORKER_PLACES, passed=NOT_HIS_TO_GIVE)


def _create(_: Cell) -> Ask:
    posting = {"role": "grid_worker", "territory_code": STREET}
    body = {"login": f"new-{new_id()}", "display_name": "合成", "posting": posting}
    return Ask("POST", "/accounts/v1/accounts", {"json": body})


def _end_posting(cell: Cell) -> Ask:
    path = f"/accounts/v1/accounts/{_worker(cell)}/postings/{cell.scene.postings[cell.place]}/end"
    return Ask("POST", path, {"json": {}})


def _open_membership(cell: Cell) -> Ask:
    """A grid the worker holds already: who reaches both is told so."""
    body = {"grid_id": cell.scene.places[cell.place].grid_id}
    return Ask("POST", f"/accounts/v1/accounts/{_worker(cell)}/memberships", {"json": body})


def _end_membership(cell: Cell) -> Ask:
    return Ask("POST", f"/accounts/v1/memberships/{cell.scene.memberships[cell.place]}/end", {"json": {}})


def _lists_account(cell: Cell, answer: Any) -> bool:
    return str(_worker(cell)) in {one["id"] for one in answer.json()["accounts"]}


def _lists_membership(cell: Cell, answer: Any) -> bool:
    return str(cell.scene.memberships[cell.place]) in {one["id"] for one in answer.json()["memberships"]}


def _lists_device(cell: Cell, answer: Any) -> bool:
    return str(cell.scene.workers[cell.place].device_id) in {one["id"] for one in answer.json()["devices"]}


def _list(path: str, name: str) -> Any:
    def ask(cell: Cell) -> Ask:
        value = cell.scene.workers[cell.place].login if name == "text" else str(_worker(cell))
        return Ask("GET", path, {"params": {name: value, "limit": 200} if name == "text" else {name: value}})

    return ask


def _device(action: str) -> Call:
    def ask(cell: Cell) -> Ask:
        return Ask("POST", f"/devices/v1/devices/{cell.scene.workers[cell.place].device_id}/{action}")

    return Call(ask, places=WORKER_PLACES)


def _end_session(cell: Cell) -> Ask:
    """One's own session, or that of a worker elsewhere."""
    own = cell.place is Place.OWN and cell.role
    token = (cell.caller if own else cell.scene.workers[Place.FAR]).tokens[State.LIVE]
    return Ask("DELETE", f"/auth/v1/sessions/{read_access_token(token).family_id}")


def _confirm_wipe(cell: Cell) -> Ask:
    worker = cell.scene.workers[Place.HELD]
    body = {"device_id": str(worker.device_id), "proof": DeviceKey().proof("nothing")}
    return Ask("POST", "/auth/v1/wipe-confirmed", {"json": body})


def _own(method: str, path: str, body: Any = None, passed: str = "") -> Call:
    return Call(lambda _: Ask(method, path, {} if body is None else {"json": body}), passed={passed})


CALLS = {
    "auth.wipe_confirmed": Call(_confirm_wipe, passed={"proof_required"}),
    "auth.me": _own("GET", "/auth/v1/me"),
    "auth.sessions": _own("GET", "/auth/v1/sessions"),
    "auth.end_session": Call(_end_session, places=(Place.OWN, Place.FAR)),
    "auth.end_others": _own("POST", "/auth/v1/sessions/end-others"),
    "auth.change_password": _own(
        "POST", "/auth/v1/password", {"current": f"not {PASSWORD}", "new": "x"}, "password_wrong"
    ),
    "auth.totp_enrol": _own("POST", "/auth/v1/totp", {}),
    "auth.totp_confirm": _own("POST", "/auth/v1/totp/confirm", {"code": "123456"}, "totp_not_started"),
    "accounts.list": Call(_list("/accounts/v1/accounts", "text"), places=WORKER_PLACES, granted=_lists_account),
    "accounts.create": Call(_create, passed=NOT_HIS_TO_GIVE),
    "accounts.read": _of_worker("GET", ""),
    "accounts.post": _of_worker("POST", "/postings", {"role": "grid_worker", "territory_code": STREET}),
    "accounts.end_posting": Call(_end_posting, places=WORKER_PLACES, passed=NOT_HIS_TO_GIVE),
    "accounts.deactivate": _of_worker("POST", "/deactivate"),
    "accounts.activate": _of_worker("POST", "/activate"),
    "accounts.reset_password": _of_worker("POST", "/reset-password"),
    "accounts.reset_totp": _of_worker("POST", "/reset-totp"),
    "accounts.sessions": _of_worker("GET", "/sessions"),
    "accounts.end_sessions": _of_worker("POST", "/end-sessions"),
    "memberships.list": Call(
        _list("/accounts/v1/memberships", "account_id"), places=WORKER_PLACES, granted=_lists_membership
    ),
    "memberships.open": Call(_open_membership, places=WORKER_PLACES, passed={"membership_conflict"}),
    "memberships.end": Call(_end_membership, places=WORKER_PLACES),
    "devices.list": Call(_list("/devices/v1/devices", "account_id"), places=WORKER_PLACES, granted=_lists_device),
    "devices.revoke": _device("revoke"),
    "devices.wipe": _device("wipe"),
}
