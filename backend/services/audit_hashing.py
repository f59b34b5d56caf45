"""What a hash of the audit trail is taken over, and how batches are chained.

The canonical form of an entry is its row as PostgreSQL writes a composite value, in UTF-8: `(id,at,actor,action,
object_type,object_id,request_id,detail)`. `at` is 16 hexadecimal digits, microseconds since 2000-01-01 UTC; null is
nothing; a value that is empty or holds a quote, backslash, comma, bracket or white space stands in quotes, quotes and
backslashes in it doubled. So an auditor gets the same hashes from `psql` alone, without any code of ours:

    SELECT e.id, sha256(CANONICAL) FROM audit_entry e

    entry hash = SHA-256(canonical form)
    head       = SHA-256(previous head ‖ number of the batch, 8 bytes big endian ‖ entry hashes in order)

The first batch's previous head is 32 zero bytes.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlmodel import Session

from backend.core.statements import raw_connection

HASH_BYTES = 32
NO_HEAD = bytes(HASH_BYTES)

CANONICAL = """
    convert_to(CAST(ROW(e.id, encode(timestamptz_send(e.at), 'hex'), e.actor, e.action, e.object_type, e.object_id,
                        e.request_id, e.detail) AS text), 'UTF8')
"""
"""The canonical form as an expression over the entry `e`."""

ID_PLACE = slice(1, 37)
AT_PLACE = slice(38, 54)
"""Where the id and the time stand in the canonical form."""


def canonical(
    entry_id: str,
    at: datetime,
    actor: str,
    action: str,
    object_type: str,
    object_id: str,
    request_id: str | None,
    detail: str,
) -> bytes:
    """The canonical form, made from the values of an entry; `detail` is the stored text."""
    moment = (microseconds(at) - EPOCH_2000) & 0xFFFF_FFFF_FFFF_FFFF
    named = f"{actor},{action},{object_type},{object_id},{request_id or ''},"
    if not _PLAIN.fullmatch(named) or request_id == "":
        named = "".join(f"{_field(value)}," for value in (actor, action, object_type, object_id, request_id))
    return f"({entry_id},{moment:016x},{named}{_field(detail)})".encode()


def entry_hash(form: bytes) -> bytes:
    """The SHA-256 of an entry in its canonical form."""
    return sha256(form).digest()


def batch_head(previous: bytes, number: int, entry_hashes: Iterable[bytes]) -> bytes:
    """The head of a batch: it commits to its entries, their order, its number, and all batches before it."""
    return sha256(previous + number.to_bytes(8, "big") + b"".join(entry_hashes)).digest()


def time_of(form: bytes) -> int:
    """The time in a canonical form, in microseconds since 1970."""
    return int.from_bytes(bytes.fromhex(form[AT_PLACE].decode()), "big", signed=True) + EPOCH_2000


def exact(column: str) -> str:
    """A time column as microseconds since 2000 in SQL; no error even where somebody wrote `infinity` into it."""
    return f"CAST(CAST('x' || encode(timestamptz_send({column}), 'hex') AS bit(64)) AS bigint)"


def fetch(session: Session, query: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of a query in the binary format, in which bytes cost nothing to read."""
    with raw_connection(session).cursor(binary=True) as cursor:
        return cursor.execute(query, values).fetchall()


def microseconds(moment: datetime) -> int:
    """A moment in microseconds since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment_of(count: int) -> datetime:
    """The reverse of `microseconds`; times that no calendar has become the first or the last one it has."""
    return _EPOCH + timedelta(microseconds=min(max(count, _FIRST), _LAST))


def _field(value: str | None) -> str:
    if value is None:
        return ""
    if value and not _QUOTED.search(value):
        return value
    doubled = value.replace("\\", "\\\\").replace('"', '""')
    return f'"{doubled}"'


_PLAIN = re.compile(r"(?:[\w.:-]+,){4}[\w.:-]*,", re.ASCII)
"""Five names of ours, none of which needs quotes: nearly all entries."""
_QUOTED = re.compile(r'["\\(),\s]', re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = microseconds(datetime.min.replace(tzinfo=UTC))
_LAST = microseconds(datetime.max.replace(tzinfo=UTC))
EPOCH_2000 = microseconds(datetime(2000, 1, 1, tzinfo=UTC))
