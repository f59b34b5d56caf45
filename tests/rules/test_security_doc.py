"""`docs/security.md` says what is so: every test it names exists, and no requirement is left out or said twice.

`asvs_5_0_0.csv` holds the numbers and levels of OWASP ASVS 5.0.0 (levels 1 and 2), as its own list gives them.
"""

import ast
import csv
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from backend.core.settings import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "security.md"
NUMBERS = Path(__file__).with_name("asvs_5_0_0.csv")
STANDINGS = ("shown", "partly", "documented", "operator", "gap", "not applicable")
REFERENCE = re.compile(r"`((?:tests|bench)/[\w/]+\.py)(?:::(\w+))?`")
ROW = re.compile(r"^\| (V\d+\.\d+\.\d+(?:, V\d+\.\d+\.\d+)*) \| (.+) \| (.+?): (.+) \|$", re.MULTILINE)


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def rows() -> Iterator[tuple[list[str], str, str]]:
    """Numbers, standing and what is said, of each row about the ASVS."""
    for row in ROW.finditer(page()):
        yield row[1].split(", "), row[3], row[4]


@lru_cache(maxsize=512)
def functions(file: Path) -> frozenset[str]:
    """The names a file defines, at its top level."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef))


def missing(text: str) -> list[str]:
    """References that lead nowhere."""
    wrong = []
    for file, function in REFERENCE.findall(text):
        path = PROJECT_ROOT / file
        if not path.is_file() or (function and function not in functions(path)):
            wrong.append(f"{file}::{function}")
    return wrong


def test_every_test_that_is_named_exists() -> None:
    assert len(REFERENCE.findall(page())) > 100
    assert missing(page()) == []


@pytest.mark.parametrize("text", ["`tests/rules/test_none.py`", "`tests/rules/test_security_doc.py::test_none`"])
def test_a_test_that_does_not_exist_is_noticed(text: str) -> None:
    assert missing(text) != []


def test_every_requirement_of_level_1_and_2_stands_exactly_once() -> None:
    with NUMBERS.open(encoding="utf-8", newline="") as lines:
        wanted = [line["requirement"] for line in csv.DictReader(lines)]
    assert len(wanted) == 70 + 183
    said = Counter(number for numbers, _, _ in rows() for number in numbers)
    assert [number for number in wanted if said[number] != 1] == []
    assert said.keys() <= set(wanted)


def test_every_row_has_a_standing_and_what_it_needs() -> None:
    for numbers, standing, said in rows():
        assert standing in STANDINGS, numbers
        if standing in ("shown", "partly"):
            assert REFERENCE.search(said), numbers
        if standing == "documented":
            assert "](" in said, numbers
        assert len(said) > 12, numbers


def test_the_counts_on_the_page_are_right() -> None:
    """The summary line names how many requirements have each standing."""
    counts = Counter(standing for numbers, standing, _ in rows() for _ in numbers)
    (summary,) = re.findall(r"^\*\*(\d.* requirements.*)\*\*$", page(), re.MULTILINE)
    for standing in STANDINGS:
        assert f"{counts[standing]} {standing}" in summary, counts
