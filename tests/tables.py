"""Files as departments write them: the same table in every format that imports take."""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

import polars as pl

Lines = Sequence[Sequence[str]]

_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_PARTS = {
    "[Content_Types].xml": (
        f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" '
        'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>'
    ),
    "_rels/.rels": (
        f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{_OFFICE}/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>'
    ),
    "xl/workbook.xml": (
        f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}/relationships"><sheets>'
        '<sheet name="说明" sheetId="1" state="hidden" r:id="r1"/><sheet name="数据" sheetId="2" r:id="r2"/>'
        "</sheets></workbook>"
    ),
    "xl/_rels/workbook.xml.rels": (
        f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="r1" Type="{_OFFICE}/relationships/worksheet" Target="worksheets/note.xml"/>'
        f'<Relationship Id="r2" Type="{_OFFICE}/relationships/worksheet" Target="worksheets/data.xml"/>'
        "</Relationships>"
    ),
    "xl/worksheets/note.xml": f'<worksheet xmlns="{_MAIN}"><sheetData/></worksheet>',
}


def csv_text(lines: Lines, delimiter: str = ",") -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerows(lines)
    return file.getvalue()


def json_lines(lines: Lines) -> bytes:
    """Empty cells are left out, as programs do."""
    titles, *rows = lines
    objects = [{title: cell for title, cell in zip(titles, row, strict=True) if cell} for row in rows]
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in objects).encode()


def parquet(lines: Lines) -> bytes:
    titles, *rows = lines
    file = io.BytesIO()
    pl.DataFrame({title: [row[place] or None for row in rows] for place, title in enumerate(titles)}).write_parquet(
        file
    )
    return file.getvalue()


def workbook(lines: Lines, *, cells: str = "") -> bytes:
    """`cells` are put into one more row as they are."""
    rows = ["".join(_text(cell) for cell in line) for line in lines]
    return packed("".join(f"<row>{row}</row>" for row in [*rows, *([cells] if cells else [])]))


def packed(rows: str) -> bytes:
    """A workbook around the inside of a sheet, whose second sheet is the first that is shown."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as parts:
        for name, content in _PARTS.items():
            parts.writestr(name, content)
        parts.writestr(
            "xl/worksheets/data.xml", f'<worksheet xmlns="{_MAIN}"><sheetData>{rows}</sheetData></worksheet>'
        )
    return file.getvalue()


def _text(cell: str) -> str:
    return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(cell)}</t></is></c>' if cell else "<c/>"


FORMATS: dict[str, Callable[[Lines], bytes]] = {
    "csv": lambda lines: csv_text(lines).encode(),
    "csv with a mark": lambda lines: csv_text(lines).encode("utf-8-sig"),
    "gb18030": lambda lines: csv_text(lines).encode("gb18030"),
    "utf-16": lambda lines: csv_text(lines, "\t").encode("utf-16"),
    "semicolons": lambda lines: csv_text(lines, ";").encode(),
    "bars in gb18030": lambda lines: csv_text(lines, "|").encode("gb18030"),
    "json lines": json_lines,
    "parquet": parquet,
    "workbook": workbook,
}
PACKED = ("parquet", "workbook")
