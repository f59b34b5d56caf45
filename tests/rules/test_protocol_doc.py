"""docs/sync-protocol.md names a test for each rule, and each test that it names is there."""

import re

from backend.core.settings import PROJECT_ROOT

TESTS = PROJECT_ROOT / "tests"
SWITCHED_OFF = "simulation/test_rules_are_needed.py"
RULES = 15


def rows() -> list[list[str]]:
    """The cells of the table."""
    page = (PROJECT_ROOT / "docs" / "sync-protocol.md").read_text(encoding="utf-8")
    section = page.partition("\n## Which test proves it\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named(cells: list[str]) -> list[tuple[str, str]]:
    """File and name of everything that a row names."""
    words = [(SWITCHED_OFF, word) for word in re.findall(r"`(\w+)`", cells[1])]
    return words + re.findall(r"`([\w/]+\.py)::(\w+)`", cells[2])


def is_there(file: str, name: str) -> bool:
    path = TESTS / file
    return path.exists() and re.search(rf"^(?:def|class) {name}\(", path.read_text(), re.MULTILINE) is not None


def test_every_test_that_the_page_names_is_there() -> None:
    everything = [entry for row in rows() for entry in named(row)]
    assert len(everything) > 40
    assert [entry for entry in everything if not is_there(*entry)] == []


def test_each_rule_has_a_row() -> None:
    numbers = [int(found[0]) for row in rows() if (found := re.match(r"\d+", row[0]))]
    assert numbers == list(range(1, RULES + 1))


def test_nothing_that_is_switched_off_is_missing_from_the_page() -> None:
    source = (TESTS / SWITCHED_OFF).read_text()
    cases = source.partition("\nCASES")[2].partition("\n)\n")[0]
    planted = {
        name for name in re.findall(r"\w+", cases) if re.search(rf"^(?:def|class) {name}\(", source, re.MULTILINE)
    }
    told = {name for row in rows() for file, name in named(row) if file == SWITCHED_OFF}
    assert planted - {"planted"} - told == set()


def test_a_name_that_is_not_there_is_found() -> None:
    assert not is_there(SWITCHED_OFF, "WithoutReason")
    assert not is_there("simulation/test_nothing.py", "test_nothing")
