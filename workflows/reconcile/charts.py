"""Small bar charts as SVG text: no script, no style sheet, nothing fetched. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, ROW, TOP = 640, 22, 48
LABEL, ROOM = 170, 330
COLOURS = ("#2f6f9f", "#6aa84f", "#e0a030", "#c9c9c9")


@dataclass(frozen=True, slots=True)
class Bar:
    """A row: what it is about, its parts as shares of a whole (together at most 1), and what is written beside it."""

    label: str
    parts: Sequence[float]
    note: str


def bars(title: str, legend: Sequence[str], rows: Sequence[Bar]) -> str:
    """Horizontal bars, one above the other. `legend` names the parts in order."""
    height = TOP + ROW * max(len(rows), 1) + 12
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="12" role="img" aria-label="{_attribute(title)}">'
    )
    empty = [] if rows else [_text(8, TOP + 14, "没有数据 · nothing to show")]
    drawn = [piece for number, row in enumerate(rows) for piece in _row(TOP + number * ROW, row)]
    return "\n".join(
        [head, f"<title>{escape(title)}</title>", _text(8, 18, title), *_legend(legend), *drawn, *empty, "</svg>"]
    )


def _legend(names: Sequence[str]) -> list[str]:
    pieces = []
    for number, name in enumerate(names):
        left = LABEL + number * 110
        pieces += [_rect(left, 28, 10, COLOURS[number]), _text(left + 14, 38, name)]
    return pieces


def _row(top: int, row: Bar) -> list[str]:
    pieces, left = [_text(8, top + 14, row.label)], float(LABEL)
    for number, share in enumerate(row.parts):
        width = ROOM * share
        if width:
            pieces.append(_rect(left, top + 3, width, COLOURS[number]))
        left += width
    return [*pieces, _text(LABEL + ROOM + 8, top + 14, row.note)]


def _rect(left: float, top: int, width: float, colour: str) -> str:
    tall = 10 if top == 28 else ROW - 6
    return f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{tall}" fill="{colour}"/>'


def _text(left: float, top: int, content: str) -> str:
    return f'<text x="{left:.0f}" y="{top}">{escape(content)}</text>'


def _attribute(content: str) -> str:
    return escape(content, {'"': "&quot;"})
