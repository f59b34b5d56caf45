"""The refused rows of an import: kept sealed, and shown to data stewards as a CSV file."""

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from uuid import UUID

from sqlmodel import Session

from backend.services.objects import object_store
from backend.services.registry_files import SealedReader, SealedWriter
from backend.services.registry_rows import REASONS
from backend.services.registry_tables import Cells, Rejected
from backend.services.sealing import Vault
from backend.services.spreadsheets import BYTE_ORDER_MARK, harmless, line

TITLES = ["行号", "字段", "原因"]


class RejectFile:
    """Collects refused rows in a sealed file of its own; `store` puts it into the object store if there are any."""

    def __init__(self, session: Session, snapshot_id: UUID) -> None:
        self._session = session
        self._id = snapshot_id
        self._rows = 0

    def __enter__(self) -> Self:
        self._file: IO[bytes] = tempfile.NamedTemporaryFile()
        vault = Vault(self._session)
        vault.provide([self._id.bytes])
        key = vault.key_of(self._id.bytes)
        assert key is not None
        self._writer = SealedWriter(self._file, context=rejects_context(self._id), key=key)
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


def read_rejects(session: Session, snapshot_id: UUID, key: str) -> Iterator[bytes]:
    """The refused rows as CSV with a byte order mark, fit for a spreadsheet: no cell is read as a formula."""
    reader = rejects_reader(session, snapshot_id, key)
    rows = csv.reader(io.TextIOWrapper(io.BufferedReader(reader), encoding="utf-8", newline=""))
    yield BYTE_ORDER_MARK + line(next(rows))
    for row in rows:
        yield line([harmless(cell) for cell in row])


def rejects_reader(session: Session, snapshot_id: UUID, key: str) -> SealedReader:
    """The file as it was written."""
    vault = Vault(session)
    vault.load([snapshot_id.bytes])
    data_key = vault.key_of(snapshot_id.bytes)
    return SealedReader(object_store().stream(key), context=rejects_context(snapshot_id), key=data_key)


def rejects_context(snapshot_id: UUID) -> bytes:
    """What the frames of a reject file are bound to."""
    return b"rejects" + snapshot_id.bytes
