"""What a batch is decided from, and what it adds up to: plain values, no I/O.

The API fills and writes them with PostgreSQL (`sync.store`, `sync.review`, `sync.feed`), the simulator in memory.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from backend.core.enums import Kind, Outcome, QuarantineCode
from sync.rules import State


@dataclass(slots=True)
class Version:
    """One version of a document, opened."""

    version: int
    op: UUID
    grid_id: str
    state: State


@dataclass(slots=True)
class Known:
    """All that the server knows of one document and that a batch needs.

    `hidden`: the document is there and the caller may not see it, so its version stands here without content.
    `living`: what a deleted document was before its delete, as far as rows that are no deletes ask.
    `numbered`: versions from before the first restore by their number: of each row without a base that has a `rev` the
    one of that number, or where a restore took it the last one that was left before it.
    `owned`: what departments have written, by field (`sync.authority`); of a deleted document what they had written.
    `was_restored`: the server was restored once, as far as rows without a base ask.
    """

    id: UUID
    kind: Kind | None = None
    master: Version | None = None
    hidden: bool = False
    living: State | None = None
    named: dict[UUID, Version] = field(default_factory=dict)
    numbered: dict[int, Version] = field(default_factory=dict)
    was_restored: bool = False
    ops: set[UUID] = field(default_factory=set)
    last_pushed: tuple[State, int] | None = None
    fingerprints: dict[UUID, bytes] = field(default_factory=dict)
    owned: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A row that a batch pushes: which versions and ledger entries of its document matter.

    `rev` stands where no base is named: the number of the version that the device last got.
    """

    document_id: UUID
    op: UUID
    assumed_op: UUID | None
    deleted: bool
    rev: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A ledger row to be written, with the pushed content that the next edit is compared against."""

    document_id: UUID
    op: UUID
    kind: Kind
    outcome: Outcome
    fingerprint: bytes
    base_version: int | None = None
    version: int | None = None
    pushed: State | None = None
    client_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """A version to be written."""

    document_id: UUID
    kind: Kind
    version: Version
    captured_at: str | None


@dataclass(frozen=True, slots=True)
class Author:
    """Who pushes; both are absent for the server's own versions."""

    account_id: UUID | None
    device_id: UUID | None


@dataclass(frozen=True, slots=True)
class Held:
    """A row to be quarantined, with all its bytes."""

    kind: Kind
    code: QuarantineCode
    content: bytes
    fingerprint: bytes
    places: list[str]
    document_id: UUID | None
    op: UUID | None
    grid_id: str | None


class Touch(NamedTuple):
    """That a document changed in, came to, or left a grid."""

    grid_id: str
    document_id: UUID
    kind: Kind
