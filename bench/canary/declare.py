"""Canaries declare themselves, their dwellings and their shops through the portal; some of it is refused."""

from collections.abc import Iterator
from datetime import timedelta

import httpx

from backend.core.clock import now
from backend.core.ids import new_id
from bench.canary import records
from bench.canary.drive import Drive
from bench.canary.people import ADDRESS_MARK, Identity
from bench.canary.records import Json

PATH = "/declarations/v1/declarations"
FIELD_WORKERS = ("id", "op", "_deleted", "grid_id")


def declare(going: Drive) -> None:
    """A share of everybody; every sixth of those withdraws, and offices look at what there is."""
    portal, desk = going.world.office("declaration_channel"), going.world.office("supervisor")
    for one in going.every(9):
        for kind, fields in declared(one, going.grids[0]):
            place = hand_over(going, portal, kind, fields)
            for reader in (portal, desk):
                assert going.client.get(place, headers=reader).status_code == 200, place
            if one.number % 6 == 0:
                going.client.post(f"{place}/withdraw", json={"reason": "mistake"}, headers=portal)
        refuse(going, portal, one)
    for reader in (portal, desk):
        going.client.get(PATH, params={"limit": 200}, headers=reader)


def hand_over(going: Drive, portal: dict[str, str], kind: str, fields: Json) -> str:
    """One declaration; gives its address."""
    answer = put(going, portal, kind, fields)
    assert answer.status_code == 200, answer.text
    return f"{PATH}/{answer.json()['id']}"


def put(going: Drive, portal: dict[str, str], kind: str, fields: Json) -> httpx.Response:
    given = {"kind": kind, "declared_at": (now() - timedelta(minutes=1)).isoformat(), "fields": fields}
    return going.client.put(f"{PATH}/{new_id()}", json=given, headers=portal)


def declared(one: Identity, grid: str) -> Iterator[tuple[str, Json]]:
    """Kind and fields, as far as the kind knows them."""
    person, house, shop = records.person(one, grid), records.house(one, grid), records.organisation(one, grid)
    yield "person", {name: value for name, value in _own(person).items() if not name.startswith("note_")}
    yield "house", _own(house)
    yield "organisation", {**_own(shop), "uscc": f"9144{one.number:014d}"}


def refuse(going: Drive, portal: dict[str, str], one: Identity) -> None:
    """What breaks the form: with the person in a value, in the name of a field, and in place of a kind."""
    ((_, fields), *_) = declared(one, going.grids[0])
    for kind, wrong in (
        ("person", {**fields, "birth_date": one.text()}),
        ("person", {**fields, f"note_{ADDRESS_MARK}": one.text()}),
        ("person", {**fields, "religion": one.text()}),
        (one.text(), fields),
    ):
        assert put(going, portal, kind, wrong).status_code in (409, 422)


def _own(record: Json) -> Json:
    return {name: value for name, value in record.items() if name not in FIELD_WORKERS}
