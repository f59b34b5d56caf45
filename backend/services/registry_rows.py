"""Judges the rows of a dataset's table: good ones become fields, bad ones keep line, column and code.

The file is read in chunks, so memory does not grow with it; each chunk is checked with polars, whole columns at a time.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import polars as pl

from backend.kinds.geodesy import SCALE
from backend.services.registry_changes import CHANGE, DELETE
from backend.services.registry_specs import CHECKED_ID_TYPES, ID_TYPES, Column, DatasetSpec, Shape
from backend.services.registry_tables import Cells, ImportRefused, ImportTruncated, Reason, Rejected, Row, Table
from backend.services.registry_unpack import LOST

CHUNK_ROWS = 10_000
ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
ID_CHECKS = "10X98765432"
USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
USCC_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
NEITHER = -1_000

Fields = dict[str, Any]


REASONS = {
    "unreadable": "该行无法读取",
    "cell_count": "列数与表头不符",
    "bad_character": "含有无法识别的字符，或表格中的数字超过 15 位而失真（请将该列设为文本）",
    "cut_off": "文件在此行中间结束",
    "unknown_column": "数据集中没有此列",
    "repeated_column": "此列重复",
    "missing_column": "缺少此列",
    "vanished_column": "现有数据中有此列，文件中没有",
    "required": "缺少必填项",
    "too_long": "内容过长",
    "malformed": "格式不正确",
    "unknown_choice": "不在可选值之内",
    "out_of_bounds": "超出允许范围",
    "unknown_grid": "网格编码不存在",
    "check_digit": "校验位不正确",
    "duplicate_key": "与文件中前面的记录重复",
    "erased": "该人员的信息已依法删除，不再导入",
}
"""Why a row is refused: code, and what people read."""


class ImportHeader(ImportRefused):
    """The file is no table with the columns of its dataset."""

    code = "import_header"
    title_zh = "文件的表头与数据集不符，未导入任何数据"
    title_en = "The file's header does not fit the dataset; nothing was imported"


class Accepted(NamedTuple):
    """A good row: where it begins in the file, its fields, and what was in it."""

    line: int
    fields: Fields
    cells: Cells


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a file, good rows in the order of the file; `read` counts all rows."""

    good: list[Accepted]
    rejected: list[Rejected]
    read: int


class DatasetFile:
    """One open table of a dataset. `ImportHeader` is raised at once where the header does not fit."""

    def __init__(self, table: Table, spec: DatasetSpec, *, grids: Collection[str]) -> None:
        self.spec = spec
        self._table = table
        self.header = table.titles
        self._columns = _columns_of(table, spec)
        self._grids = pl.Series(list(grids), dtype=pl.String)
        self._checks = _checks(spec, self._grids)

    def chunks(self, size: int = CHUNK_ROWS) -> Iterator[Chunk]:
        """The file in parts of `size` rows. `ImportTruncated` where its last row has no end and is not good either."""
        rows = self._table.rows()
        while batch := list(islice(rows, size)):
            chunk = self._judge(batch)
            if self._table.open_end and chunk.rejected and chunk.rejected[-1].line == batch[-1].line:
                raise ImportTruncated([Reason(batch[-1].line, "", "cut_off")])
            yield chunk

    @property
    def given(self) -> set[str]:
        """The names of the columns that were seen; all of them once the file was read."""
        by_title = _by_title(self.spec)
        return {by_title[title].name for title in self._table.given if title in by_title}

    def _judge(self, batch: Sequence[Row | Rejected]) -> Chunk:
        rejected = [row for row in batch if type(row) is Rejected]
        rows, undecodable = _apart([row for row in batch if type(row) is Row])
        rejected += undecodable
        frame = self._frame(rows)
        problems = self._problems(frame)
        rejected += [Rejected(rows[place].line, *problem, rows[place].cells) for place, problem in problems.items()]
        kept = [row for place, row in enumerate(rows) if place not in problems]
        bad_places = pl.Series(list(problems), dtype=pl.Int64).implode()
        good = frame.filter(~pl.int_range(pl.len()).is_in(bad_places))
        fields = _fields(self.spec, good.select(_converted(column) for column in self.spec.columns))
        accepted = [Accepted(row.line, values, row.cells) for row, values in zip(kept, fields, strict=True)]
        return Chunk(accepted, sorted(rejected, key=lambda bad: bad.line), len(batch))

    def _frame(self, rows: Sequence[Row]) -> pl.DataFrame:
        """All columns of the dataset as text, trimmed; empty cells and columns the file lacks are null."""
        cells = list(zip(*(row.cells for row in rows), strict=True)) or [()] * len(self.header)
        columns = zip(self._columns, cells, strict=True)
        given = {column.name: values for column, values in columns if column is not None}
        frame = pl.DataFrame(given, schema=dict.fromkeys(given, pl.String))
        absent = [pl.lit(None, pl.String).alias(c.name) for c in self.spec.columns if c.name not in given]
        trimmed = [pl.col(name).str.strip_chars() for name in given]
        return frame.with_columns(trimmed).with_columns(
            [pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in given] + absent
        )

    def _problems(self, frame: pl.DataFrame) -> dict[int, tuple[str, str]]:
        """The first problem of each bad row, by its place in the frame: title of the column, and code."""
        found: dict[int, tuple[str, str]] = {}
        verdicts = frame.select(
            [bad.fill_null(value=False).alias(str(n)) for n, (_, _, bad) in enumerate(self._checks)]
        )
        for (title, code, _), column in zip(self._checks, verdicts.iter_columns(), strict=True):
            for place in column.arg_true().to_list():
                found.setdefault(place, (title, code))
        return found


