"""Retention: each day, what has been kept long enough goes. How long that is stands in `retention_rule`, as data.

A rule without a row there does not run: nothing is removed that nobody decided on. Each rule is a job of its own, in
batches, and leaves one row of `retention_run` a day, so that a doubled beat or a repeated job does nothing twice.

History (versions, ledger, verdicts, steps of cases, audit) is not removed here. No track of workers is kept: devices
have their last contact only, and of the moments that devices claim in the ledger nothing is left after their time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.ids import new_id
from backend.models import RetentionRule, RetentionRun
from backend.services import audit, erasure, erasure_declarations, erasure_photos
from backend.services.life_schemas import RetentionRunPage, RetentionRunView
from backend.services.objects import object_store

ACTOR = "life.retention"
JOB = "life.retention"
BATCH = 10_000
ROUNDS = 100
"""At most a million rows a run; the next day goes on."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What goes: `remove` takes one batch older than a moment and counts it; `oldest` reads the oldest that is left."""

    place: str
    remove: Callable[[Session, datetime], int]
    oldest: str


def ask_for_runs(session: Session, *, day: date) -> int:
    """Enqueue the runs of a day, one for each rule that has a policy; gives how many there are."""
    codes = [code for code in session.exec(select(RetentionRule.code)).all() if code in RULES]
    jobs.enqueue_many(
        session, [jobs.NewJob(JOB, f"{code}:{day}", {"rule": code, "day": day.isoformat()}) for code in sorted(codes)]
    )
    return len(codes)


def run(session: Session, *, code: str, day: date) -> RetentionRun | None:
    """Run one rule for a day and note what it removed. None where it ran, or where nobody decided how long to keep."""
    policy, rule = session.get(RetentionRule, code), RULES.get(code)
    done = select(RetentionRun.id).where(RetentionRun.rule == code, RetentionRun.day == day)
    if policy is None or rule is None or session.exec(done).first() is not None:
        return None
    before = now() - timedelta(days=policy.days)
    removed = 0
    for _ in range(ROUNDS):
        batch = rule.remove(session, before)
        removed += batch
        if batch < BATCH:
            break
    report = RetentionRun(
        id=new_id(),
        rule=code,
        day=day,
        place=rule.place,
        at=now(),
        before=before,
        removed=removed,
        oldest_kept=session.connection().execute(text(rule.oldest)).scalar_one(),
    )
    session.add(report)
    session.flush()
    audit.record(
        session, actor=ACTOR, action="retention_run", object_type="retention_rule", object_id=code, removed=removed
    )
    return report


def runs(session: Session, *, rule: str | None, limit: int, before: UUID | None) -> RetentionRunPage:
    """A page of reports, newest first."""
    page = select(RetentionRun).order_by(col(RetentionRun.id).desc()).limit(limit + 1)
    if rule is not None:
        page = page.where(RetentionRun.rule == rule)
    if before is not None:
        page = page.where(col(RetentionRun.id) < before)
    rows = session.exec(page).all()
    more = rows[limit - 1].id if len(rows) > limit else None
    shown = [RetentionRunView.model_validate(row, from_attributes=True) for row in rows[:limit]]
    return RetentionRunPage(runs=shown, next=more)


def _deleting(table: str, key: str, condition: str) -> Callable[[Session, datetime], int]:
    """Remove rows of a table for which the condition holds, oldest by key first."""
    statement = text(
        f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {condition} ORDER BY {key} LIMIT :batch)"
    )
    return _executing(statement)


def _executing(statement: Any) -> Callable[[Session, datetime], int]:
    def remove(session: Session, before: datetime) -> int:
        return session.connection().execute(statement, {"before": before, "batch": BATCH}).rowcount

    return remove


def _remove_uploads(session: Session, before: datetime) -> int:
    return erasure_photos.drop_expired_uploads(session, before=before, limit=BATCH)


def _remove_reject_files(session: Session, before: datetime) -> int:
    """Files go before the commit: where it fails, the next run finds the rows and removes what is left."""
    rows = session.connection().execute(_OLD_REJECTS, {"before": before, "batch": BATCH}).all()
    for row in rows:
        object_store().delete(row.reject_key)
    session.connection().execute(_FORGET_REJECTS, {"ids": [row.id for row in rows]})
    return len(rows)


