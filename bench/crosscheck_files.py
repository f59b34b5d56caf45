"""What the sides of `bench.crosscheck` read: the population as a department's drop, and both tables for the peers.

The peers get whole values, as nothing is encrypted for them, and what one derives from them for linking: the surname,
the name's sound, the address in one writing and the numbers in it. None of that is in their measured time.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from pypinyin import lazy_pinyin

from backend.seed.drops import flat
from backend.services.records import surname
from backend.services.registry_specs import POPULATION
from bench.crosscheck_labels import Labelled
from bench.crosscheck_people import person
from workflows.crosscheck.addresses import normalised

PEER_COLUMNS = (
    "unique_id",
    "truth",
    "id_number",
    "name",
    "surname",
    "sound",
    "sex",
    "birth_date",
    "phone",
    "address",
    "numbers",
)
WRITERS = 2
CHUNK = 10_000

Fields = Mapping[str, Any]
Line = Sequence[str]


def write_population(folder: Path, total: int) -> tuple[Path, Path]:
    """The drop of a population of that size, and the peers' table of it. Those of an earlier run stay as they are."""
    drop, table = folder / f"population_{total}.csv", folder / f"people_{total}.csv"
    if drop.exists() and table.exists():
        return drop, table
    with drop.open("w", encoding="utf-8", newline="") as one, table.open("w", encoding="utf-8", newline="") as other:
        drops, tables = csv.writer(one, lineterminator="\n"), csv.writer(other, lineterminator="\n")
        drops.writerow([column.title for column in POPULATION.columns])
        tables.writerow(PEER_COLUMNS)
        for ours, theirs in _made(total):
            drops.writerows(ours)
            tables.writerows(theirs)
    return drop, table


def write_entries(path: Path, entries: Iterable[Labelled]) -> Path:
    """The peers' table of entries; `unique_id` is the place of an entry."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(PEER_COLUMNS)
        writer.writerows(
            peer_line(str(place), entry.truth or f"absent {place}", entry.fields) for place, entry in enumerate(entries)
        )
    return path


def peer_line(unique_id: str, truth: str, fields: Fields) -> Line:
    """A person as the peers read him."""
    name, address = fields["name"], normalised(fields.get("registered_address", ""))
    return (
        unique_id,
        truth,
        fields.get("id_number", ""),
        name,
        surname(name),
        " ".join(map(_sound, name)),
        fields["sex"],
        fields["birth_date"],
        fields.get("phone", ""),
        address,
        "-".join(_NUMBERS.findall(address)),
    )


def _made(total: int) -> Iterator[tuple[list[Line], list[Line]]]:
    starts = iter(range(0, total, CHUNK))
    with ProcessPoolExecutor(WRITERS) as pool:
        while some := list(islice(starts, 2 * WRITERS)):
            yield from pool.map(_chunk, some, (min(start + CHUNK, total) for start in some))


def _chunk(start: int, end: int) -> tuple[list[Line], list[Line]]:
    known = [person(index) for index in range(start, end)]
    theirs = [peer_line(one["id_number"], one["id_number"], one) for one in known]
    return [flat(POPULATION, one) for one in known], theirs


@lru_cache(maxsize=8192)
def _sound(character: str) -> str:
    return str(lazy_pinyin(character)[0])


_NUMBERS = re.compile("[0-9]+")
