"""What writers need to know of erasures: the gate that keeps the two apart, and whom a value names.

A push that began before an erasure must not leave a blind index behind it. So writers of records hold the gate open
together, and an erasure passes it alone, for the moment in which it destroys keys and buries documents.
"""

from collections.abc import Iterator
from typing import Any

from sqlmodel import Session

from backend.core.statements import execute
from backend.kinds import identity_of
from backend.services.sealing import Subject, human

GATE = 0x7A770E5A


def hold_off(session: Session) -> None:
    """Keep erasures waiting until this transaction ends. Before the first key is read."""
    execute(session, _SHARED, {"gate": GATE})


def take_turn(session: Session) -> None:
    """Wait for the writers under way, and keep new ones waiting until this transaction ends: keep it short."""
    execute(session, _EXCLUSIVE, {"gate": GATE})


def named_in(value: Any) -> Iterator[Subject]:
    """The humans that a JSON value names by identity document, at any depth, declared or not."""
    if isinstance(value, dict):
        identity = identity_of(value)
        if identity is not None:
            yield human(identity.id_type, identity.id_number)
        value = value.values()
    elif not isinstance(value, list):
        return
    for item in value:
        if isinstance(item, dict | list):
            yield from named_in(item)


_SHARED = "SELECT pg_advisory_xact_lock_shared(%(gate)s::bigint)"
_EXCLUSIVE = "SELECT pg_advisory_xact_lock(%(gate)s::bigint)"
