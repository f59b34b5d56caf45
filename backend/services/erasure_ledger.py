"""The ledger of erasures: a file outside the database, so that a restored backup can be told whom to forget again.

One JSON object a line: `at`, `type`, `subject` (base64 of its 16 bytes), `documents` (ids), `reason`, `run` (id of the
erasure). No personal values: a subject id is a keyed hash or a random id. A line is on disk before the transaction
commits that it speaks of; one that then rolled back is harmless, as its erasure was approved and runs again.
"""

import base64
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec

from backend.core.enums import ErasureReason, SubjectType
from backend.services.objects import flush_to_disk


class LedgerDamaged(Exception):
    """A line of the ledger cannot be read. A restore must not go on without knowing whom to forget."""


@dataclass(frozen=True, slots=True)
class Line:
    """One erasure: enough to do it again."""

    at: datetime
    type: SubjectType
    subject: bytes
    documents: tuple[UUID, ...]
    reason: ErasureReason
    run: UUID


class _Wire(msgspec.Struct):
    at: datetime
    subject: str
    documents: list[UUID]
    reason: ErasureReason
    run: UUID
    type: SubjectType = SubjectType.HUMAN


def append(path: Path, line: Line) -> None:
    """Add a line and have it on disk before returning. `OSError` where that is impossible."""
    _make_folder(path.parent)
    wire = _Wire(
        line.at,
        base64.b64encode(line.subject).decode(),
        list(line.documents),
        line.reason,
        line.run,
        line.type,
    )
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, _break_after(descriptor) + msgspec.json.encode(wire) + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    flush_to_disk(path.parent)


def read(path: Path) -> Iterator[Line]:
    """The lines, oldest first; none where there is no file. `LedgerDamaged` for a line that is none.

    A line without its end was cut off by a crash before its erasure could commit, so it is passed over.
    """
    content = path.read_bytes() if path.exists() else b""
    whole, _, _ = content.rpartition(b"\n")
    for number, raw in enumerate(whole.split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            wire = msgspec.json.decode(raw, type=_Wire)
            subject = base64.b64decode(wire.subject, validate=True)
        except (msgspec.DecodeError, ValueError) as error:
            if not raw.endswith(b"}"):
                continue
            raise LedgerDamaged(f"line {number}") from error
        yield Line(wire.at, wire.type, subject, tuple(wire.documents), wire.reason, wire.run)


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flush_to_disk(folder.parent)


def _break_after(descriptor: int) -> bytes:
    """A line break, where the last line was cut off by a crash."""
    size = os.fstat(descriptor).st_size
    return b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""
