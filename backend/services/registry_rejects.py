"""The refused rows of an import: kept sealed, and shown to data stewards as a CSV file."""

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from uuid import UUID

from backend.services.objects import object_store
from backend.services.registry_files import SealedReader, SealedWriter
from backend.services.registry_rows import REASONS, Cells, Rejected
from backend.services.spreadsheets import BYTE_ORDER_MARK, harmless, line

TITLES = ["行号", "字段", "原因"]


class RejectFile:
    """Collects refused rows in a sealed file of its own; `store` puts it into the object store if there are any."""

    def __init__(self, snapshot_id: UUID) -> None:
        self._id = snapshot_id
        self._rows = 0

    def __enter__(self) -> Self:
        self._file: IO[bytes] = tempfile.NamedTemporaryFile()
        self._writer = SealedWriter(self._file, context=_context(self._id))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def begin(self, header: Cells) -> None:
        """Write the header: line, column and reason before the file's own titles."""
        self._writer.write(line([*TITLES, *header]))

    def add(self, rows: Iterable[Rejected]) -> None:
        """Append refused rows as they came."""
        for row in rows:
            self._writer.write(line([str(row.line), row.column, f"{REASONS[row.code]} {row.code}", *row.cells]))
            self._rows += 1

    def store(self) -> str | None:
        """Keep the file and give its key; None where no row was refused."""
        if not self._rows:
            return None
        self._writer.close()
        self._file.flush()
        key = f"rejects/{self._id}"
        object_store().put(key, Path(self._file.name))
        return key


def read_rejects(snapshot_id: UUID, key: str) -> Iterator[bytes]:
    """The refused rows as CSV with a byte order mark, fit for a spreadsheet: no cell is read as a formula."""
    reader = SealedReader(object_store().stream(key), context=_context(snapshot_id))
    rows = csv.reader(io.TextIOWrapper(io.BufferedReader(reader), encoding="utf-8", newline=""))
    yield BYTE_ORDER_MARK + line(next(rows))
    for row in rows:
        yield line([harmless(cell) for cell in row])


def _context(snapshot_id: UUID) -> bytes:
    return b"rejects" + snapshot_id.bytes
