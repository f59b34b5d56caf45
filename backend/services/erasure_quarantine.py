"""Quarantined rows of somebody who was erased: a row about him goes, a row that only names him keeps the rest.

Its fingerprint goes in both cases: it would tell who guesses a content that he guessed right.
"""

import json
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend.core.crypto import key_ring
from backend.services.erased import named_in
from backend.services.sealing import FIRST_BLOB_BYTE

CONTEXT = b"quarantine"


def forget(session: Session, *, subjects: Sequence[bytes], kinds: Sequence[str]) -> dict[str, int]:
    """Remove rows about these subjects; `kinds` are those whose records are about a human."""
    run = session.connection().execute
    named = {"subjects": list(subjects), "kinds": list(kinds), "old": _sealed_by_the_ring(session, set(subjects))}
    removed = run(_DELETE, named).rowcount
    return {"quarantine": removed, "fingerprint": run(_UNLINK, named).rowcount}


def _sealed_by_the_ring(session: Session, subjects: set[bytes]) -> list[UUID]:
    """Rows of release 0.1.0 that name one of the subjects: they were not sealed by subject, so nothing else would."""
    ring, found = key_ring(), []
    for row in session.connection().execute(_OLD, {"below": FIRST_BLOB_BYTE}):
        content = ring.open_system(bytes(row.payload), context=CONTEXT)
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            continue
        if subjects.intersection(named_in(value)):
            found.append(row.id)
    return found


_NAMES = (
    "EXISTS (SELECT FROM unnest(CAST(:subjects AS bytea[])) AS gone (subject) WHERE position(subject IN payload) > 0)"
)
_OLD = text("SELECT id, payload FROM quarantine WHERE get_byte(payload, 0) < :below")
_DELETE = text(
    f"""
    DELETE FROM quarantine
    WHERE id = ANY(CAST(:old AS uuid[])) OR kind = ANY(:kinds) AND {_NAMES}
       OR EXISTS (SELECT FROM erased_subject e WHERE e.subject_id = uuid_send(quarantine.document_id))
    """
)
_UNLINK = text(
    f"""
    UPDATE quarantine SET fingerprint = uuid_send(id)
    WHERE kind <> ALL(:kinds) AND fingerprint <> uuid_send(id) AND {_NAMES}
    """
)