def names_of(spec: DatasetSpec) -> list[tuple[str, ...]]:
    """What each column of the dataset may be called in a file, and each that is left unread."""
    names = [tuple(filter(None, (column.alias, column.title, column.name))) for column in spec.columns]
    return [*names, *((title,) for title in sorted(spec.ignored))]


def _by_title(spec: DatasetSpec) -> dict[str, Column]:
    """A title of the dataset goes before what one department calls another of its columns."""
    aliases = {column.alias: column for column in spec.columns if column.alias}
    own = {column.name: column for column in spec.columns} | {column.title: column for column in spec.columns}
    return aliases | own


def _columns_of(table: Table, spec: DatasetSpec) -> list[Column | None]:
    """The column of each cell, None where it is left unread. Titles and field names are both understood."""
    by_title, line = _by_title(spec), table.header_line
    names = [title if title in spec.ignored else _name(by_title.get(title)) for title in table.titles]
    # A file without a header has people where titles should be: what is not known is named by its place.
    faults = [
        Reason(line, f"第{place}列", "unknown_column" if not name else "repeated_column")
        for place, name in enumerate(names, 1)
        if not name or name in names[: place - 1]
    ]
    missing = [column.title for column in spec.columns if column.required and column.name not in names]
    faults += [Reason(line, title, "missing_column") for title in missing]
    if faults:
        raise ImportHeader(faults)
    return [by_title.get(title) for title in table.titles]


def _name(column: Column | None) -> str:
    return column.name if column else ""


def _apart(rows: list[Row]) -> tuple[list[Row], list[Rejected]]:
    """Separate rows with what could not be read, or NUL, which PostgreSQL cannot hold. Usually there are none."""
    if _storable("".join([cell for row in rows for cell in row.cells])):
        return rows, []
    bad = [Rejected(row.line, "", "bad_character", row.cells) for row in rows if not _storable("".join(row.cells))]
    refused = {rejected.line for rejected in bad}
    return [row for row in rows if row.line not in refused], bad


def _storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text and LOST not in text


Check = tuple[str, str, pl.Expr]
"""Title of the column, code of the problem, and where it holds."""


def _checks(spec: DatasetSpec, grids: pl.Series) -> list[Check]:
    titles = {column.name: column.title for column in spec.columns}
    checks = [check for column in spec.columns for check in _column_checks(column)]
    if CHANGE in spec.columns:
        checks = _relaxed(checks, spec)
    if "grid_id" in titles:
        checks.append((titles["grid_id"], "unknown_grid", ~pl.col("grid_id").is_in(grids.implode())))
    checks += [(titles[number], "check_digit", _wrong_identity(kind, number)) for kind, number in spec.identities]
    if "uscc" in titles:
        checks.append((titles["uscc"], "check_digit", _wrong_uscc()))
    for head in sorted(spec.nested & {name.partition(".")[0] for name in titles}):
        if f"{head}.name" not in titles:
            continue
        parts = [name for name in titles if name.startswith(f"{head}.")]
        given = pl.any_horizontal(pl.col(name).is_not_null() for name in parts)
        checks.append((titles[f"{head}.name"], "required", given & pl.col(f"{head}.name").is_null()))
    if "location.lat" in titles:
        half = pl.col("location.lat").is_null() != pl.col("location.lon").is_null()
        checks.append((titles["location.lat"], "required", half))
    return checks


