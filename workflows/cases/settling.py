"""What a verdict led to, written down: accepted, a look on site, a case, or nothing (认定)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, exists
from sqlmodel import Session, col, select

from backend.core import statements
from backend.core.clock import now
from backend.core.enums import Course, SourceType
from backend.core.ids import new_id
from backend.models import CaseStep, Settlement, Verdict
from backend.services import audit
from workflows.cases.steps import SYSTEM


@dataclass(frozen=True, slots=True)
class Led:
    """Where a verdict led, why (a code of `settling_rules.REASONS`), by which routing rule, and to what."""

    course: Course
    reason: str
    rule_id: int | None = None
    case_id: UUID | None = None
    visit_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """What has become of a verdict and its entry so far: whether another verdict has replaced this one, whether it has
    had its say already, and what the entry is settled as."""

    replaced: bool
    considered: bool
    standing: Settlement | None


def past_of(session: Session, verdict: Verdict) -> Past:
    """Read afresh, with one query. The caller holds the lock of the source, so this is how things stand."""
    of_source = and_(col(Settlement.source_type) == verdict.source_type, col(Settlement.source_id) == verdict.source_id)
    step = exists().where(col(CaseStep.verdict_id) == verdict.id)
    query = select(Verdict.superseded_at, step, Settlement).join(Settlement, of_source, isouter=True)
    rows = session.exec(query.where(Verdict.id == verdict.id).execution_options(populate_existing=True)).all()
    settlements = list(filter(None, (found for _, _, found in rows)))
    return Past(
        replaced=rows[0][0] is not None,
        considered=rows[0][1] or any(found.verdict_id == verdict.id for found in settlements),
        standing=next((found for found in settlements if found.superseded_at is None), None),
    )


def decided_by_a_person(session: Session, verdict: Verdict, standing: Settlement | None) -> bool:
    """Whether a person has decided about the same finding on the same version: a check that is made again does not
    overrule him."""
    if standing is None or standing.decided_by is None or standing.source_version != verdict.source_version:
        return False
    return session.get_one(Verdict, standing.verdict_id).verdict is verdict.verdict


@dataclass(frozen=True, slots=True)
class Settling:
    """A verdict and where it led, the request that this follows from where it is not the context's, and what a person
    wrote who decided so."""

    verdict: Verdict
    led: Led
    request_id: str | None = None
    note: bytes | None = None
    settlement_id: UUID = field(default_factory=new_id)


def settle(session: Session, settling: Settling, *, decided_by: UUID | None = None) -> Settlement:
    """Put a settlement in the place of the one in force. The caller holds the lock of the source."""
    settle_many(session, [settling], decided_by=decided_by)
    return session.get_one(Settlement, settling.settlement_id)


def settle_many(session: Session, settled: Sequence[Settling], *, decided_by: UUID | None = None) -> None:
    """The same for different entries."""
    if not settled:
        return
    session.flush()  # a case or a look that was just begun is named
    moment = now()
    supersede(session, [(one.verdict.source_type, one.verdict.source_id) for one in settled], at=moment)
    statements.execute(session, _SETTLE, {**_columns(settled), "by": decided_by, "at": moment})
    audit.record_many(
        session,
        actor=str(decided_by or SYSTEM),
        action="settled",
        object_type="settlement",
        entries=[(str(one.settlement_id), _audited(one)) for one in settled],
        requests=[one.request_id for one in settled],
    )


def supersede(session: Session, entries: Sequence[tuple[SourceType, UUID]], *, at: datetime) -> None:
    """Take what these entries are settled as out of force. The caller holds their locks."""
    types, sources = [source_type.value for source_type, _ in entries], [source_id for _, source_id in entries]
    statements.execute(session, _SUPERSEDE, {"types": types, "sources": sources, "at": at})


def _columns(settled: Sequence[Settling]) -> dict[str, Any]:
    return {
        "ids": [one.settlement_id for one in settled],
        "verdicts": [one.verdict.id for one in settled],
        "courses": [one.led.course.value for one in settled],
        "reasons": [one.led.reason for one in settled],
        "rules": [one.led.rule_id for one in settled],
        "cases": [one.led.case_id for one in settled],
        "visits": [one.led.visit_id for one in settled],
        "notes": [one.note for one in settled],
    }


def _audited(settling: Settling) -> dict[str, str]:
    verdict, led = settling.verdict, settling.led
    return {
        "source": f"{verdict.source_type.value}:{verdict.source_id}",
        "verdict": str(verdict.id),
        "course": led.course.value,
        "reason": led.reason,
    }


_SUPERSEDE = """
    UPDATE settlement SET superseded_at = %(at)s
    FROM unnest(%(types)b::text[], %(sources)b::uuid[]) AS made (source_type, source_id)
    WHERE settlement.source_type = made.source_type AND settlement.source_id = made.source_id
      AND settlement.superseded_at IS NULL
"""
_SETTLE = """
    INSERT INTO settlement (id, verdict_id, source_type, source_id, source_version, kind, grid_id, rule_version,
                            course, reason, routing_rule_id, case_id, visit_id, decided_by, note, created_at)
    SELECT made.id, v.id, v.source_type, v.source_id, v.source_version, v.kind, v.grid_id, v.rule_version,
           made.course, made.reason, made.rule_id, made.case_id, made.visit_id, %(by)s::uuid, made.note, %(at)s
    FROM unnest(%(ids)b::uuid[], %(verdicts)b::uuid[], %(courses)b::text[], %(reasons)b::text[],
                %(rules)b::integer[], %(cases)b::uuid[], %(visits)b::uuid[], %(notes)b::bytea[])
         AS made (id, verdict_id, course, reason, rule_id, case_id, visit_id, note)
    JOIN verdict v ON v.id = made.verdict_id
"""
