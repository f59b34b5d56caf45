"""Territory as seeded: real division codes, and synthetic grids cut out of synthetic outlines.

Every level is a Voronoi partition of the level above: districts inside the city's ring, streets inside a district,
communities inside a street, grids inside a community. All cells are convex, because the ring is, which makes points
inside a grid cheap to draw. The same codes always give the same cells.
"""

import csv
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import shapely
from shapely import MultiPoint, Point, Polygon

from backend.seed.draws import draws

DATA = Path(__file__).parent / "data"
SCHEME = "gbt2260-2023"
LEVELS = {4: "city", 6: "district", 9: "street", 12: "community"}
DECIMALS = 7

DEMO_DISTRICT = "440310"
DEMO_COMMUNITIES = ("440310001001", "440310001002", "440310001003", "440310001004", "440310001005")
DEMO_GRIDS = tuple(f"{community}{number:03d}" for community in DEMO_COMMUNITIES for number in (1, 2))
"""The grids of the demo day, and of the larger share of the synthetic people: two in each of five communities."""


@dataclass(frozen=True, slots=True)
class Division:
    """A territory unit by its division code; the length of the code is its level."""

    code: str
    name: str
    parent_code: str | None

    @property
    def level(self) -> str:
        return LEVELS[len(self.code)]


@dataclass(frozen=True, slots=True)
class GridSeed:
    """A synthetic grid. `ring` holds the corners of its convex polygon as (lon, lat) in WGS-84, not closed."""

    id: str
    name: str
    community_code: str
    ring: tuple[tuple[float, float], ...]

    def geojson(self) -> dict[str, Any]:
        """The polygon as a GeoJSON geometry."""
        return {"type": "Polygon", "coordinates": [[list(corner) for corner in (*self.ring, self.ring[0])]]}


def rows_of(file: str) -> list[dict[str, str]]:
    """The rows of one CSV file among the seed data."""
    with (DATA / file).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@lru_cache(maxsize=1)
def divisions() -> tuple[Division, ...]:
    """All territory units, parents before their children."""
    return tuple(Division(row["code"], row["name"], row["parent_code"] or None) for row in rows_of("divisions.csv"))


def community_name(name: str) -> str:
    """A community as addresses write it: 六联社区居委会 → 六联社区."""
    for ending in ("居民委员会", "居委会", "居委"):
        name = name.removesuffix(ending)
    return name if name.endswith("社区") else f"{name}社区"


def full_names() -> dict[str, str]:
    """The address prefix of each community: 广东省深圳市坪山区坪山街道六联社区."""
    names = {unit.code: unit.name for unit in divisions()}
    return {
        code: f"广东省{names[code[:4]]}{names[code[:6]]}{names[code[:9]]}{community_name(name)}"
        for code, name in names.items()
        if len(code) == 12
    }


@lru_cache(maxsize=1)
def grids() -> tuple[GridSeed, ...]:
    """All synthetic grids in the order of their codes: two or three in each community."""
    children: dict[str, list[Division]] = defaultdict(list)
    for unit in divisions():
        children[unit.parent_code or ""].append(unit)
    made: list[GridSeed] = []
    for district, district_cell in _districts().items():
        streets = children[district]
        for street, street_cell in zip(streets, _parts(district, district_cell, len(streets)), strict=True):
            communities = children[street.code]
            cells = _parts(street.code, street_cell, len(communities))
            for community, cell in zip(communities, cells, strict=True):
                made += _grids_of(community, cell)
    return tuple(sorted(made, key=lambda grid: grid.id))


def _districts() -> dict[str, Polygon]:
    outlines = json.loads((DATA / "outlines.json").read_text(encoding="utf-8"))
    anchors = [Point(anchor) for anchor in outlines["districts"].values()]
    return dict(zip(outlines["districts"], _cells(Polygon(outlines["city"]), anchors), strict=True))


def _grids_of(community: Division, cell: Polygon) -> list[GridSeed]:
    count = 2 + draws("grids", community.code)[0] % 2
    name = community_name(community.name)
    return [
        GridSeed(f"{community.code}{number:03d}", f"{name}第{number}网格", community.code, _ring(part))
        for number, part in enumerate(_parts(community.code, cell, count), start=1)
    ]


def _parts(code: str, cell: Polygon, count: int) -> list[Polygon]:
    """Cut a convex cell into convex parts of similar size: Voronoi around drawn points, relaxed once."""
    if count == 1:
        return [cell]
    points = [Point(_inside(cell, f"{code}/{number}")) for number in range(count)]
    return _cells(cell, [part.centroid for part in _cells(cell, points)])


def _cells(cell: Polygon, points: Sequence[Point]) -> list[Polygon]:
    """The part of `cell` that is nearest to each point, in the order of the points."""
    fan = shapely.voronoi_polygons(MultiPoint(list(points)), extend_to=cell, ordered=True)
    parts: list[Polygon] = list(shapely.intersection(shapely.get_parts(fan), cell))
    return parts


def _inside(cell: Polygon, name: str) -> tuple[float, float]:
    """A drawn point inside a convex cell."""
    return point_in(shapely.get_coordinates(cell.exterior)[:-1].tolist(), draws("point", name))


def point_in(ring: Sequence[Sequence[float]], drawn: Sequence[int]) -> tuple[float, float]:
    """A point inside a convex ring, from three 32-bit draws: on a line from the middle to some place of the edge."""
    count = len(ring)
    middle_x = sum(corner[0] for corner in ring) / count
    middle_y = sum(corner[1] for corner in ring) / count
    side = drawn[0] % count
    (ax, ay), (bx, by) = ring[side], ring[(side + 1) % count]
    along, outward = drawn[1] / 2**32, 0.9 * (drawn[2] / 2**32) ** 0.5
    edge_x, edge_y = ax + along * (bx - ax), ay + along * (by - ay)
    return middle_x + outward * (edge_x - middle_x), middle_y + outward * (edge_y - middle_y)


def _ring(cell: Polygon) -> tuple[tuple[float, float], ...]:
    corners = shapely.get_coordinates(cell.exterior)[:-1].round(DECIMALS)
    return tuple((float(x), float(y)) for x, y in corners)
