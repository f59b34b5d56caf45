"""Identifiers made by the server: UUIDv7, so that they sort by time of creation.

They are made in Python because production may run a PostgreSQL older than 18, which has no `uuidv7()`.
"""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A fresh UUIDv7."""
    return uuid7()
