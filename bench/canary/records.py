"""What handhelds push about canaries: records of every kind, right ones and wrong ones, with nothing public in them.

`PUBLIC` is what a kind stores readable (`backend.kinds`): the address of a house, the place of a component or an event.
No canary's value is ever put there, so a sighting is a defect wherever it is.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from backend.core.enums import Kind
from backend.core.ids import new_id
from backend.kinds import KINDS
from bench.canary import people
from bench.canary.people import Identity

Json = dict[str, Any]

PUBLIC: Mapping[Kind, frozenset[str]] = {kind: spec.public for kind, spec in KINDS.items()}
MARKS = (people.NAME_MARK, people.ADDRESS_MARK, people.ID_MARK, people.PHONE_MARK)
PUBLIC_PLACE = {"lat": 226900000, "lon": 1143400000, "datum": "wgs84"}
OVERSIZE = 300 * 1024


def document(kind: Kind, fields: Json) -> Json:
    """A document with an op of its own. `ValueError` where a canary would stand in a public field."""
    for name in PUBLIC[kind] & fields.keys():
        declared = {key: fields[name][key] for key in PUBLIC_PLACE} if name == "location" else fields[name]
        if any(mark in json.dumps(declared, ensure_ascii=False) for mark in MARKS):
            raise ValueError(f"{kind}.{name} is public")
    return {"id": str(new_id()), **fields, "op": str(uuid4()), "_deleted": False}


def person(one: Identity, grid: str) -> Json:
    """A resident; a field that no kind knows carries everything once more, in its name too."""
    return document(
        Kind.PERSON,
        {
            "grid_id": grid,
            **one.human(),
            "birth_date": one.birth_date,
            "sex": "male" if one.number % 2 else "female",
            "registered_address": one.address,
            "remark": one.text(),
            f"note_{people.ADDRESS_MARK}{one.number:05d}": {"of": one.text(), "home": one.place()},
        },
    )


def house(one: Identity, grid: str) -> Json:
    """A dwelling: its address is public and nobody's, its owner, tenants and exact place are not."""
    return document(
        Kind.HOUSE,
        {
            "grid_id": grid,
            "address": f"合成市公开路{one.number + 1}号",
            "house_code": f"{grid}{one.number:010d}",
            "rental_use": "rented",
            "owner": one.human(),
            "tenants": [{"id": str(uuid4()), **one.human(), "relation": "tenant"}],
            "location": one.place(),
            "remark": one.text(),
        },
    )


def organisation(one: Identity, grid: str) -> Json:
    """A shop: its representative and free text are personal."""
    fields = {"name": f"合成商铺{one.number}", "legal_representative": one.human(), "status_seen": "operating"}
    return document(Kind.ORGANISATION, {"grid_id": grid, **fields, "remark": one.text()})


def event(one: Identity, grid: str, photos: list[Json] | None = None) -> Json:
    """An event: its place is public; what people wrote, who took part and what a client adds to the place is not."""
    return document(
        Kind.EVENT,
        {
            "grid_id": grid,
            "class_code": "0101",
            "description": one.text(),
            "occurred_at": "2026-03-02T09:30:00+08:00",
            "parties": [{"id": str(uuid4()), **one.human()}],
            "location": {**PUBLIC_PLACE, "told_by": one.text()},
            "photos": photos or [],
        },
    )


def component(one: Identity, grid: str) -> Json:
    """A lamp, with a remark and an addition to its place that are about somebody."""
    fields = {"class_code": "0118", "state": "damaged", "location": {**PUBLIC_PLACE, "seen_by": one.text()}}
    return document(Kind.COMPONENT, {"grid_id": grid, **fields, "remark": one.text()})


def edit(current: Json, **fields: Any) -> Json:
    """A local edit, with an op of its own."""
    return {**current, **fields, "op": str(uuid4())}


def refused_rows(one: Identity, grid: str, elsewhere: str) -> Iterator[str]:
    """Rows, as JSON text, that are quarantined each for another reason."""
    good = person(one, grid)
    yield row({**person(one, elsewhere)})
    yield row({**person(one, "4" * 15)})
    yield row({**good, "birth_date": [one.text()], "id": str(new_id())})
    yield row({**good, "phone": {one.phone: one.id_number}, "id": str(new_id())})
    yield row({**good, "id": one.text()})
    yield row({**good, "op": one.id_number, "id": str(new_id())})
    yield row({**good, "_deleted": one.text(), "id": str(new_id())})
    yield row({**good, "grid_id": one.text(), "id": str(new_id())})
    yield row({**good, "remark": one.text() + "\0", "id": str(new_id())})
    yield json.dumps({"newDocumentState": {**good, "remark": one.text() + "\ud800", "id": str(new_id())}})
    yield json.dumps([one.text()])
    yield json.dumps(one.text())
    yield f'{{"newDocumentState":{"[" * 200}"{one.text()}"{"]" * 200}}}'
    if one.number % 50 == 0:
        yield row({**good, "remark": one.text() * (OVERSIZE // len(one.text().encode())), "id": str(new_id())})


def reused_op(current: Json, one: Identity) -> str:
    """Another content under an op that was taken before."""
    return row({**current, "remark": f"又 {one.text()}"})


def row(document: Json, before: Json | None = None) -> str:
    """A row of a push as JSON text; `before` is the version that the document was edited from."""
    assumed = {} if before is None else {"assumedMasterState": before}
    return json.dumps({"newDocumentState": document, **assumed}, ensure_ascii=False)
