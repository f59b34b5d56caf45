"""What grid workers see of the people and things that departments have on record, with the usual differences.

The department's side is the synthetic business records of the seed. Most entries agree with them; some show a typo, a
person who has moved, a house nobody knows, a closed firm that still does business.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from random import Random

from backend.core.clock import CITY_TIME, now
from backend.core.enums import Kind
from backend.core.ids import new_id
from backend.demo.client import Json
from backend.kinds import KINDS
from backend.kinds.geodesy import SCALE
from backend.seed import names, synthetic

EVENT_CLASSES = ("0102", "0505", "0601", "0201", "0603", "0302", "0605", "0401", "0110", "0608")
UNKNOWN_CLASS = "9999"
MOVED_UNITS = SCALE // 1000
"""A thousandth of a degree: about 110 m, more than a component may be away from its place on record."""

Spoil = Callable[[Json, Random], Json]


@dataclass
class Register:
    """The business records of one grid, shuffled, and dealt out so that no two workers get the same one."""

    grid_id: str
    houses: Iterator[Json]
    people: dict[str, list[Json]]
    organisations: Iterator[Json]
    components: Iterator[Json]

    @classmethod
    def of(cls, grid_id: str, random: Random, *, scale: float) -> "Register":
        """All records of a grid at a scale of the seed."""
        every = 1_000_000
        houses = synthetic.houses_of_grid(grid_id, every, scale=scale)
        organisations = synthetic.organisations_of_grid(grid_id, every, scale=scale)
        components = synthetic.components_of_grid(grid_id, every, scale=scale)
        people: dict[str, list[Json]] = {}
        for person in synthetic.people_of_grid(grid_id, every, scale=scale):
            people.setdefault(person["house_code"], []).append(person)
        for records in (houses, organisations, components):
            random.shuffle(records)
        # A closed firm is rare, so one comes first where the grid has any.
        organisations.sort(key=lambda record: record["status"] != "deregistered")
        return cls(grid_id, iter(houses), people, iter(organisations), iter(components))

    def take(self, records: Iterator[Json], number: int) -> list[Json]:
        """The next records; fewer where the register has no more."""
        return list(islice(records, number))


def house_seen(record: Json, people: list[Json]) -> Json:
    """A dwelling as it is found. A rented one names who lives there."""
    fields = _own_fields(Kind.HOUSE, record)
    if fields["rental_use"] == "rented":
        fields["tenants"] = [member(person) for person in people]
    return fields


def person_seen(record: Json, house_id: str) -> Json:
    """A resident, met in a house that was entered under `house_id`."""
    return _own_fields(Kind.PERSON, record) | {"house_id": house_id}


def organisation_seen(record: Json) -> Json:
    """A firm whose door is open, whatever its registration says."""
    return _own_fields(Kind.ORGANISATION, record) | {"status_seen": "operating"}


def component_seen(record: Json) -> Json:
    """A component where the city's record has it."""
    return _own_fields(Kind.COMPONENT, record)


def event_seen(grid_id: str, random: Random, photos: list[Json], *, class_code: str | None = None) -> Json:
    """Something that is wrong somewhere in a grid, now."""
    return {
        "grid_id": grid_id,
        "class_code": class_code or random.choice(EVENT_CLASSES),
        "description": "合成描述：巡查发现，请处理",
        "occurred_at": now().astimezone(CITY_TIME).isoformat(timespec="seconds"),
        "severity": "urgent" if random.random() < 0.1 else "ordinary",
        "location": synthetic.point_of_grid(grid_id, random.getrandbits(31)),
        "photos": photos,
    }


def member(person: Json) -> Json:
    """A person as a tenant of a house."""
    named = {name: person[name] for name in ("name", "id_type", "id_number", "phone")}
    return {"id": str(new_id()), **named, "relation": "tenant"}


def misspelt(person: Json, random: Random) -> Json:
    """One character of the name is another one."""
    others = [character for character in names.GIVEN if character not in person["name"]]
    return {**person, "name": person["name"][:-1] + random.choice(others)}


def mistyped_number(person: Json, _: Random) -> Json:
    """The last character of the id number is wrong."""
    number = person["id_number"]
    return {**person, "id_number": number[:-1] + ("1" if number[-1] == "0" else "0")}


def flagged(person: Json, random: Random) -> Json:
    """Said to live where he is registered, which is in another province."""
    _, origin = names.ORIGINS[-1 - random.randrange(5)]
    return {**person, "registered_address": f"{origin}合成路1号", "residence_matches_registration": True}


def newcomer(person: Json, random: Random) -> Json:
    """Somebody the population register has never heard of."""
    number = synthetic.citizen_id(f"530102{random.randrange(1950, 2004)}0101{random.randrange(1000):03d}")
    stranger = {"id_number": number, "id_type": "citizen_id", "phone": f"199{random.randrange(10**8):08d}"}
    stated = {"sex": "male" if int(number[16]) % 2 else "female", "birth_date": f"{number[6:10]}-01-01"}
    return {**misspelt(person, random), **stranger, **stated}


def unknown_house(house: Json, random: Random) -> Json:
    """A house under a code that no register has."""
    return {**house, "house_code": f"{house['grid_id']}{random.randrange(10**9, 10**10)}"}


def without_tenants(house: Json, _: Random) -> Json:
    """Rented out, and nobody is said to live there."""
    return {**house, "rental_use": "rented", "tenants": []}


def displaced(component: Json, _: Random) -> Json:
    """Seen about a hundred metres from its place on record."""
    place = component["location"]
    return {**component, "location": {**place, "lat": place["lat"] + MOVED_UNITS}}


def unlisted(component: Json, random: Random) -> Json:
    """A component that was never put on record."""
    return {
        **component,
        "component_id": f"{component['grid_id'][:6]}{component['class_code']}{random.randrange(10**6)}X",
    }


def as_recorded(fields: Json, _: Random) -> Json:
    """No difference."""
    return fields


USUAL: dict[Kind, tuple[Spoil, ...]] = {
    Kind.PERSON: (as_recorded, misspelt, as_recorded, mistyped_number, as_recorded, as_recorded, flagged, newcomer),
    Kind.HOUSE: (as_recorded, unknown_house, as_recorded, without_tenants, as_recorded),
    Kind.COMPONENT: (as_recorded, displaced, unlisted),
}
"""What the entries of a kind show, one after the other."""


def usual_differences(kind: Kind, *, start: int) -> Iterator[Spoil]:
    """The differences of a kind for ever, beginning at another place for every worker."""
    return islice(cycle(USUAL[kind]), start % len(USUAL[kind]), None)


def _own_fields(kind: Kind, record: Json) -> Json:
    """The fields of a record that the kind has and that a worker, not a department, says."""
    spec = KINDS[kind]
    return {name: record[name] for name in spec.model.model_fields if name in record and name not in spec.stewarded}
