"""Cells and lines of CSV files that people open in a spreadsheet."""

import csv
import io
from collections.abc import Sequence

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""The full-width ones too: East Asian editions of spreadsheets read them as the narrow ones."""


def harmless(cell: str) -> str:
    """A cell that no spreadsheet runs: what looks like a formula gets an apostrophe before it."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


def line(cells: Sequence[str]) -> bytes:
    """One line of CSV in UTF-8. What UTF-8 cannot write is written as an escape."""
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode("utf-8", "backslashreplace")