def _remove_photos(session: Session, before: datetime) -> int:
    ids = session.connection().execute(_UNLINKED_PHOTOS, {"before": before, "batch": BATCH}).scalars().all()
    return erasure_photos.remove(session, photo_ids=ids).get("photo", 0)


def _empty_declarations(session: Session, before: datetime) -> int:
    return erasure_declarations.remove_withdrawn(session, before, limit=BATCH)


def _remove_claims(session: Session, before: datetime) -> int:
    """What a photo said of its time and place, with the key it was sealed under."""
    ids = session.connection().execute(_FORGET_CLAIMS, {"before": before, "batch": BATCH}).scalars().all()
    session.connection().execute(_DELETE_KEYS, {"subjects": [photo_id.bytes for photo_id in ids]})
    return len(ids)


def _remove_files(table: str, *, done: str) -> Callable[[Session, datetime], int]:
    """Remove files whose time to be fetched is over; that they were made stays known.

    What may be fetched once is over when it was, with an hour for the fetching itself.
    """
    over = text(
        f"""
        SELECT id, object_key FROM {table} WHERE object_key IS NOT NULL AND ({done}) LIMIT :batch
        """
    )
    forget = text(
        f"""
        UPDATE {table} SET object_key = NULL, state = CASE state WHEN 'ready' THEN 'expired' ELSE state END
        WHERE id = ANY(CAST(:ids AS uuid[]))
        """
    )

    def remove(session: Session, before: datetime) -> int:
        rows = session.connection().execute(over, {"before": before, "batch": BATCH}).all()
        for row in rows:
            object_store().delete(row.object_key)
        session.connection().execute(forget, {"ids": [row.id for row in rows]})
        return len(rows)

    return remove


def _forget_client_times(session: Session, before: datetime) -> int:
    given = {"before": before, "batch": BATCH}
    return int(session.connection().execute(_FORGET_CLIENT_TIMES, given).scalar_one())


def _remove_links(session: Session, before: datetime) -> int:
    """Links of bulk reconciliations, and what those left undone that were cancelled or failed; their counts stay."""
    return int(session.connection().execute(_DELETE_LINKS, {"before": before, "batch": BATCH}).scalar_one())


_OLD_REJECTS = text(
    "SELECT id, reject_key FROM snapshot WHERE reject_key IS NOT NULL AND taken_at < :before ORDER BY id LIMIT :batch"
)
_FORGET_REJECTS = text("UPDATE snapshot SET reject_key = NULL WHERE id = ANY(CAST(:ids AS uuid[]))")
_UNLINKED_PHOTOS = text(
    """
    SELECT id FROM photo WHERE created_at < :before
      AND NOT EXISTS (SELECT FROM photo_link WHERE photo_link.photo_id = photo.id)
    ORDER BY id LIMIT :batch
    """
)
_FORGET_CLAIMS = text(
    """
    UPDATE photo SET claims = NULL, taken_at = NULL
    WHERE id IN (SELECT id FROM photo WHERE created_at < :before AND (claims IS NOT NULL OR taken_at IS NOT NULL)
                 ORDER BY id LIMIT :batch)
    RETURNING id
    """
)
_DELETE_KEYS = text("DELETE FROM subject_key WHERE subject_id = ANY(CAST(:subjects AS bytea[]))")
_FORGET_TRACES = text(
    """
    UPDATE device SET last_seen_at = NULL, skew_ms = 0, waiting = 0
    WHERE id IN (SELECT id FROM device WHERE revoked_at < :before AND last_seen_at IS NOT NULL ORDER BY id LIMIT :batch)
    """
)
_FORGET_CLIENT_TIMES = text("SELECT forget_client_times(:before, :batch)")
_DELETE_SUPERSEDED = text(
    """
    DELETE FROM business_record WHERE id IN (
        SELECT r.id FROM business_record r JOIN snapshot s ON s.id = r.snapshot_id
        WHERE s.state IN ('superseded', 'failed') AND s.loaded_at < :before
          AND NOT EXISTS (SELECT FROM dataset d WHERE d.current_snapshot_id = s.id)
        LIMIT :batch)
    """
)
_DELETE_LINKS = text(
    """
    WITH old AS (SELECT id FROM reconciliation WHERE finished_at < :before),
    links AS (
        DELETE FROM reconciliation_link WHERE (run_id, document_id) IN (
            SELECT run_id, document_id FROM reconciliation_link WHERE run_id IN (SELECT id FROM old) LIMIT :batch)
        RETURNING run_id
    ), records AS (
        DELETE FROM reconciliation_record WHERE (run_id, grid_id, record_id) IN (
            SELECT run_id, grid_id, record_id FROM reconciliation_record
            WHERE run_id IN (SELECT id FROM old) LIMIT :batch)
        RETURNING run_id
    )
    SELECT (SELECT count(*) FROM links) + (SELECT count(*) FROM records)
    """
)
_EXPIRED = "expires_at < :before"
_IN_USE = "SELECT FROM report r WHERE r.id = wechat_message.report_id AND r.state = 'assembling'"

