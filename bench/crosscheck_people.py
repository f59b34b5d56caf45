"""The population of `bench.crosscheck`: synthetic people in households, the same for the same index.

Nobody here exists. Surnames are as unevenly spread as real ones (a few cover half of all people), families share
surname and address, children often a parent's phone, and some children are twins: what makes a wrong link likely.
Records have the shape of the population dataset; each id number is there once.
"""

from bisect import bisect
from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import Any

from backend.seed import names
from backend.seed.draws import draws
from backend.seed.synthetic import citizen_id
from backend.seed.territory import GridSeed, full_names, grids

Fields = dict[str, Any]

MEMBERS = 4
"""Slots of a household: husband, wife, two children; in one of three homes the last is a lodger."""

ADULT_FROM, ADULT_DAYS = date(1945, 1, 1), 22_003
CHILD_FROM, CHILD_DAYS = date(2008, 1, 1), 6_007
SEQUENCES = 500
"""Of the thousand running numbers of a day and place; the upper half is for second twins."""
SPREAD = 1_000_000_007
"""A prime beyond every number of identities, so that multiplying by it spreads indexes without a collision."""

_WEIGHTS = tuple(accumulate(1 / (rank + 3) for rank in range(len(names.SURNAMES))))
_GIVEN_WEIGHTS = tuple(accumulate(1 / (rank + 20) for rank in range(len(names.GIVEN))))


def people(total: int) -> Iterator[Fields]:
    """The first `total` people."""
    return (person(index) for index in range(total))


def person(index: int) -> Fields:
    """A resident as the population dataset has him; what is not known of him is missing."""
    home, slot = divmod(index, MEMBERS)
    drawn = draws("crosscheck", index)
    number, born, sequence = _identity(index)
    phone = _phone(index, drawn)
    return {
        "id_type": "citizen_id",
        "id_number": number,
        "name": _surname(home, slot, drawn) + _given(home, slot, drawn),
        "sex": "male" if sequence % 2 else "female",
        "birth_date": born.isoformat(),
        **({"phone": phone} if phone else {}),
        "registered_address": _registered(home, slot),
        "house_code": f"{_grid(home).id}{home:010d}",
        "address": _address(home),
        "grid_id": _grid(home).id,
    }


def _is_child(home: int, slot: int) -> bool:
    return slot == 2 or (slot == 3 and not _lodger(home))


def _lodger(home: int) -> bool:
    return draws("home", home)[0] % 3 == 0


def _identity(index: int) -> tuple[str, date, int]:
    """Id number, birth date and running number. One pair of children in twenty are twins."""
    home, slot = divmod(index, MEMBERS)
    if slot == MEMBERS - 1 and _is_child(home, slot) and draws("home", home)[1] % 20 == 0:
        number, born, sequence = _identity(index - 1)
        twin = 999 - sequence
        return citizen_id(f"{number[:14]}{twin:03d}"), born, twin
    first, days = (CHILD_FROM, CHILD_DAYS) if _is_child(home, slot) else (ADULT_FROM, ADULT_DAYS)
    spread = index * SPREAD % (len(names.ORIGINS) * days * SEQUENCES)
    rest, sequence = divmod(spread, SEQUENCES)
    origin, day = divmod(rest, days)
    born = first + timedelta(days=day)
    return citizen_id(f"{names.ORIGINS[origin][0]}{born:%Y%m%d}{sequence:03d}"), born, sequence


def _surname(home: int, slot: int, drawn: tuple[int, ...]) -> str:
    """Children bear the husband's."""
    if _is_child(home, slot):
        drawn = draws("crosscheck", home * MEMBERS)
    return names.SURNAMES[bisect(_WEIGHTS, drawn[0] / 2**32 * _WEIGHTS[-1])]


def _given(home: int, slot: int, drawn: tuple[int, ...]) -> str:
    """One or two characters, some of them in many names. In half of the families children share the first (字辈)."""
    family = draws("home", home)
    if _is_child(home, slot) and family[2] % 2:
        return _character(family[3]) + _character(drawn[2])
    return "".join(map(_character, drawn[1 : 2 + (drawn[3] % 5 > 0)]))


def _character(draw: int) -> str:
    return names.GIVEN[bisect(_GIVEN_WEIGHTS, draw / 2**32 * _GIVEN_WEIGHTS[-1])]


def _phone(index: int, drawn: tuple[int, ...]) -> str | None:
    """Of ten children five have a parent's, four none."""
    home, slot = divmod(index, MEMBERS)
    if _is_child(home, slot) and drawn[4] % 10 < 9:
        return _own_phone(draws("crosscheck", home * MEMBERS + drawn[5] % 2)) if drawn[4] % 10 < 5 else None
    return _own_phone(drawn)


def _own_phone(drawn: tuple[int, ...]) -> str:
    return f"1{3 + drawn[6] % 7}{drawn[7] % 10**9:09d}"


def _registered(home: int, slot: int) -> str:
    """Where a household is registered together: in the city, in another city, or in a village; a lodger elsewhere."""
    if slot == MEMBERS - 1 and _lodger(home):
        home += 500_000_003
    drawn = draws("registered", home)
    _, origin = names.ORIGINS[drawn[0] % len(names.ORIGINS)]
    if drawn[1] % 3 == 0:
        return _address(home)
    if drawn[1] % 3 == 1:
        house = f"{drawn[3] % 400 + 1}号{drawn[4] % 12 + 1}栋{drawn[5] % 3 + 1}单元{_room(drawn[6])}"
        return f"{origin}{_road(drawn[2])}{house}"
    return f"{origin}{_road(drawn[2])}{drawn[3] % 900 + 1}号"


def _address(home: int) -> str:
    drawn = draws("address", home)
    prefix = _prefixes()[_grid(home).community_code]
    return f"{prefix}{_road(drawn[0])}{drawn[1] % 300 + 1}号{drawn[2] % 9 + 1}栋{_room(drawn[3])}"


def _room(drawn: int) -> str:
    return f"{drawn % 28 + 1}0{drawn // 28 % 6 + 1}"


def _road(drawn: int) -> str:
    return names.ROADS[drawn % len(names.ROADS)]


@lru_cache(maxsize=1)
def _grids() -> tuple[GridSeed, ...]:
    return tuple(grids())


@lru_cache(maxsize=1)
def _prefixes() -> dict[str, str]:
    return full_names()


def _grid(home: int) -> GridSeed:
    return _grids()[home * 7919 % len(_grids())]
