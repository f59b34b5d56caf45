"""Synthetic identities that can be told from everything else, in every writing: the canaries.

Nobody here exists. Each value begins with a mark that no other data of the product carry, so that one search for the
mark finds all ten thousand, and the digits after it say whose it is. Id numbers have valid check digits (GB 11643).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

from backend.kinds.geodesy import SCALE
from backend.seed import names
from backend.seed.synthetic import citizen_id
from backend.seed.territory import grids

NAME_MARK, ADDRESS_MARK = "龘麤", "KANARI7Q"
ID_MARK, PHONE_MARK = "65901219", "199707"
LAT_MARK, LON_MARK = "2261", "11431"
LAT_DECIMAL_MARK, LON_DECIMAL_MARK = "22.61", "114.31"

FIRST_DAY, DAYS = date(1950, 1, 1), 18_000
NAME_DIGITS = "鱻羴犇骉猋淼焱垚鑫森"
"""Ten rare characters that stand for the digits of a canary's number inside a name."""
MOST = 12_000
STRIDE = 7


@dataclass(frozen=True, slots=True)
class Identity:
    """One canary. `lat` and `lon` are its home in integers of 1e-7 degree, WGS-84."""

    number: int
    name: str
    id_number: str
    phone: str
    address: str
    birth_date: str
    lat: int
    lon: int

    def human(self) -> dict[str, str]:
        """As a person inside another record."""
        return {"name": self.name, "id_type": "citizen_id", "id_number": self.id_number, "phone": self.phone}

    def place(self) -> dict[str, int | str]:
        """Its home as a record's `location`."""
        return {"lat": self.lat, "lon": self.lon, "datum": "wgs84"}

    def text(self) -> str:
        """A sentence that a person might write, with everything in it."""
        return f"{self.name}，{self.id_number}，{self.phone}，{self.address}"

    def values(self) -> Mapping[str, Sequence[str]]:
        """Every writing of each value that counts as a sighting, by field."""
        return {
            "name": (self.name,),
            "address": (self.address,),
            "id_number": (self.id_number,),
            "phone": (self.phone,),
            "lat": degrees_writings(self.lat),
            "lon": degrees_writings(self.lon),
        }


def degrees_writings(angle: int) -> tuple[str, ...]:
    """How a coordinate gets written: the integer, and decimal degrees in full and to a metre's tenth."""
    decimal = angle / SCALE
    return tuple(dict.fromkeys((str(angle), f"{decimal:.7f}", f"{decimal:.7f}".rstrip("0"), f"{decimal:.6f}")))


def identity(number: int) -> Identity:
    """The canary of that number; the same each time. `ValueError` for more of them than there are marks."""
    if not 0 <= number < MOST:
        raise ValueError(f"canaries run from 0 to {MOST - 1}")
    birthday = FIRST_DAY + timedelta(days=number % DAYS)
    letters = "".join(NAME_DIGITS[int(digit)] for digit in f"{number:05d}")
    surname = names.SURNAMES[number % len(names.SURNAMES)]
    id_number = citizen_id(f"{ID_MARK[:6]}{birthday:%Y%m%d}{number // DAYS * 2 + number % 2:03d}")
    return Identity(
        number=number,
        name=f"{surname}{NAME_MARK}{letters}",
        id_number=id_number,
        phone=f"{PHONE_MARK}{number:05d}",
        address=f"合成市金丝雀路{ADDRESS_MARK}{number:05d}号",
        birth_date=birthday.isoformat(),
        lat=_places()[0][number],
        lon=_places()[1][number],
    )


@lru_cache(maxsize=1)
def _places() -> tuple[list[int], list[int]]:
    """Coordinates with the marks, without those that a corner of a grid happens to have."""
    lats, lons = corners()
    return _free(226_100_001, 226_199_999, lats), _free(1_143_100_001, 1_143_199_999, lons)


def _free(first: int, last: int, taken: frozenset[str]) -> list[int]:
    places = (angle for angle in range(first, last, STRIDE) if angle % 10)
    free = [angle for angle in places if not taken.intersection(degrees_writings(angle))]
    return free[:MOST]


@lru_cache(maxsize=1)
def corners() -> tuple[frozenset[str], frozenset[str]]:
    """Every writing of the latitudes and longitudes of the synthetic grids' corners, which are public and readable."""
    found = [corner for grid in grids() for corner in grid.ring]
    return (
        frozenset(writing for _, lat in found for writing in degrees_writings(round(lat * SCALE))),
        frozenset(writing for lon, _ in found for writing in degrees_writings(round(lon * SCALE))),
    )
