"""What a verdict led to, written down: accepted, a look on site, a case, or nothing (认定)."""

from dataclasses import dataclass
from datetime import datetime
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

SETTLED = "settled"
"""What the trail calls it."""


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


def settle(
    session: Session,
    verdict: Verdict,
    led: Led,
    *,
    decided_by: UUID | None = None,
    note: bytes | None = None,
    settlement_id: UUID | None = None,
) -> Settlement:
    """Put a settlement in the place of the one in force. The caller holds the lock of the source."""
    moment = supersede(session, verdict.source_type, verdict.source_id)
    settled = Settlement(
        id=settlement_id or new_id(),
        verdict_id=verdict.id,
        source_type=verdict.source_type,
        source_id=verdict.source_id,
        source_version=verdict.source_version,
        kind=verdict.kind,
        grid_id=verdict.grid_id,
        rule_version=verdict.rule_version,
        course=led.course,
        reason=led.reason,
        routing_rule_id=led.rule_id,
        case_id=led.case_id,
        visit_id=led.visit_id,
        decided_by=decided_by,
        note=note,
        created_at=moment,
    )
    session.add(settled)
    session.flush()
    audit.record(
        session,
        actor=str(decided_by or SYSTEM),
        action=SETTLED,
        object_type="settlement",
        object_id=str(settled.id),
        **audited(verdict, led),
    )
    return settled


def supersede(session: Session, source_type: SourceType, source_id: UUID) -> datetime:
    """Take what an entry is settled as out of force; gives the moment."""
    moment = now()
    statements.execute(session, _SUPERSEDE, {"type": source_type.value, "id": source_id, "at": moment})
    return moment


def audited(verdict: Verdict, led: Led) -> dict[str, str]:
    """What the trail keeps of a settlement."""
    return {
        "source": f"{verdict.source_type.value}:{verdict.source_id}",
        "verdict": str(verdict.id),
        "course": led.course.value,
        "reason": led.reason,
    }


_SUPERSEDE = """
    UPDATE settlement SET superseded_at = %(at)s
    WHERE source_type = %(type)s::text AND source_id = %(id)s AND superseded_at IS NULL
"""
