"""The written pages stay true where a machine can tell: links, anchors, files, jobs, metrics, settings, terms."""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from typer.core import TyperGroup
from typer.main import get_command

from backend import jobs
from backend.cli import app
from backend.core.enums import JobState, VerdictKind
from backend.core.settings import PROJECT_ROOT, Settings
from backend.handlers import load_handlers
from backend.main import create_app

PAGES = sorted([*PROJECT_ROOT.glob("*.md"), *(PROJECT_ROOT / "docs").rglob("*.md")], key=lambda page: page.as_posix())
OUTSIDE = ("http://", "https://", "mailto:")
FOLDERS = ("backend", "sync", "media", "workflows", "tests", "docs", "alembic", "docker")

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (?P<text>.+)$", re.MULTILINE)
ANCHOR = re.compile(r'<a id="(?P<id>[^"]+)"></a>')
CODE = re.compile(r"`(?P<text>[^`\n]+)`")
PATH = re.compile(rf"^(?:{'|'.join(FOLDERS)})/[\w./-]*$")
SETTING = re.compile(r"^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$")
ROUTE = re.compile(r"(?<![\w.])/[a-z]+/v1/[\w{}/-]*[\w}]")
NOT_YET = {"/sync/v1/{}/digest", "/sync/v1/receipt", "/sync/v1/stream"}
NO_SETTINGS = re.compile(r"^(AWS_\w+|POSTGRES_PASSWORD|RC_PULL)$")


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def code_spans(page: Path) -> Iterator[str]:
    return (found["text"] for found in CODE.finditer(prose(page)))


@lru_cache
def anchors(page: Path) -> frozenset[str]:
    """What a link into the page may name: headings as the forges write them, and explicit ids."""
    text = prose(page)
    headings = {slug(found["text"]) for found in HEADING.finditer(text)}
    return frozenset(headings | {found["id"] for found in ANCHOR.finditer(text)})


def slug(heading: str) -> str:
    """A heading's anchor: lower case, without punctuation, spaces as hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")


def broken_links(page: Path) -> Iterator[str]:
    for found in LINK.finditer(prose(page)):
        target, _, anchor = found["target"].partition("#")
        if found["target"].startswith(OUTSIDE):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            yield found["target"]


@lru_cache
def sources() -> str:
    """All code and seed data of the product."""
    files = [
        path for folder in FOLDERS[:4] for kind in ("*.py", "*.csv") for path in (PROJECT_ROOT / folder).rglob(kind)
    ]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def table(page: str, heading: str) -> list[list[str]]:
    """The rows of the tables in a section, without heads."""
    text = (PROJECT_ROOT / "docs" / page).read_text(encoding="utf-8")
    section = text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0].startswith("`")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT_ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title\n[fine](#a-title) [gone](missing.md) [wrong](#other) ![image](not-looked-at.png)\n")
    assert list(broken_links(page)) == ["missing.md", "#other"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT_ROOT).as_posix())
def test_files_that_are_named_exist(page: Path) -> None:
    named = [text for text in code_spans(page) if PATH.match(text)]
    assert [text for text in named if not (PROJECT_ROOT / text).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT_ROOT).as_posix())
def test_settings_that_are_named_exist(page: Path) -> None:
    known = {name.upper() for name in Settings.model_fields}
    named = {text.partition("=")[0] for text in code_spans(page)}
    unknown = {text for text in named if SETTING.match(text) and not NO_SETTINGS.match(text)} - known
    assert {text for text in unknown if not re.search(rf"\b{text}\b", sources())} == set()


def routes_in(text: str) -> set[str]:
    """Addresses of the API in a text, as templates: `{id}` and `$EVENT` are both something that stands for an id."""
    text = re.sub(r"\$\{?\w+\}?", "{}", text)
    return {re.sub(r"\{\w*\}", "{}", found) for found in ROUTE.findall(text)}


@lru_cache
def known_routes() -> list[re.Pattern[str]]:
    templates = routes_in(" ".join(create_app().openapi()["paths"])) | NOT_YET
    return [re.compile(re.escape(template).replace(r"\{\}", "[^/]+") + "$") for template in sorted(templates)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT_ROOT).as_posix())
def test_addresses_that_are_named_exist(page: Path) -> None:
    named = routes_in(page.read_text(encoding="utf-8"))
    assert {address for address in named if not any(known.match(address) for known in known_routes())} == set()


def test_operations_explains_every_job() -> None:
    load_handlers()
    named = {row[0].strip("`") for row in table("operations.md", "## Jobs")} - set(JobState)
    assert named == set(jobs.handler_names())


def test_operations_explains_every_command() -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    commands = set(group.commands)
    named = {row[0].strip("`").partition(" ")[0] for row in table("operations.md", "## On one machine")}
    assert commands == {name for name in named if "/" not in name and "." not in name}


def test_operations_explains_every_metric() -> None:
    exposed = {f"{metric.name}{'_total' if metric.type == 'counter' else ''}" for metric in REGISTRY.collect()}
    exposed |= set(re.findall(r'Gauge\("(\w+)"', sources()))
    named = {row[0].strip("`") for row in table("operations.md", "## Metrics")}
    assert named == {name for name in exposed if name.startswith("zhiwang_")}


def test_the_glossary_is_in_order_and_names_what_is_in_the_code() -> None:
    page = PROJECT_ROOT / "docs" / "glossary.md"
    text = page.read_text(encoding="utf-8").partition("|---|---|---|---|\n")[2].partition("\n\n")[0]
    terms = [line.strip("| ").split(" | ") for line in text.splitlines()]
    assert [term[0] for term in terms] == sorted((term[0] for term in terms), key=str.lower)
    assert all(re.search(r"[\u4e00-\u9fff]", term[1]) for term in terms)
    names = {term[2].strip("`") for term in terms} - {"–"}
    assert {name for name in names if not re.search(rf"\b{re.escape(name)}\b", sources())} == set()


def test_the_glossary_has_every_verdict() -> None:
    assert [row[0].strip("`") for row in table("glossary.md", "## Verdicts")] == [kind.value for kind in VerdictKind]
