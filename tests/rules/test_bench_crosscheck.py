"""What `make bench-crosscheck` measures with: labels that are true, and figures that can be bad."""

from datetime import date
from random import Random
from uuid import UUID

import pytest

from bench.crosscheck_labels import Labelled, labelled
from bench.crosscheck_peers import Accuracy, _best_threshold, judge
from bench.crosscheck_people import MEMBERS, people, person
from bench.crosscheck_push import WARM_S, Paced, _Times
from bench.crosscheck_typos import other_writing, wrong_address, wrong_name, wrong_number
from workflows.crosscheck.identity import contradictions

TOTAL, ENTRIES = 2000, 500


@pytest.fixture(scope="module")
def entries() -> list[Labelled]:
    return labelled("test", entries=ENTRIES, total=TOTAL)


@pytest.fixture(scope="module")
def numbers() -> dict[str, int]:
    return {one["id_number"]: index for index, one in enumerate(people(TOTAL))}


def test_each_person_has_a_number_of_his_own_that_agrees_with_him(numbers: dict[str, int]) -> None:
    assert len(numbers) == TOTAL
    for index in range(0, TOTAL, 37):
        one = person(index)
        today = date(2026, 1, 1)
        assert not contradictions(one["id_number"], birth_date=one["birth_date"], sex=one["sex"], today=today)


def test_some_children_are_twins_and_children_bear_one_surname(numbers: dict[str, int]) -> None:
    homes = [[person(home * MEMBERS + slot) for slot in range(MEMBERS)] for home in range(TOTAL // MEMBERS)]
    twins = [home for home in homes if home[2]["birth_date"] == home[3]["birth_date"]]
    assert 0.005 < len(twins) / len(homes) < 0.08
    assert all(home[2]["name"][0] == home[0]["name"][0] for home in homes)


def test_the_shares_of_wrong_and_absent_entries_are_those_that_are_said(entries: list[Labelled]) -> None:
    assert sum(bool(entry.wrong) for entry in entries) == ENTRIES * 3 // 10
    assert sum(entry.truth is None for entry in entries) == ENTRIES // 10
    assert {name for entry in entries for name in entry.wrong} == {"id_number", "name", "phone", "registered_address"}


def test_what_is_wrong_differs_from_the_record_and_the_rest_does_not(
    entries: list[Labelled], numbers: dict[str, int]
) -> None:
    for entry in (entry for entry in entries if entry.truth):
        record = person(numbers[entry.truth or ""])
        for name in ("id_number", "name", "phone", "registered_address"):
            if name in entry.fields and name != "registered_address":
                assert (entry.fields[name] != record.get(name)) == (name in entry.wrong), (name, entry, record)
            elif name in entry.fields and name in entry.wrong:
                assert entry.fields[name] != record[name]


def test_nobody_who_is_absent_has_a_number_on_record(entries: list[Labelled], numbers: dict[str, int]) -> None:
    absent = [entry for entry in entries if entry.truth is None]
    assert not [entry for entry in absent if entry.fields.get("id_number") in numbers]


def test_entries_are_the_same_for_a_seed_and_others_for_another(entries: list[Labelled]) -> None:
    assert labelled("test", entries=ENTRIES, total=TOTAL) == entries
    assert labelled("other", entries=ENTRIES, total=TOTAL) != entries


@pytest.mark.parametrize("seed", range(20))
def test_a_mistake_always_changes_something(seed: int) -> None:
    random = Random(seed)
    assert wrong_name(random, "欧阳建国") != "欧阳建国"
    assert wrong_name(random, "王伟") not in ("王伟", "王")
    assert wrong_number(random, "13812345678", first=1)[0] == "1"
    assert wrong_number(random, "13812345678") != "13812345678"
    address = "广东省深圳市龙岗区桃溪路12号3栋1401"
    assert wrong_address(random, address) != address
    assert other_writing(random, address) != address


def test_links_are_judged_by_precision_and_recall() -> None:
    entries = [Labelled({}, "a"), Labelled({}, "b"), Labelled({}, "c"), Labelled({}, None)]
    assert judge(["a", "b", "c", None], entries) == Accuracy(1.0, 1.0)
    assert judge(["a", "x", None, "y"], entries) == Accuracy(1 / 3, 1 / 3)
    assert judge([None] * 4, entries) == Accuracy(0.0, 0.0)


def test_a_peer_gets_the_threshold_that_serves_it_best() -> None:
    entries = [Labelled({}, "a"), Labelled({}, "b"), Labelled({}, None)]
    assert 2.0 < _best_threshold([(0, "a", 9.0), (1, "b", 5.0), (2, "c", 2.0)], entries) <= 5.0


def test_a_growing_backlog_is_told_from_a_steady_one() -> None:
    assert _paced(late_s=0.0).steady
    grown = _paced(late_s=30.0)
    assert not grown.steady
    assert grown.p99 > grown.p50 > 1


def _paced(*, late_s: float) -> Paced:
    """Fifty pushes a second for half a minute; the last verdict is so late, the others in proportion."""
    times = _Times()
    for place in range(1500):
        one, due = UUID(int=place), place / 50
        times.due[one] = times.answered[one] = due
        times.seen[one] = due + 0.01 + max(0.0, due - WARM_S) / 25 * late_s
    return times.paced()
