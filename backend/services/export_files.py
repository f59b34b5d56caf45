"""Rows as the bytes of a file: CSV for people who open it in a spreadsheet, Parquet for programs."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from backend.core.clock import CITY_TIME
from backend.core.enums import ExportFormat
from backend.services import spreadsheets

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Content:
    """What goes into an export: its columns, its watermark and name, which every line repeats, and its rows."""

    fields: Sequence[str]
    mark: str
    export_id: str
    rows: Iterable[dict[str, Any]]


def written(format_: ExportFormat, content: Content) -> Iterator[bytes]:
    """The file, in blocks."""
    return _csv(content) if format_ is ExportFormat.CSV else _parquet(content)


def _csv(content: Content) -> Iterator[bytes]:
    """The watermark, the titles, and a line a row; what could begin a formula is disarmed."""
    yield spreadsheets.BYTE_ORDER_MARK + spreadsheets.line([content.mark])
    yield spreadsheets.line([*content.fields, "export_id"])
    for row in content.rows:
        cells = (spreadsheets.harmless(_text(row.get(name))) for name in content.fields)
        yield spreadsheets.line([*cells, content.export_id])


def _parquet(content: Content) -> Iterator[bytes]:
    """Numbers and flags as such, all else as text; the watermark is in the file's metadata as `zhiwang`.

    Made in memory: `EXPORT_MAX_ROWS` bounds it.
    """
    rows = [[_typed(row.get(name)) for name in content.fields] for row in content.rows]
    columns = {name: _series(name, [row[place] for row in rows]) for place, name in enumerate(content.fields)}
    frame = pl.DataFrame(columns).with_columns(pl.lit(content.export_id).alias("export_id"))
    file = io.BytesIO()
    frame.write_parquet(file, metadata={"zhiwang": content.mark})
    whole = file.getvalue()
    yield from (whole[start : start + BLOCK_BYTES] for start in range(0, len(whole), BLOCK_BYTES))


def _series(name: str, values: list[Any]) -> pl.Series:
    """A column of one type: text where the values are of several, or none is known."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and kinds:
        return pl.Series(name, values, dtype=pl.Float64 if float in kinds else pl.Int64)
    if kinds == {bool}:
        return pl.Series(name, values, dtype=pl.Boolean)
    return pl.Series(name, [None if value is None else _text(value) for value in values], dtype=pl.String)


def _typed(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else _text(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(CITY_TIME).isoformat(timespec="seconds")
    if isinstance(value, dict | list):
        return msgspec.json.encode(value).decode()
    return str(value)
