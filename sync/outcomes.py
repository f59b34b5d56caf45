"""What became of a device's mutations: applied, merged, in conflict, or kept for review with the reason and payload;
and what reviewers decided since about what its account pushed."""

from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend.core.enums import Role
from backend.core.errors import Forbidden
from backend.kinds import Document
from backend.services.quarantined import open_all
from backend.services.sessions import Caller
from sync.reviewed import reviewed

MAX_LIMIT = 500
HELD_ROWS = 50
FIRST_ID = UUID(int=0)


def outcomes(
    session: Session,
    *,
    caller: Caller,
    since: int,
    limit: int,
    held_since: UUID = FIRST_ID,
    reviewed_since: int = 0,
) -> Document:
    """Mutations of the calling device after ledger number `since`, oldest first, and its rows that wait for review.

    A quarantined row is given back to its author with its payload until it is decided: a create that was refused must
    not vanish from the one who made it. They come in pages of `HELD_ROWS` after the row `held_since`; `held_next` is
    where the next page starts, null after the last. `reviews` are what the desk decided after `reviewed_since`, the
    number of a review; they follow the account, so a new handheld hears of what the old one pushed.
    """
    if caller.device_id is None or caller.role is not Role.GRID_WORKER:
        raise Forbidden
    rows = list(
        session.connection().execute(
            _LEDGER, {"device": caller.device_id, "since": since, "limit": max(1, min(limit, MAX_LIMIT))}
        )
    )
    pairs = [(row.document_id, row.op) for row in rows]
    conflicts, asked = _conflicts(session, pairs), _verifications(session, pairs)
    held = _quarantined(session, caller.device_id, held_since)
    reviews = reviewed(session, caller=caller, since=reviewed_since)
    return {
        "mutations": [
            {
                "seq": row.seq,
                "kind": row.kind,
                "id": str(row.document_id),
                "op": str(row.op),
                "outcome": row.outcome,
                "rev": row.version,
                "conflicts": conflicts.get((row.document_id, row.op), []),
                "verifications": asked.get((row.document_id, row.op), []),
            }
            for row in rows
        ],
        "next": rows[-1].seq if rows else since,
        "quarantined": held,
        "held_next": held[-1]["held"] if len(held) == HELD_ROWS else None,
        "reviews": reviews,
        "reviews_next": reviews[-1]["seq"] if reviews else reviewed_since,
    }


def _conflicts(session: Session, pairs: list[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], list[Document]]:
    if not pairs:
        return {}
    ids, ops = zip(*pairs, strict=True)
    found: dict[tuple[UUID, UUID], list[Document]] = {}
    for row in session.connection().execute(_CONFLICTS, {"ids": list(ids), "ops": list(ops)}):
        entry = {"field": row.field, "hardness": row.hardness, "state": row.state}
        found.setdefault((row.document_id, row.op), []).append(entry)
    return found


def _verifications(session: Session, pairs: list[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], list[Document]]:
    """What the rows ask of departments."""
    if not pairs:
        return {}
    ids, ops = zip(*pairs, strict=True)
    found: dict[tuple[UUID, UUID], list[Document]] = {}
    for row in session.connection().execute(_VERIFICATIONS, {"ids": list(ids), "ops": list(ops)}):
        entry = {"verification": str(row.id), "field": row.field, "state": row.state}
        found.setdefault((row.document_id, row.op), []).append(entry)
    return found


def _quarantined(session: Session, device_id: UUID, since: UUID) -> list[Document]:
    given = {"device": device_id, "since": since, "limit": HELD_ROWS}
    rows = list(session.connection().execute(_QUARANTINED, given))
    opened = open_all(session, {row.held: bytes(row.payload) for row in rows})
    return [
        {
            "held": str(row.held),
            "kind": row.kind,
            "id": str(row.document_id) if row.document_id else None,
            "op": str(row.op) if row.op else None,
            "code": row.code,
            "places": row.places,
            "state": row.state,
            "row": opened[row.held],
        }
        for row in rows
    ]


_LEDGER = text(
    """
    SELECT seq, kind, document_id, op, outcome, version FROM mutation
    WHERE device_id = :device AND seq > :since ORDER BY seq LIMIT :limit
    """
)
_CONFLICTS = text(
    """
    SELECT c.document_id, c.op, c.field, c.hardness, c.state
    FROM unnest(CAST(:ids AS uuid[]), CAST(:ops AS uuid[])) AS wanted (id, op)
    JOIN conflict c ON c.document_id = wanted.id AND c.op = wanted.op
    ORDER BY c.id
    """
)
_VERIFICATIONS = text(
    """
    SELECT v.id, v.document_id, v.op, v.field, v.state
    FROM unnest(CAST(:ids AS uuid[]), CAST(:ops AS uuid[])) AS wanted (id, op)
    JOIN verification_request v ON v.document_id = wanted.id AND v.op = wanted.op
    ORDER BY v.id
    """
)
_QUARANTINED = text(
    """
    SELECT id AS held, kind, document_id, op, code, places, state, payload FROM quarantine
    WHERE device_id = :device AND state = 'open' AND id > :since ORDER BY id LIMIT :limit
    """
)
