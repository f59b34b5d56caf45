"""`docs/errors.md` lists every code the product can give, and no other."""

import ast
import gc
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

from backend.core.enums import QuarantineCode
from backend.core.errors import ZhiwangError, all_errors
from backend.core.settings import PROJECT_ROOT
from backend.services.registry_rows import REASONS
from media.rules import FAILURE_TEXTS
from workflows.crosscheck.entries import ERASED, MISSING, TOMBSTONE

DOCUMENT = PROJECT_ROOT / "docs" / "errors.md"
PACKAGES = ("backend", "sync", "media", "workflows")
GIVEN_BY_NAME = {"worker_lost", MISSING, TOMBSTONE, ERASED}
"""Reasons of dead jobs that do not stand as a literal in a `Discard`."""

ROW = re.compile(r'^\| <a id="(?P<anchor>[\w-]+)"></a>`(?P<code>\w+)` \| (?P<rest>.*) \|$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Problem:
    """What a client is told of one kind of refusal."""

    status: int
    title_zh: str


def source_files() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((PROJECT_ROOT / package).rglob("*.py"))


def section(title: str) -> str:
    """A section of the page, without its heading."""
    return DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title: str, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Code and further cells of each row. The anchor is the code, below a prefix where codes of two tables meet."""
    for row in ROW.finditer(section(title)):
        assert row["anchor"] == prefix + row["code"]
        yield row["code"], row["rest"].split(" | ")


def texts(title: str, prefix: str) -> dict[str, str]:
    return {code: cells[0] for code, cells in rows(title, prefix)}


def documented() -> dict[str, Problem]:
    return {code: Problem(int(cells[0]), cells[1]) for code, cells in rows("Codes of problem+json")}


def defined() -> dict[str, Problem]:
    """The errors of the product's own modules, all of them loaded."""
    for path in source_files():
        if "title_zh" in path.read_text(encoding="utf-8"):
            import_module(".".join(path.relative_to(PROJECT_ROOT).with_suffix("").parts))
    return _by_code(kind for kind in all_errors() if kind.__module__.partition(".")[0] in PACKAGES)


def _by_code(kinds: Iterable[type[ZhiwangError]]) -> dict[str, Problem]:
    found: dict[str, Problem] = {}
    for kind in kinds:
        assert kind.code not in found, f"two errors are called {kind.code}"
        found[kind.code] = Problem(kind.status, kind.title_zh)
    return found


def discarded() -> Iterator[str]:
    """The reasons that stand as literals in `jobs.Discard`."""
    for path in source_files():
        yield from _literals_of_discard(path)


def _literals_of_discard(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Discard"):
            yield from (str(value.value) for value in node.args if isinstance(value, ast.Constant))


def test_every_problem_is_listed_with_its_status_and_chinese_title() -> None:
    assert documented() == defined()


def test_a_new_error_must_be_listed() -> None:
    name = "Planted"
    planted = type(name, (ZhiwangError,), {"code": "planted", "status": 418, "__module__": "backend.planted"})
    try:
        assert defined().keys() - documented().keys() == {"planted"}
    finally:
        # Subclasses are remembered until they are collected.
        del planted
        gc.collect()
    assert "planted" not in defined()


def test_two_errors_may_not_share_a_code() -> None:
    with pytest.raises(AssertionError, match="two errors are called internal"):
        _by_code([ZhiwangError, ZhiwangError])


def test_problems_say_something_in_both_languages() -> None:
    for kind in all_errors():
        assert re.search(r"[\u4e00-\u9fff]", kind.title_zh), kind
        assert kind.title_en.isascii(), kind


@pytest.mark.parametrize(
    ("title", "prefix", "codes"),
    [
        ("Quarantine codes of sync rows", "quarantine-", list(QuarantineCode)),
        ("Reasons of dead jobs", "job-", [*discarded(), *GIVEN_BY_NAME]),
    ],
    ids=["quarantine", "jobs"],
)
def test_codes_of_rows_and_jobs_are_listed(title: str, prefix: str, codes: list[str]) -> None:
    assert sorted(code for code, _ in rows(title, prefix)) == sorted(set(codes))


@pytest.mark.parametrize(
    ("title", "prefix", "given"),
    [
        ("Photo failure codes", "photo-", {failure.value: chinese for failure, (chinese, _) in FAILURE_TEXTS.items()}),
        ("Import reject codes", "reject-", REASONS),
    ],
    ids=["photos", "imports"],
)
def test_codes_with_a_text_are_listed_with_it(title: str, prefix: str, given: Mapping[str, str]) -> None:
    assert texts(title, prefix) == given
