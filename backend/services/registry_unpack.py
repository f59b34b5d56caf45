"""Runs alone, as a child with limits: turns a packed table, given as an open file, into lines of JSON.

`python registry_unpack.py FD xlsx|parquet MEMORY_BYTES CPU_SECONDS`. The first line is `{titles, line, rows}`, each
other one a list of `[line, cells…]`, and the last is `null`: without it the file was not whole, or not within the
limits. A packed file of a few kilobytes may hold gigabytes, and one that is made to do harm may lie about its sizes;
so what bounds it is what this process may have, and nothing the file says.
"""

import datetime as dt
import os
import resource
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

BATCH_ROWS = 1000
EXACT_FLOAT = 10**15
"""A spreadsheet keeps 15 digits of a number: a longer one, as of an id, is not what was typed."""
LOST = "\ufffd"
"""What stands for such a number: the row is refused as unreadable."""

Numbered = tuple[int, list[str]]


def unpack(path: str, kind: str) -> Iterator[bytes]:
    """The lines to be written."""
    titles, line, count, rows = _workbook(path) if kind == "xlsx" else _parquet(path)
    yield msgspec.json.encode({"titles": titles, "line": line, "rows": count})
    while batch := list(islice(rows, BATCH_ROWS)):
        yield msgspec.json.encode(batch)
    yield b"null"


def _workbook(path: str) -> tuple[list[str], int, int, Iterator[Numbered]]:
    """The first sheet that is shown; its first row that holds something is the header."""
    from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

    book = CalamineWorkbook.from_path(path)
    shown = [
        sheet.name
        for sheet in book.sheets_metadata
        if sheet.visible is SheetVisibleEnum.Visible and sheet.typ is SheetTypeEnum.WorkSheet
    ]
    sheet = book.get_sheet_by_name(shown[0])
    first = (sheet.start or (0, 0))[0] + 1
    rows = iter(sheet.iter_rows())
    titles = [_cell(value) for value in next(rows, [])]
    while titles and not titles[-1].strip():
        titles.pop()
    return titles, first, sheet.height, _numbered(rows, first + 1, len(titles))


def _numbered(rows: Iterable[list[Any]], first: int, width: int) -> Iterator[Numbered]:
    """Cells beyond the header count only where they hold something: then the row has too many."""
    for line, values in enumerate(rows, first):
        cells = [_cell(value) for value in values]
        while len(cells) > width and not cells[-1]:
            cells.pop()
        yield line, cells


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(float(value))
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    return str(value)


def _number(value: float) -> str:
    if abs(value) >= EXACT_FLOAT:
        return LOST
    return str(int(value)) if value.is_integer() else repr(value)


def _parquet(path: str) -> tuple[list[str], int, int, Iterator[Numbered]]:
    import polars as pl

    frame = pl.scan_parquet(path)
    schema = frame.collect_schema()
    columns = [expression for name, kind in schema.items() for expression in _texts(pl, pl.col(name), name, kind)]
    count = frame.select(pl.len()).collect().item()
    batches = frame.select(columns).collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)
    rows = (row for batch in batches for row in batch.iter_rows())
    titles = frame.select(columns).collect_schema().names()
    return titles, 0, count, ((line, list(row)) for line, row in enumerate(rows, 1))


def _texts(pl: Any, column: Any, name: str, kind: Any) -> Iterator[Any]:
    """A column as text; a structure as one column for each of its parts."""
    if isinstance(kind, pl.Struct):
        for part in kind.fields:
            yield from _texts(pl, column.struct.field(part.name), f"{name}.{part.name}", part.dtype)
        return
    text = column.cast(pl.String)
    if kind.is_float():
        # Numbers become floats on the way through tools that know no missing integer.
        whole = (column == column.round()) & (column.abs() < EXACT_FLOAT)
        text = pl.when(whole).then(column.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(text)
    yield text.fill_null("").alias(name)


def main() -> None:
    """Bound this process, then read."""
    descriptor, kind, memory, seconds = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = sys.stdout.buffer
    for line in unpack(f"/proc/self/fd/{descriptor}", kind):
        out.write(line + b"\n")
    out.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
