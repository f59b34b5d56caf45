"""Synthetic people, houses, organisations and components: the same for the same index, whatever else is asked.

Nobody here exists. Numbers carry valid check digits, so one may by chance equal a real person's; names, addresses
and places have nothing to do with him. Each record has the shape the registry stores (`registry_specs`).

Ten people live in three houses: person i in house i * 3 // 10. The first houses, organisations and components lie in
the grids of the demo day, and every 45th after them, so that these hold about three per cent of the city.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from backend.kinds.geodesy import SCALE
from backend.seed import names
from backend.seed.draws import draws
from backend.seed.territory import DEMO_GRIDS, GridSeed, full_names, grids, point_in

Fields = dict[str, Any]
Maker = Callable[[int], Fields]

COUNTS = {"population": 100_000, "houses": 30_000, "organisations": 10_000, "components": 5_000}
"""Records of each dataset at scale 1."""

DEMO_FIRST = {"houses": 300, "organisations": 50, "components": 50}
DEMO_EVERY = 45

FIRST_BIRTHDAY = date(1945, 1, 1)
BIRTHDAYS = (date(2024, 12, 31) - FIRST_BIRTHDAY).days
SEQUENCES = 1000
ID_SPREAD = 387_420_489
"""A power of three: coprime to the number of identities, so that multiplying by it spreads without a collision."""

ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
USCC_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
ORGANISATION_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)


def count_of(dataset: str, scale: float) -> int:
    """How many records of a dataset there are at a scale (0 to 1)."""
    return max(1, round(COUNTS[dataset] * scale))


def person(index: int) -> Fields:
    """A resident as the population dataset has him."""
    human, drawn = _human(index), draws("person", index)
    home = index * 3 // 10
    address = _house_address(home)
    _, origin = names.ORIGINS[drawn[5] % len(names.ORIGINS)]
    return {
        **human,
        "ethnicity": "汉族" if drawn[6] % 12 else names.ETHNICITIES[drawn[7] % len(names.ETHNICITIES)],
        "registered_address": address if drawn[8] % 3 == 0 else f"{origin}{_road(drawn[9])}{drawn[10] % 200 + 1}号",
        "house_code": house_code(home),
        "address": address,
        "grid_id": grid_of("houses", home).id,
    }


def house(index: int) -> Fields:
    """A dwelling. Seven of ten belong to somebody who lives there."""
    grid, drawn = grid_of("houses", index), draws("house", index)
    own = drawn[0] % 10 < 7
    owner = -(-index * 10 // 3) if own else drawn[1] % (3 * index + 1)
    return {
        "house_code": house_code(index),
        "name": f"{_building(index)}{_room(index)}",
        "address": _house_address(index),
        "use": "residential" if drawn[2] % 20 else "commercial",
        "area_dm2": 2_000 + drawn[3] % 13_000,
        "tenure": names.TENURES[drawn[4] % len(names.TENURES)],
        "rental_use": "self_occupied" if own else ("rented" if drawn[5] % 5 else "vacant"),
        "owner": _named(owner),
        "location": _place(grid, drawn[6:]),
        "grid_id": grid.id,
    }


def organisation(index: int) -> Fields:
    """A firm or shop; one in twenty is deregistered."""
    grid, drawn = grid_of("organisations", index), draws("organisation", index)
    brand = "".join(names.BRAND[drawn[k] % len(names.BRAND)] for k in range(3))
    trade, scope = names.TRADES[drawn[3] % len(names.TRADES)]
    address = f"{_prefix(grid)}{_road(drawn[4])}{drawn[5] % 300 + 1}号商铺{index % 90 + 10}"
    return {
        "uscc": uscc(grid.id[:6], index),
        "name": f"深圳市{brand}{trade}{'有限公司' if drawn[6] % 3 else '店'}",
        "registration_type": "limited_company" if drawn[6] % 3 else "individual_business",
        "scope": scope,
        "status": "operating" if drawn[7] % 20 else "deregistered",
        "registered_address": address,
        "operating_address": address,
        "headcount": 1 + drawn[8] % 60,
        "legal_representative": _named(drawn[9] % (10 * index + 10)),
        "location": _place(grid, drawn[10:]),
        "grid_id": grid.id,
    }


def component(index: int) -> Fields:
    """A manhole cover, a lamp, a bench … of the city."""
    grid, drawn = grid_of("components", index), draws("component", index)
    class_code, title, owner = names.COMPONENTS[drawn[0] % len(names.COMPONENTS)]
    states = ("intact", "intact", "intact", "intact", "intact", "intact", "intact", "damaged", "damaged", "missing")
    return {
        "component_id": f"{grid.id[:6]}{class_code}{index:06d}",
        "class_code": class_code,
        "name": f"{title}{index:06d}",
        "owner_unit": owner,
        "keeper_unit": f"street-{grid.id[:9]}",
        "state": states[drawn[1] % len(states)],
        "location": _place(grid, drawn[2:]),
        "grid_id": grid.id,
    }


MAKERS: dict[str, Maker] = {
    "population": person,
    "houses": house,
    "organisations": organisation,
    "components": component,
}


def people_of_grid(grid_id: str, limit: int, *, scale: float = 1.0) -> list[Fields]:
    """Up to `limit` people registered in a grid, as `person` makes them."""
    total = count_of("population", scale)
    homes = indexes_of_grid("houses", grid_id, scale=scale)
    occupants = (i for home in homes for i in range(-(-home * 10 // 3), -(-(home + 1) * 10 // 3)) if i < total)
    return [person(i) for _, i in zip(range(limit), occupants, strict=False)]


def houses_of_grid(grid_id: str, limit: int, *, scale: float = 1.0) -> list[Fields]:
    """Up to `limit` houses in a grid."""
    return _of_grid("houses", grid_id, limit, scale)


def organisations_of_grid(grid_id: str, limit: int, *, scale: float = 1.0) -> list[Fields]:
    """Up to `limit` organisations in a grid."""
    return _of_grid("organisations", grid_id, limit, scale)


def components_of_grid(grid_id: str, limit: int, *, scale: float = 1.0) -> list[Fields]:
    """Up to `limit` components in a grid."""
    return _of_grid("components", grid_id, limit, scale)


def point_of_grid(grid_id: str, index: int) -> Fields:
    """A place inside a grid, as a record's `location`; another one for every index."""
    return _place(_by_id()[grid_id], draws("place", grid_id, index))