def _relaxed(checks: list[Check], spec: DatasetSpec) -> list[Check]:
    """Of a row that takes a record away only the key has to be there."""
    stays = pl.col(CHANGE.name).replace(CHANGE.choices).eq_missing(DELETE).not_()
    keys = {column.title for column in spec.columns if column.name in (spec.key, *(("id_type", "id_number")))}
    return [(title, code, bad if code != "required" or title in keys else bad & stays) for title, code, bad in checks]


def _column_checks(column: Column) -> Iterator[Check]:
    cell = pl.col(column.name)
    if column.required:
        yield column.title, "required", cell.is_null()
    yield column.title, "too_long", cell.str.len_chars() > column.longest
    if column.pattern:
        yield column.title, "malformed", ~cell.str.contains(column.pattern)
    if column.choices:
        yield column.title, "unknown_choice", ~cell.is_in([*column.choices, *column.choices.values()])
    if column.shape is Shape.DATE:
        no_date = cell.str.to_date("%Y-%m-%d", strict=False).is_null() | ~cell.str.contains(r"^\d{4}-\d{2}-\d{2}$")
        yield column.title, "malformed", cell.is_not_null() & no_date
    if column.shape in (Shape.INTEGER, Shape.DEGREES):
        number = cell.cast(pl.Int64 if column.shape is Shape.INTEGER else pl.Float64, strict=False)
        yield column.title, "malformed", cell.is_not_null() & number.is_null()
        if column.bounds:
            yield column.title, "out_of_bounds", ~number.is_between(*column.bounds)


def _wrong_identity(kind: str, number: str) -> pl.Expr:
    """Citizen ids and residence permits: 18 characters with the right check character (GB 11643)."""
    text = pl.col(number).str.to_uppercase()
    right = text.str.slice(17, 1) == _weighed(text, ID_WEIGHTS, "0123456789").mod(11).replace_strict(
        dict(enumerate(ID_CHECKS)), return_dtype=pl.String, default=None
    )
    checked = pl.col(kind).replace(ID_TYPES).is_in(CHECKED_ID_TYPES)
    return checked & text.is_not_null() & ~(text.str.contains(r"^\d{17}[\dX]$") & right).fill_null(value=False)


def _wrong_uscc() -> pl.Expr:
    """Unified social credit codes: the last character is a check character (GB 32100)."""
    text = pl.col("uscc")
    check = (31 - _weighed(text, USCC_WEIGHTS, USCC_ALPHABET).mod(31)).mod(31)
    return text.str.slice(17, 1) != check.replace_strict(
        dict(enumerate(USCC_ALPHABET)), return_dtype=pl.String, default=None
    )


def _weighed(text: pl.Expr, weights: Sequence[int], alphabet: str) -> pl.Expr:
    """The weighted sum of the values of the first characters."""
    values = {character: value for value, character in enumerate(alphabet)}
    digits = [
        text.str.slice(place, 1).replace_strict(values, default=NEITHER, return_dtype=pl.Int64) * weight
        for place, weight in enumerate(weights)
    ]
    return pl.sum_horizontal(digits)


def _converted(column: Column) -> pl.Expr:
    """The cell as its value: codes for titles, integers, 1e-7 degrees."""
    cell = pl.col(column.name)
    if column.name.endswith("id_number"):
        return cell.str.to_uppercase()
    if column.choices:
        return cell.replace(column.choices)
    if column.shape is Shape.INTEGER:
        return cell.cast(pl.Int64)
    if column.shape is Shape.DEGREES:
        return (cell.cast(pl.Float64) * SCALE).round().cast(pl.Int64)
    return cell


def _fields(spec: DatasetSpec, frame: pl.DataFrame) -> list[Fields]:
    """Rows as fields; empty cells are absent, parts of a value are put together."""
    names = [column.name for column in spec.columns]
    if not any("." in name for name in names):
        return [
            {name: value for name, value in zip(names, values, strict=True) if value is not None}
            for values in frame.iter_rows()
        ]
    paths = [column.name.partition(".")[::2] for column in spec.columns]
    made: list[Fields] = []
    for values in frame.iter_rows():
        fields: Fields = {}
        for (head, rest), value in zip(paths, values, strict=True):
            if value is None:
                continue
            if rest:
                fields.setdefault(head, {})[rest] = value
            else:
                fields[head] = value
        if "location" in fields:
            fields["location"]["datum"] = "wgs84"
        made.append(fields)
    return made
