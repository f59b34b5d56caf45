"""docs/sync-protocol.md names a test for each rule, and each test that it names is there."""

import re

import pytest

from backend.core.settings import PROJECT_ROOT

TESTS = PROJECT_ROOT / "tests"
SWITCHED_OFF = ("simulation/test_rules_are_needed.py", "simulation/test_rules_of_the_rooms.py")
RULES = 15


def rows() -> list[list[str]]:
    """The cells of the table."""
    page = (PROJECT_ROOT / "docs" / "sync-protocol.md").read_text(encoding="utf-8")
    section = page.partition("\n## Which test proves it\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named(cells: list[str]) -> list[tuple[str, str]]:
    """File and name of everything that a row names."""
    words = re.findall(r"`(\w+)`", cells[1])
    switched_off = [(next((file for file in SWITCHED_OFF if is_there(file, word)), ""), word) for word in words]
    return switched_off + re.findall(r"`([\w/]+\.py)::(\w+)`", cells[2])


def is_there(file: str, name: str) -> bool:
    path = TESTS / file
    return path.is_file() and re.search(rf"^(?:def|class) {name}\(", path.read_text(), re.MULTILINE) is not None


def test_every_test_that_the_page_names_is_there() -> None:
    everything = [entry for row in rows() for entry in named(row)]
    assert len(everything) > 40
    assert [entry for entry in everything if not is_there(*entry)] == []


def test_each_rule_has_a_row() -> None:
    numbers = [int(found[0]) for row in rows() if (found := re.match(r"\d+", row[0]))]
    assert numbers == list(range(1, RULES + 1))


def test_each_rule_is_switched_off_by_a_test() -> None:
    assert [row[0] for row in rows() if row[0][0].isdigit() and "`" not in row[1]] == []


@pytest.mark.parametrize("file", SWITCHED_OFF)
def test_nothing_that_is_switched_off_is_missing_from_the_page(file: str) -> None:
    source = (TESTS / file).read_text()
    cases = source.partition("\nCASES")[2].partition("\n)\n")[0]
    planted = set(re.findall(r"^    \((?:planted\()?(\w+)", cases, re.MULTILINE))
    told = {word for row in rows() for word in re.findall(r"`(\w+)`", row[1])}
    assert len(planted) > 5
    assert planted - told == set()


def test_a_name_that_is_not_there_is_found() -> None:
    assert [is_there(file, "WithoutReason") for file in SWITCHED_OFF] == [False, False]
    assert named(["1", "`WithoutReason`", ""]) == [("", "WithoutReason")]
    assert not is_there("", "WithoutReason")
    assert not is_there("simulation/test_nothing.py", "test_nothing")
