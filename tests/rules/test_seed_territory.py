"""The seeded territory: real codes, and synthetic grids that cover their communities without overlapping."""

from collections import Counter

from shapely import Polygon, STRtree, union_all

from backend.seed import territory


def test_every_division_lies_in_the_division_its_code_begins_with() -> None:
    codes = {unit.code for unit in territory.divisions()}
    shorter = {12: 9, 9: 6, 6: 4}
    for unit in territory.divisions():
        assert unit.parent_code == (unit.code[: shorter[len(unit.code)]] if len(unit.code) > 4 else None)
        assert unit.parent_code is None or unit.parent_code in codes


def test_shenzhen_has_nine_districts_and_the_known_number_of_streets_and_communities() -> None:
    levels = Counter(unit.level for unit in territory.divisions())
    assert levels == {"city": 1, "district": 9, "street": 79, "community": 788}
    districts = {unit.code for unit in territory.divisions() if unit.level == "district"}
    assert districts == {f"4403{number:02d}" for number in range(3, 12)}


def test_every_community_has_two_or_three_grids_with_running_numbers() -> None:
    communities = {unit.code for unit in territory.divisions() if unit.level == "community"}
    of_community = Counter(grid.community_code for grid in territory.grids())
    assert of_community.keys() == communities
    assert set(of_community.values()) == {2, 3}
    for grid in territory.grids():
        assert len(grid.id) == 15
        assert grid.id[:12] == grid.community_code
        assert 1 <= int(grid.id[12:]) <= of_community[grid.community_code]


def test_grids_are_the_same_in_every_run() -> None:
    first = territory.grids()
    territory.grids.cache_clear()
    assert territory.grids() == first


def test_grids_are_convex_and_do_not_overlap_beyond_rounding() -> None:
    polygons = [Polygon(grid.ring) for grid in territory.grids()]
    assert all(polygon.is_valid for polygon in polygons)
    assert max(polygon.convex_hull.area - polygon.area for polygon in polygons) < 1e-12
    shrunk = [polygon.buffer(-2 * 10**-territory.DECIMALS) for polygon in polygons]
    pairs = STRtree(shrunk).query(polygons, predicate="intersects")
    assert [(a, b) for a, b in pairs.T if a != b] == []
    assert abs(union_all(polygons).area - sum(polygon.area for polygon in polygons)) < 1e-6


def test_the_demo_grids_exist_and_are_ten() -> None:
    assert len(set(territory.DEMO_GRIDS)) == 10
    assert set(territory.DEMO_GRIDS) <= {grid.id for grid in territory.grids()}


def test_community_names_lose_the_committee_and_keep_the_community() -> None:
    assert territory.community_name("六联社区居委会") == "六联社区"
    assert territory.community_name("大塘龙社区居民委员会") == "大塘龙社区"
    assert territory.community_name("小梅沙居委会") == "小梅沙社区"