def indexes_of_grid(dataset: str, grid_id: str, *, scale: float = 1.0) -> Iterator[int]:
    """The indexes of a dataset's records (not of people) that lie in a grid, ascending."""
    return (i for i in range(count_of(dataset, scale)) if grid_of(dataset, i).id == grid_id)


def grid_of(dataset: str, index: int) -> GridSeed:
    """Where the record of that index lies."""
    demo, others = _grid_lists()
    first = DEMO_FIRST[dataset]
    if index < first or index % DEMO_EVERY == 0:
        return demo[(index if index < first else index // DEMO_EVERY) % len(demo)]
    return others[index * 7 % len(others)]


def house_code(index: int) -> str:
    """The 25-digit code of a house: its grid and a running number."""
    return f"{grid_of('houses', index).id}{index:010d}"


def citizen_id(body: str) -> str:
    """Seventeen digits with their check character (GB 11643)."""
    return body + "10X98765432"[sum(int(d) * w for d, w in zip(body, ID_WEIGHTS, strict=True)) % 11]


def uscc(district: str, index: int) -> str:
    """A valid unified social credit code (GB 32100), its organisation part with a check character too (GB 11714)."""
    organisation_body = "MA" + "".join(USCC_ALPHABET[index // 31**power % 31] for power in (5, 4, 3, 2, 1, 0))
    values = (int(character, 36) for character in organisation_body)
    check = 11 - sum(v * w for v, w in zip(values, ORGANISATION_WEIGHTS, strict=True)) % 11
    body = f"91{district}{organisation_body}{'0' if check == 11 else 'X' if check == 10 else check}"
    total = sum(USCC_ALPHABET.index(c) * w for c, w in zip(body, USCC_WEIGHTS, strict=True))
    return body + USCC_ALPHABET[(31 - total % 31) % 31]


def _of_grid(dataset: str, grid_id: str, limit: int, scale: float) -> list[Fields]:
    found = zip(range(limit), indexes_of_grid(dataset, grid_id, scale=scale), strict=False)
    return [MAKERS[dataset](index) for _, index in found]


@lru_cache(maxsize=1)
def _by_id() -> dict[str, GridSeed]:
    return {grid.id: grid for grid in grids()}


@lru_cache(maxsize=1)
def _grid_lists() -> tuple[list[GridSeed], list[GridSeed]]:
    return [_by_id()[code] for code in DEMO_GRIDS], [grid for grid in grids() if grid.id not in DEMO_GRIDS]


@lru_cache(maxsize=8192)
def _human(index: int) -> Fields:
    """Identity, name, sex, birth date and phone of person `index`."""
    drawn = draws("human", index)
    spread = index * ID_SPREAD % (len(names.ORIGINS) * BIRTHDAYS * SEQUENCES)
    origin, rest = spread % len(names.ORIGINS), spread // len(names.ORIGINS)
    birthday = FIRST_BIRTHDAY + timedelta(days=rest % BIRTHDAYS)
    sequence = rest // BIRTHDAYS
    surname = names.SURNAMES[drawn[0] % len(names.SURNAMES)]
    given = "".join(names.GIVEN[drawn[k] % len(names.GIVEN)] for k in range(1, 2 + (drawn[3] % 4 > 0)))
    id_type, area = "citizen_id", names.ORIGINS[origin][0]
    if index % 211 == 210:
        id_type, area = "residence_permit", "810000"
    number = citizen_id(f"{area}{birthday:%Y%m%d}{sequence:03d}")
    if index % 97 == 96:
        id_type, number = "passport", f"E{index:08d}"
    return {
        "id_type": id_type,
        "id_number": number,
        "name": surname + given,
        "sex": "male" if sequence % 2 else "female",
        "birth_date": birthday.isoformat(),
        "phone": f"1{3 + drawn[4] % 7}{drawn[5] % 10**9:09d}",
    }


def _named(index: int) -> Fields:
    """Person `index` as a human inside another record."""
    human = _human(index)
    return {name: human[name] for name in ("name", "id_type", "id_number", "phone")}


def _place(grid: GridSeed, drawn: Sequence[int]) -> Fields:
    lon, lat = point_in(grid.ring, drawn)
    return {"lat": round(lat * SCALE), "lon": round(lon * SCALE), "datum": "wgs84"}


@lru_cache(maxsize=1)
def _prefixes() -> dict[str, str]:
    return full_names()


def _prefix(grid: GridSeed) -> str:
    return _prefixes()[grid.community_code]


def _road(number: int) -> str:
    return names.ROADS[number % len(names.ROADS)]


def _house_address(index: int) -> str:
    """Every house has an address of its own: road number, building and room are the digits of its index."""
    return f"{_prefix(grid_of('houses', index))}{_road(index // 60)}{index // 60 + 1}号{_building(index)}{_room(index)}"


def _building(index: int) -> str:
    return f"{index // 20 % 3 + 1}栋"


def _room(index: int) -> str:
    return f"{index // 2 % 10 + 1}0{index % 2 + 1}"
