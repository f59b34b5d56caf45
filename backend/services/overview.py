"""Counts of everything, for the start page, the metrics and the demo's table. No names, no ids, no places."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlmodel import Session

from backend.core.settings import PROJECT_ROOT
from backend.services import audit_chain, audit_sealing

T = TypeVar("T")
Counts = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Overview:
    """All counts: by group and state, cases by queue and state, jobs that are not done, and the audit trail's lag.

    `unsealed` are entries of the audit trail that wait for a batch, `unanchored` batches that wait for the anchor.
    """

    counts: Counts
    cases: dict[str, dict[str, int]]
    jobs: list[tuple[str, str, int, float]]
    job_failures: dict[str, int]
    unsealed: int
    unanchored: int


class Together(Generic[T]):
    """Runs a costly read once for all who wait for it, and never two at a time in this process.

    What it gives was always read after the caller asked, so nobody sees the past.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last: tuple[float, T] | None = None

    def __call__(self, read: Callable[[], T]) -> T:
        """What `read` gives, or what another caller's read gave that began after this call."""
        asked = self._clock()
        with self._lock:
            if self._last is None or self._last[0] <= asked:
                self._last = self._clock(), read()
            return self._last[1]


_together: Together[Overview] = Together()


def look(session: Session) -> Overview:
    """All counts. They need no login, so however many ask, one at a time is counted for all."""
    return _together(lambda: _look(session))


def _look(session: Session) -> Overview:
    trail = audit_sealing.trail(session)
    unanchored = trail.batches - audit_chain.noted_batch(session)
    return Overview(
        counts(session),
        cases_by_queue(session),
        jobs_by_name(session),
        job_failures(session),
        trail.unsealed,
        unanchored,
    )


def counts(session: Session) -> Counts:
    """Counts by group and state, as committed now.

    `mutations` accounts for every pushed row once: by the outcome in the ledger, or as quarantined.
    """
    found: Counts = {group: {} for group in _GROUPS}
    for group, name, number in session.connection().execute(_COUNTS):
        found[group][name] = int(number)
    return found


def cases_by_queue(session: Session) -> dict[str, dict[str, int]]:
    """Cases by queue and state."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for queue, state, number in session.connection().execute(_CASES):
        found[queue][state] = int(number)
    return dict(found)


def jobs_by_name(session: Session) -> list[tuple[str, str, int, float]]:
    """Jobs that are not done, by name and state, with the age of the oldest in seconds."""
    rows = session.connection().execute(_JOBS)
    return [(row.name, row.state, int(row.number), float(row.age)) for row in rows]


def job_failures(session: Session) -> dict[str, int]:
    """Attempts that failed, ever, by name of the job. Done jobs are removed; this stays."""
    return {name: int(number) for name, number in session.connection().execute(_FAILURES)}


def is_migrated(session: Session) -> bool:
    """Whether the database is as new as this program. One of a newer program is: migrations stay compatible."""
    connection = session.connection()
    if connection.execute(text("SELECT to_regclass('alembic_version') IS NULL")).scalar_one():
        return False
    applied = set(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())
    return bool(applied) and not applied & _earlier_revisions()


@lru_cache(maxsize=1)
def _earlier_revisions() -> frozenset[str]:
    """The revisions of this program's migrations that others follow; read once."""
    scripts = ScriptDirectory(str(PROJECT_ROOT / "alembic"))
    return frozenset(script.revision for script in scripts.walk_revisions() if not script.is_head)


_GROUPS = (
    *("entries", "mutations", "conflicts", "photos", "verdicts", "jobs", "devices"),
    *("reports", "declarations", "business_records"),
)
# Rows that the API's role sees only for a caller are counted by functions that give nothing but numbers.
_COUNTS = text(
    """
    SELECT things, state, number FROM zw_counts()
    UNION ALL
    SELECT 'photos', state, count(*) FROM photo GROUP BY state
    UNION ALL
    SELECT 'jobs', state, count(*) FROM job GROUP BY state
    UNION ALL
    SELECT 'devices', 'enrolled', count(*) FROM device WHERE revoked_at IS NULL HAVING count(*) > 0
    UNION ALL
    SELECT 'devices', 'waiting_changes', coalesce(sum(waiting), 0) FROM device WHERE revoked_at IS NULL
    UNION ALL
    SELECT 'business_records', d.code, s.accepted + s.carried
    FROM dataset d JOIN snapshot s ON s.id = d.current_snapshot_id
    """
)
_CASES = text("SELECT queue_code, state, number FROM zw_case_counts()")
_FAILURES = text("SELECT name, failures FROM job_tally")
_JOBS = text(
    """
    SELECT name, state, count(*) AS number, extract(epoch FROM now() - min(created_at)) AS age
    FROM job WHERE state NOT IN ('done', 'cancelled') GROUP BY name, state ORDER BY name, state
    """
)
