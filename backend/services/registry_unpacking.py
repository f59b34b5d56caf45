"""Workbooks and Parquet: given to a child process with limits (`registry_unpack`), taken back as rows of text.

The file goes over in memory: nothing readable is ever written to disk. `MAX_IMPORT_BYTES` bounds what comes back too.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from backend.core.logging import get_logger
from backend.core.settings import get_settings
from backend.services.registry_source import Source

MEMORY_BYTES = 2 * 1024**3
"""Address space. A full sheet of a million rows takes half of it; the libraries reserve some hundred megabytes."""
CPU_SECONDS = 240
BLOCK_BYTES = 1024 * 1024
PROGRAM = Path(__file__).with_name("registry_unpack.py")

log = get_logger(__name__)


class Unreadable(Exception):
    """The child ended before it came to the end of the file, or gave more than a file may hold."""


class Unpacked:
    """A packed table on its way through the child. `Unreadable` at once where there is no header to be had."""

    def __init__(self, source: Source, *, workbook: bool) -> None:
        self._process = _start(source, "xlsx" if workbook else "parquet")
        assert self._process.stdout is not None
        self._lines: IO[bytes] = self._process.stdout
        self._left = get_settings().max_import_bytes
        begun = self._next()
        self.titles: list[str] = begun["titles"]
        self.header_line: int = begun["line"]
        self.count: int = begun["rows"]

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Each row with its line. The child is gone afterwards, however this ends."""
        try:
            while (batch := self._next()) is not None:
                yield from batch
        finally:
            self._end()

    def _next(self) -> Any:
        line = self._lines.readline(self._left + 1)
        self._left -= len(line)
        if self._left < 0 or not line.endswith(b"\n"):
            self._end()
            log.warning("table not unpacked", exit_code=self._process.returncode, too_large=self._left < 0)
            raise Unreadable
        return msgspec.json.decode(line)

    def _end(self) -> None:
        self._process.kill()
        self._lines.close()
        self._process.wait()


def _start(source: Source, kind: str) -> subprocess.Popen[bytes]:
    descriptor = os.memfd_create("table")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as memory:
            while block := source.read(BLOCK_BYTES):
                memory.write(block)
        return subprocess.Popen(
            [sys.executable, "-I", str(PROGRAM), str(descriptor), kind, str(MEMORY_BYTES), str(CPU_SECONDS)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[descriptor],
            env={"LC_ALL": "C.UTF-8", "POLARS_MAX_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
            cwd="/",
        )
    finally:
        os.close(descriptor)
