"""`docs/case-lifecycle.md` says what the code does: its picture and its tables are drawn from the edges."""

from pathlib import Path

import pytest

from backend.core.settings import PROJECT_ROOT
from workflows.cases.rules import EDGES, REASONS, CaseOutcome, Edge

DOCUMENT = PROJECT_ROOT / "docs" / "case-lifecycle.md"


def picture() -> str:
    """The stages as a Mermaid diagram. What a later verdict adds stays in place and is left out."""
    ways: dict[tuple[str, str], list[str]] = {}
    for edge in EDGES:
        if edge.action not in ("again", "cleared"):
            ways.setdefault((edge.origin.value, edge.target.value), []).append(edge.action.value)
    arrows = [f"    {origin} --> {target}: {' / '.join(actions)}" for (origin, target), actions in ways.items()]
    ends = [f"    {state} --> [*]" for state in ("closed", "rejected")]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> reported", *arrows, *ends, "```"])


def edge_table() -> str:
    head = "| action | from | to | who | reason | must name | must be |\n|---|---|---|---|---|---|---|"
    return "\n".join([head, *map(edge_row, EDGES)])


def edge_row(edge: Edge) -> str:
    cells = [
        edge.action.value,
        edge.origin.value,
        edge.target.value,
        ", ".join(edge.roles) or "system",
        ", ".join(edge.reasons),
        ", ".join([*edge.needs, *(["reason"] if len(edge.reasons) > 1 else [])]),
        ", ".join(edge.guards),
    ]
    return f"| {' | '.join(cells)} |"


def reason_table() -> str:
    rows = [f"| {code} | {chinese} |" for code, chinese in REASONS.items()]
    return "\n".join(["| reason | 中文 |\n|---|---|", *rows])


@pytest.mark.parametrize("drawn", [picture, edge_table, reason_table], ids=lambda draw: draw.__name__)
def test_the_document_holds_what_the_code_does(drawn: object) -> None:
    assert callable(drawn)
    assert drawn() in Path(DOCUMENT).read_text(encoding="utf-8"), f"put this into {DOCUMENT.name}:\n{drawn()}"


def test_the_document_names_every_outcome() -> None:
    text = Path(DOCUMENT).read_text(encoding="utf-8")
    assert all(f"`{outcome.value}`" in text for outcome in CaseOutcome)
