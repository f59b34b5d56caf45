"""Writes the departments' CSV drops: the synthetic records as files, with a few bad rows as real files have."""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from backend.kinds.geodesy import SCALE
from backend.seed.synthetic import MAKERS, count_of
from backend.services.registry_specs import SPECS, Column, DatasetSpec, Shape

Progress = Callable[[str, int, int], None]
"""Called as `progress(step, done, total)`."""

REPORT_EVERY = 5_000
FIRST_BAD = 20

Cells = list[str]
Spoil = Callable[[DatasetSpec, Cells], Cells]


def write_drops(directory: Path, scale: float, progress: Progress) -> dict[str, Path]:
    """Write one file for each dataset, with Chinese titles, and say where each is.

    Each file has the records of its scale and a few bad rows besides (`bad_rows`), always in the same places.
    """
    directory.mkdir(parents=True, exist_ok=True)
    return {code: _write(directory / f"{code}.csv", spec, scale, progress) for code, spec in SPECS.items()}


def bad_rows(spec: DatasetSpec) -> list[Spoil]:
    """What is wrong in a drop besides its good rows, one row for each."""
    spoilt: list[Spoil] = [_without_key, _with_unknown_grid, _cut_short, _with_long_text, _twice]
    return [*spoilt, _with_wrong_check_digit, _with_bad_date] if spec.key is None else spoilt


def flat(spec: DatasetSpec, fields: dict[str, Any]) -> Cells:
    """A record as the cells of its line, in the order of the columns and in the words departments use."""
    return [_cell(column, _at(fields, column.name)) for column in spec.columns]


def _write(path: Path, spec: DatasetSpec, scale: float, progress: Progress) -> Path:
    total = count_of(spec.code, scale)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column.title for column in spec.columns])
        for done, line in enumerate(_lines(spec, total), start=1):
            writer.writerow(line)
            if done % REPORT_EVERY == 0:
                progress(f"write {spec.code}", min(done, total), total)
    progress(f"write {spec.code}", total, total)
    return path


def _lines(spec: DatasetSpec, total: int) -> Iterator[Cells]:
    """The good rows, and after the first of them the bad ones, each made from the row before it."""
    make = MAKERS[spec.code]
    for index in range(total):
        line = flat(spec, make(index))
        yield line
        if index == min(FIRST_BAD, total) - 1:
            yield from (spoil(spec, list(line)) for spoil in bad_rows(spec))


def _at(fields: dict[str, Any], name: str) -> Any:
    head, _, rest = name.partition(".")
    value = fields.get(head)
    return value.get(rest) if rest and isinstance(value, dict) else value


def _cell(column: Column, value: Any) -> str:
    if value is None:
        return ""
    if column.shape is Shape.DEGREES:
        return f"{value / SCALE:.7f}"
    if column.choices:
        return _titles(column).get(value, str(value))
    return str(value)


def _titles(column: Column) -> dict[str, str]:
    return {code: title for title, code in column.choices.items()}


def _place(spec: DatasetSpec, name: str) -> int:
    return next(place for place, column in enumerate(spec.columns) if column.name == name)


def _key(spec: DatasetSpec) -> int:
    return _place(spec, spec.key or "id_number")


def _without_key(spec: DatasetSpec, line: Cells) -> Cells:
    line[_key(spec)] = ""
    return line


def _with_unknown_grid(spec: DatasetSpec, line: Cells) -> Cells:
    line[_place(spec, "grid_id")] = "440399999999999"
    return line


def _cut_short(spec: DatasetSpec, line: Cells) -> Cells:
    return line[: len(spec.columns) // 2]


def _with_long_text(spec: DatasetSpec, line: Cells) -> Cells:
    line[_place(spec, "name")] = "测" * 300
    return line


def _twice(_: DatasetSpec, line: Sequence[str]) -> Cells:
    return list(line)


def _with_wrong_check_digit(spec: DatasetSpec, line: Cells) -> Cells:
    number = line[_key(spec)]
    line[_key(spec)] = number[:-1] + ("1" if number[-1] == "0" else "0")
    return line


def _with_bad_date(spec: DatasetSpec, line: Cells) -> Cells:
    line[_place(spec, "birth_date")] = "2001-02-30"
    return line
