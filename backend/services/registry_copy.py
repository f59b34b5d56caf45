"""Rows on their way into `business_record`: COPY in a thread, beside whoever makes the next ones.

Making rows is Python's work and writing them PostgreSQL's: done in turns, each would wait for the other. Rows are
packed as PostgreSQL's documentation of COPY describes the binary format, in a third of what the driver needs for it.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import psycopg
from sqlmodel import Session

from backend.core import statements
from backend.services.records import Blocks
from backend.services.registry_sealing import RecordRow

COLUMNS = f"snapshot_id, record_key, line, body, sealed, {', '.join(Blocks._fields)}, content_digest"
SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
END = (-1).to_bytes(2, signed=True)
NULL = (-1).to_bytes(4, signed=True)
LENGTHS = [length.to_bytes(4) for length in range(4096)]
"""Most values are short, and making the four bytes anew is half of what packing costs."""


class Copier:
    """Appends packed rows in the session's transaction. Its connection is used here, but for the time of `paused`."""

    def __init__(self, session: Session) -> None:
        self._connection = statements.raw_connection(session)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="copy")
        self._going: Future[None] | None = None
        self._waiting: bytes | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is left; after a fault only wait, as the connection is about to be rolled back."""
        try:
            with self.paused():
                if error is not None:
                    self._waiting = None
            self._wait()
        except psycopg.Error:
            if error is None:
                raise
        finally:
            self._thread.shutdown()

    def add(self, rows: bytes) -> None:
        """Have rows written that `packed` made: they wait for the end of the next `paused`, or of all."""
        self._waiting = rows

    @contextmanager
    def paused(self) -> Iterator[None]:
        """For the length of the block the connection is free. Raises what went wrong while writing."""
        self._wait()
        yield
        rows, self._waiting = self._waiting, None
        if rows is not None:
            self._going = self._thread.submit(_copy, self._connection, rows)

    def _wait(self) -> None:
        going, self._going = self._going, None
        if going is not None:
            going.result()


def packed(snapshot_id: UUID, rows: Sequence[RecordRow]) -> bytes:
    """Rows in the binary format, signature and end included."""
    start = COUNT + LENGTHS[16] + snapshot_id.bytes
    parts = [SIGNATURE]
    for record_key, line, body, sealed, blocks, digest in rows:
        key = record_key.encode()
        parts += (start, LENGTHS[len(key)], key, LENGTHS[4], line.to_bytes(4), _length(body), body)
        for value in (sealed, *blocks, digest):
            if value is None:
                parts.append(NULL)
            else:
                parts += (_length(value), value)
    parts.append(END)
    return b"".join(parts)


def _length(value: bytes) -> bytes:
    length = len(value)
    return LENGTHS[length] if length < len(LENGTHS) else length.to_bytes(4)


def _copy(connection: psycopg.Connection[Any], rows: bytes) -> None:
    with connection.cursor() as cursor, cursor.copy(COPY) as copy:
        copy.write(rows)


COPY = f"COPY business_record ({COLUMNS}) FROM STDIN (FORMAT BINARY)"
COUNT = len(COLUMNS.split(",")).to_bytes(2)
