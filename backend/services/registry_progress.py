"""How far a load has come, for those who wait: written beside the load's own transaction, which nobody sees into."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine
from sqlmodel import Session

from backend.core import statements
from backend.core.clock import now
from backend.core.db import transaction


@dataclass(frozen=True, slots=True)
class Standing:
    """Rows read so far, how much of the file that is (0 to 1, None where nobody knows), and when that was."""

    rows: int
    share: float | None
    at: datetime


def note(engine: Engine, snapshot_id: UUID, *, rows: int, share: float | None) -> None:
    """Say how far a load has come, in a transaction of its own. A load that begins again begins at nothing."""
    with transaction(engine) as own:
        given = {"snapshot": snapshot_id, "rows": rows, "share": share, "at": now()}
        statements.execute(own, _NOTE, given)


def standing(session: Session, snapshot_id: UUID) -> Standing | None:
    """The last that was said; None before the first chunk."""
    rows = statements.rows(session, _READ, {"snapshot": snapshot_id})
    return Standing(*rows[0]) if rows else None


def forget(session: Session, snapshot_id: UUID) -> None:
    """A load that has ended needs none."""
    statements.execute(session, _FORGET, {"snapshot": snapshot_id})


_NOTE = """
    INSERT INTO import_progress (snapshot_id, rows, share, at)
    VALUES (%(snapshot)s, %(rows)s, %(share)s::float8, %(at)s)
    ON CONFLICT (snapshot_id) DO UPDATE SET rows = excluded.rows, share = excluded.share, at = excluded.at
"""
_READ = "SELECT rows, share, at FROM import_progress WHERE snapshot_id = %(snapshot)s"
_FORGET = "DELETE FROM import_progress WHERE snapshot_id = %(snapshot)s"
