"""The one way to write a document in bytes, so that a replica and the server can compare hashes (RFC 8785).

Canonical is the document as the client has it, without `rev`, `op` and the client library's own underscore keys; an
absent `_deleted` counts as false. Of a tombstone only its id counts: what a device blanked in it is its own business.
"""

from hashlib import sha256
from typing import Any

import rfc8785

from backend.kinds import Document

LEFT_OUT = frozenset({"rev", "op"})
LARGEST_SAFE = 2**53 - 1


def canonical(document: Document) -> bytes:
    """The canonical bytes of a document on the wire."""
    if document.get("_deleted") is True:
        return rfc8785.dumps({"id": document["id"], "_deleted": True})
    kept = {name: _number_safe(value) for name, value in document.items() if _counts(name)}
    return rfc8785.dumps({**kept, "_deleted": False})


def hash_of(document: Document) -> str:
    """SHA-256 of the canonical bytes, in lower-case hexadecimal digits."""
    return sha256(canonical(document)).hexdigest()


def _counts(name: str) -> bool:
    return name not in LEFT_OUT and not name.startswith("_")


def _number_safe(value: Any) -> Any:
    """Numbers are doubles to a JavaScript client, so an integer beyond 2^53 is what it becomes there; one beyond all
    doubles becomes infinity, which JSON writes as null."""
    if isinstance(value, dict):
        return {name: _number_safe(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_number_safe(item) for item in value]
    if isinstance(value, int) and abs(value) > LARGEST_SAFE:
        try:
            return float(value)
        except OverflowError:
            return None
    return value
