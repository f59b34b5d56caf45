"""Which of many sessions of handhelds still stand, and what their workers hold now: one query for all."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend.core.clock import now


def standing(session: Session, session_ids: Sequence[UUID]) -> dict[UUID, Mapping[str, int]]:
    """The grids held now and how far the feed of each has come, by session. A session that ended, or whose device,
    account or posting does not stand, is left out: the same conditions as in `backend.services.sessions.identify`."""
    rows = session.connection().execute(_STANDING, {"ids": list(session_ids), "now": now()})
    return {row.id: dict(zip(row.grids, row.reached, strict=True)) for row in rows}


_STANDING = text(
    """
    SELECT f.id, coalesce(array_agg(m.grid_id) FILTER (WHERE m.grid_id IS NOT NULL), '{}') AS grids,
           coalesce(array_agg(coalesce(c.seq, 0)) FILTER (WHERE m.grid_id IS NOT NULL), '{}') AS reached
    FROM session_family f
    JOIN account a ON a.id = f.account_id AND a.active
    JOIN device d ON d.id = f.device_id AND d.revoked_at IS NULL AND d.wipe_requested_at IS NULL
    JOIN posting p ON p.account_id = a.id AND p.role = 'grid_worker'
         AND p.starts_at <= :now AND (p.ends_at IS NULL OR p.ends_at > :now)
    LEFT JOIN membership m ON m.account_id = a.id AND m.starts_at <= :now AND (m.ends_at IS NULL OR m.ends_at > :now)
    LEFT JOIN feed_counter c ON c.grid_id = m.grid_id
    WHERE f.id = ANY(:ids) AND f.revoked_at IS NULL AND f.expires_at > :now
    GROUP BY f.id
    """
)
