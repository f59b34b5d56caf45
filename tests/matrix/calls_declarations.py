"""Declarations: the channel's door and the offices' view."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from backend.core.clock import now
from backend.core.enums import Role
from tests.matrix.cells import GRID_PLACES, Ask, Call, Cell, Place
from tests.matrix.declared import SHOP

PATH = "/declarations/v1/declarations"


def _id(cell: Cell) -> UUID:
    if cell.place is Place.OWN:
        return cell.scene.declarations[Role.DECLARATION_CHANNEL]
    return cell.scene.places[cell.place].declaration_id


def _hand_over(cell: Cell) -> Ask:
    moment = now() - timedelta(minutes=1)
    given = {"kind": "organisation", "declared_at": moment.isoformat(), "fields": {**SHOP, "headcount": 3}}
    return Ask("PUT", f"{PATH}/{_id(cell)}", {"json": given})


def _withdraw(cell: Cell) -> Ask:
    return Ask("POST", f"{PATH}/{_id(cell)}/withdraw", {"json": {"reason": "mistake"}})


def _lists(cell: Cell, answer: Any) -> bool:
    return str(_id(cell)) in {one["id"] for one in answer.json()["declarations"]}


CALLS = {
    "declarations.hand_over": Call(_hand_over, places=(Place.OWN, Place.FAR)),
    "declarations.withdraw": Call(_withdraw, places=(Place.OWN, Place.FAR)),
    "declarations.read": Call(lambda cell: Ask("GET", f"{PATH}/{_id(cell)}"), places=(*GRID_PLACES, Place.OWN)),
    "declarations.list": Call(
        lambda _: Ask("GET", PATH, {"params": {"limit": 200}}),
        places=(Place.HELD, Place.NEAR, Place.PAST, Place.FAR, Place.OWN),
        granted=_lists,
    ),
}