RULES: dict[str, Rule] = {
    "wechat_message": Rule(
        "wechat_message",
        _deleting("wechat_message", "id", f"processed_at < :before AND NOT EXISTS ({_IN_USE})"),
        "SELECT min(received_at) FROM wechat_message",
    ),
    "quarantine_decided": Rule(
        "quarantine",
        _deleting("quarantine", "id", "state <> 'open' AND coalesce(decided_at, created_at) < :before"),
        "SELECT min(coalesce(decided_at, created_at)) FROM quarantine WHERE state <> 'open'",
    ),
    "upload": Rule("upload", _remove_uploads, "SELECT min(created_at) FROM upload"),
    "reject_file": Rule(
        "snapshot", _remove_reject_files, "SELECT min(taken_at) FROM snapshot WHERE reject_key IS NOT NULL"
    ),
    "notice": Rule("notice", _deleting("notice", "id", "created_at < :before"), "SELECT min(created_at) FROM notice"),
    "session": Rule(
        "session_family",
        _deleting("session_family", "id", "revoked_at < :before OR expires_at < :before"),
        "SELECT min(created_at) FROM session_family",
    ),
    "enrolment_code": Rule(
        "enrolment_code",
        _deleting("enrolment_code", "digest", "used_at < :before OR expires_at < :before"),
        "SELECT min(expires_at) FROM enrolment_code",
    ),
    "snapshot_superseded": Rule(
        "business_record",
        _executing(_DELETE_SUPERSEDED),
        "SELECT min(loaded_at) FROM snapshot s WHERE EXISTS (SELECT FROM business_record r WHERE r.snapshot_id = s.id)",
    ),
    "reconciliation_link": Rule(
        "reconciliation_link",
        _remove_links,
        "SELECT min(finished_at) FROM reconciliation n "
        "WHERE EXISTS (SELECT FROM reconciliation_link l WHERE l.run_id = n.id)",
    ),
    "photo_unlinked": Rule("photo", _remove_photos, "SELECT min(created_at) FROM photo"),
    "photo_claims": Rule("photo", _remove_claims, "SELECT min(created_at) FROM photo WHERE claims IS NOT NULL"),
    "device_trace": Rule(
        "device",
        _executing(_FORGET_TRACES),
        "SELECT min(last_seen_at) FROM device WHERE revoked_at IS NOT NULL",
    ),
    "client_time": Rule(
        "mutation", _forget_client_times, "SELECT min(created_at) FROM mutation WHERE client_time IS NOT NULL"
    ),
    "declaration_withdrawn": Rule(
        "declaration",
        _empty_declarations,
        "SELECT min(ended_at) FROM declaration WHERE state = 'withdrawn' AND sealed IS NOT NULL",
    ),
    "access_file": Rule(
        "access_request",
        _remove_files("access_request", done=f"{_EXPIRED} OR fetched_at < :before - interval '1 hour'"),
        "SELECT min(finished_at) FROM access_request WHERE object_key IS NOT NULL",
    ),
    "export_file": Rule(
        "export",
        _remove_files("export", done=_EXPIRED),
        "SELECT min(finished_at) FROM export WHERE object_key IS NOT NULL",
    ),
    "erased_leftover": Rule("document", erasure.remove_leftovers, "SELECT min(erased_at) FROM erased_subject"),
}
