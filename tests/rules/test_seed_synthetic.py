"""Synthetic records: the same for the same index, valid, inside their grids, and alike in files and in memory."""

import csv
import json
from pathlib import Path

import pytest
from shapely import Point, Polygon
from stdnum.cn import uscc

from backend.kinds import KINDS
from backend.kinds.geodesy import SCALE
from backend.seed import synthetic
from backend.seed.drops import bad_rows, flat, write_drops
from backend.seed.territory import DEMO_GRIDS, grids
from backend.services.registry_specs import SPECS

SCALE_OF_TEST = 0.003


@pytest.mark.parametrize("dataset", sorted(synthetic.MAKERS))
def test_a_record_depends_on_its_index_only(dataset: str) -> None:
    make = synthetic.MAKERS[dataset]
    forwards = [make(index) for index in range(40)]
    synthetic._human.cache_clear()
    assert [make(index) for index in reversed(range(40))] == forwards[::-1]


def test_no_two_people_share_an_identity() -> None:
    people = [synthetic.person(index) for index in range(20_000)]
    assert len({(one["id_type"], one["id_number"]) for one in people}) == len(people)


def test_citizen_ids_carry_their_check_digit_birth_date_and_sex() -> None:
    for one in (synthetic.person(index) for index in range(2_000)):
        if one["id_type"] == "passport":
            continue
        number = one["id_number"]
        assert synthetic.citizen_id(number[:17]) == number
        assert one["birth_date"].replace("-", "") == number[6:14]
        assert one["sex"] == ("male" if int(number[16]) % 2 else "female")


def test_the_check_digit_is_that_of_the_published_example() -> None:
    assert synthetic.citizen_id("11010519491231002") == "11010519491231002X"


def test_credit_codes_satisfy_an_independent_library() -> None:
    codes = [synthetic.organisation(index)["uscc"] for index in range(2_000)]
    assert all(uscc.is_valid(code) for code in codes)
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("dataset", ["houses", "organisations", "components"])
def test_places_lie_inside_the_grid_they_name(dataset: str) -> None:
    polygons = {grid.id: Polygon(grid.ring) for grid in grids()}
    for record in (synthetic.MAKERS[dataset](index) for index in range(0, 3_000, 3)):
        place = record["location"]
        assert polygons[record["grid_id"]].contains(Point(place["lon"] / SCALE, place["lat"] / SCALE))


def test_people_live_in_the_house_they_name() -> None:
    for index in range(0, 3_000, 7):
        one, home = synthetic.person(index), synthetic.house(index * 3 // 10)
        assert (one["house_code"], one["address"], one["grid_id"]) == (
            home["house_code"],
            home["address"],
            home["grid_id"],
        )


def test_no_two_houses_share_an_address() -> None:
    addresses = [synthetic.house(index)["address"] for index in range(5_000)]
    assert len(set(addresses)) == len(addresses)


def test_the_demo_grids_hold_a_fair_share_of_the_city() -> None:
    homes = [synthetic.grid_of("houses", index).id for index in range(synthetic.COUNTS["houses"])]
    assert 0.02 < sum(home in DEMO_GRIDS for home in homes) / len(homes) < 0.05
    for grid_id in DEMO_GRIDS:
        assert len(synthetic.people_of_grid(grid_id, 100)) == 100
        assert len(synthetic.houses_of_grid(grid_id, 50)) == 50
        assert len(synthetic.organisations_of_grid(grid_id, 10)) == 10
        assert len(synthetic.components_of_grid(grid_id, 10)) == 10


def test_people_of_a_grid_are_exactly_those_the_population_has_there() -> None:
    grid_id = DEMO_GRIDS[3]
    population = [synthetic.person(index) for index in range(synthetic.count_of("population", 0.05))]
    expected = [one for one in population if one["grid_id"] == grid_id]
    assert expected
    assert synthetic.people_of_grid(grid_id, 10_000, scale=0.05) == expected


@pytest.mark.parametrize("dataset", sorted(SPECS))
def test_records_are_what_their_kind_takes(dataset: str) -> None:
    kind = SPECS[dataset].kind
    assert kind is not None
    model = KINDS[kind].model
    for index in range(50):
        model.model_validate_json(json.dumps(synthetic.MAKERS[dataset](index)))


def test_a_drop_has_a_title_line_its_good_rows_and_the_bad_ones(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    drops = write_drops(tmp_path, SCALE_OF_TEST, lambda *step: steps.append(step))
    for code, spec in SPECS.items():
        with drops[code].open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        assert header == [column.title for column in spec.columns]
        assert len(rows) == synthetic.count_of(code, SCALE_OF_TEST) + len(bad_rows(spec))
        assert rows[0] == flat(spec, synthetic.MAKERS[code](0))
        assert (
            f"write {code}",
            synthetic.count_of(code, SCALE_OF_TEST),
            synthetic.count_of(code, SCALE_OF_TEST),
        ) in steps
