"""A dataset's file as a table, whatever its format: a header, and rows of text with the line each begins at.

The format is told by the content, never by a name: CSV, JSON lines, Parquet, and workbooks (XLSX). Where rows have no
lines they are counted: a workbook's as it numbers them, Parquet's from 1.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TextIO

import msgspec

from backend.core.errors import ZhiwangError
from backend.services.registry_source import Source
from backend.services.registry_text import delimiter_of, encoding_of
from backend.services.registry_unpacking import Unpacked, Unreadable

LONGEST_LINE = 1024 * 1024
PARQUET, ZIP, OLD_OFFICE = b"PAR1", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"

Cells = list[str]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a row or a file is refused. `column` is the title of a column of the dataset, or the place of another."""

    line: int
    column: str
    code: str


class Row(NamedTuple):
    """One row as it came, with the line at which it begins."""

    line: int
    cells: Cells


@dataclass(frozen=True, slots=True)
class Rejected:
    """A refused row: where it begins in the file, the title of the column at fault, the reason, and what was in it."""

    line: int
    column: str
    code: str
    cells: Cells


class ImportRefused(ZhiwangError):
    """A file that is not taken over at all. `reasons` say where, and name nothing that stood there."""

    code = "import_refused"
    status = 422
    title_zh = "文件未导入，原有数据保持不变"
    title_en = "The file was not imported; the present records stay"

    def __init__(self, reasons: Sequence[Reason] = ()) -> None:
        super().__init__()
        self.reasons = list(reasons)


class ImportUnreadable(ImportRefused):
    """Damaged, cut off, under a password, of a format nobody knows, or far larger inside than any real file."""

    code = "import_unreadable"
    title_zh = "文件无法读取：已损坏、不完整、有密码，或解开后过大；未导入，原有数据保持不变"
    title_en = "The file cannot be read: damaged, incomplete, locked, or too large inside; the present records stay"


class ImportTruncated(ImportRefused):
    """The file ends in the middle of a row, so rows are missing that nobody can count."""

    code = "import_truncated"
    title_zh = "文件不完整，在一行中间结束；未导入，原有数据保持不变"
    title_en = "The file ends in the middle of a row; nothing was imported, the present records stay"


class Table(Protocol):
    """What every format gives.

    `titles` are those of the header as they stand in the file; of JSON lines, where each row names its own, the names
    that this dataset has. `given` are those titles that were seen so far, and complete once the rows were read.
    """

    titles: Cells
    given: set[str]
    header_line: int

    @property
    def open_end(self) -> bool:
        """Whether the text ended without an end of line; asked after each row."""

    def rows(self) -> Iterator[Row | Rejected]:
        """All rows, each with as many cells as there are titles. `ImportRefused` where the file turns out broken."""


def open_table(source: Source, known: Sequence[Sequence[str]]) -> Table:
    """Open a file. `known` are the names that each column of the dataset may have. Raises `ImportUnreadable`."""
    head = source.head()
    if head.startswith(OLD_OFFICE):
        raise ImportUnreadable
    if head.startswith((PARQUET, ZIP)):
        return _Packed(source, workbook=head.startswith(ZIP))
    encoding = encoding_of(head)
    # UTF-16 has no lone bytes that could be kept as they are.
    faults = "replace" if encoding == "utf-16" else "surrogateescape"
    text = io.TextIOWrapper(io.BufferedReader(source, _BUFFER), encoding=encoding, errors=faults, newline="")
    if head.lstrip(_BLANK).startswith(b"{"):
        return _JsonLines(text, known)
    return _Csv(text, [name for names in known for name in names])


class _Lines:
    """The lines of a text, bounded. `last` holds those since `begin`, and `open_end` says that the last has no end."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self.number = 0
        self.last: list[str] = []
        self.open_end = False

    def begin(self) -> None:
        self.last.clear()

    def __iter__(self) -> Iterator[str]:
        readline, last = self._text.readline, self.last
        while line := readline(LONGEST_LINE):
            self.number += 1
            if not line.endswith(("\n", "\r")):
                if len(line) == LONGEST_LINE:
                    raise ImportUnreadable([Reason(self.number, "", "too_long")])
                self.open_end = True
            last.append(line)
            yield line


class _Csv:
    """Quotes as in RFC 4180; what separates the cells is told by the header."""

    header_line = 1

    def __init__(self, text: TextIO, names: Sequence[str]) -> None:
        self._lines = _Lines(text)
        lines = iter(self._lines)
        first = next(lines, "")
        self._delimiter = delimiter_of(first, names)
        self._reader = csv.reader(_after(first, lines), delimiter=self._delimiter)
        self.titles = self._header()
        self.given = set(self.titles)

    @property
    def open_end(self) -> bool:
        return self._lines.open_end

    def rows(self) -> Iterator[Row | Rejected]:
        """Those that cannot be cut, or have another number of cells, are refused here."""
        width, reader, begin = len(self.titles), self._reader, self._lines.begin
        while True:
            line = reader.line_num + 1
            begin()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                yield Rejected(line, "", "unreadable", [])
                continue
            if self._lines.open_end and self._is_cut(len(cells)):
                raise ImportTruncated([Reason(line, "", "cut_off")])
            if not cells:
                continue
            yield Row(line, cells) if len(cells) == width else Rejected(line, "", "cell_count", cells)

    def _header(self) -> Cells:
        try:
            return [title.strip() for title in next(self._reader, [])]
        except csv.Error as error:
            raise ImportUnreadable([Reason(1, "", "unreadable")]) from error

    def _is_cut(self, width: int) -> bool:
        """Whether the last row of a file without an end of line is not whole: too short, or inside quotes."""
        if width < len(self.titles):
            return True
        try:
            list(csv.reader(self._lines.last, delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            return "unexpected end" in str(error)
        return False


class _JsonLines:
    """One object a line. Names are titles or field names; a part of a value is `owner.name` or an object inside."""

    header_line = 0

    def __init__(self, text: TextIO, known: Sequence[Sequence[str]]) -> None:
        self._lines = _Lines(text)
        self._places = {name: place for place, names in enumerate(known) for name in names}
        self.titles = [names[0] for names in known]
        self.given: set[str] = set()

    @property
    def open_end(self) -> bool:
        return self._lines.open_end

    def rows(self) -> Iterator[Row | Rejected]:
        """A line that is no object, or names what the dataset does not have, is refused."""
        seen: set[int] = set()
        for text in self._lines:
            if not text.strip():
                continue
            try:
                row = self._row(text, seen)
            except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
                if self._lines.open_end:
                    raise ImportTruncated([Reason(self._lines.number, "", "cut_off")]) from None
                row = Rejected(self._lines.number, "", "unreadable", [])
            self._lines.begin()
            yield row
        self.given = {self.titles[place] for place in seen}

    def _row(self, text: str, seen: set[int]) -> Row | Rejected:
        line, cells = self._lines.number, [""] * len(self.titles)
        for name, value in _members(_OBJECT.decode(text)):
            place = self._places.get(name)
            if place is None or isinstance(value, list | dict):
                return Rejected(line, "", "unknown_column" if place is None else "malformed", [])
            seen.add(place)
            cells[place] = _text(value)
        return Row(line, cells)


class _Packed:
    """Workbooks and Parquet, unpacked by a child process with limits."""

    open_end = False

    def __init__(self, source: Source, *, workbook: bool) -> None:
        try:
            self._unpacked = Unpacked(source, workbook=workbook)
        except Unreadable as error:
            raise ImportUnreadable from error
        self.header_line = self._unpacked.header_line
        self.titles = [title.strip() for title in self._unpacked.titles]
        self.given = set(self.titles)

    def rows(self) -> Iterator[Row | Rejected]:
        """A child that ends before its time leaves the file unreadable from there on."""
        line, width = self.header_line, len(self.titles)
        try:
            for line, cells in self._unpacked.rows():
                if any(cells):
                    yield Row(line, cells) if len(cells) == width else Rejected(line, "", "cell_count", cells)
        except Unreadable as error:
            raise ImportUnreadable([Reason(line, "", "unreadable")]) from error


def _after(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _members(given: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{part}", inner) for part, inner in value.items())
        else:
            yield name, value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


_BLANK = b"\xef\xbb\xbf \t\r\n"
_BUFFER = 128 * 1024
_OBJECT = msgspec.json.Decoder(dict[str, Any])
