"""What a verdict led to, written down: accepted, a look on site, a case, or nothing (认定)."""

from dataclasses import dataclass
from uuid import UUID

from sqlmodel import Session, col, select

from backend.core import statements
from backend.core.clock import now
from backend.core.enums import Course
from backend.core.ids import new_id
from backend.models import Settlement, Verdict
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


def in_force(session: Session, verdict: Verdict) -> Settlement | None:
    """What the entry of a verdict has been settled as."""
    return session.exec(
        select(Settlement).where(
            Settlement.source_type == verdict.source_type,
            Settlement.source_id == verdict.source_id,
            col(Settlement.superseded_at).is_(None),
        )
    ).first()


def is_settled(session: Session, verdict: Verdict, standing: Settlement | None) -> bool:
    """Whether there is nothing more to say: the verdict had its say, or a person has decided about the same finding on
    the same version, which a check that is made again does not overrule."""
    if session.exec(select(Settlement.id).where(Settlement.verdict_id == verdict.id)).first() is not None:
        return True
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
    moment = now()
    source = {"type": verdict.source_type.value, "id": verdict.source_id, "at": moment}
    statements.execute(session, _SUPERSEDE, source)
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
        action="settled",
        object_type="settlement",
        object_id=str(settled.id),
        source=f"{verdict.source_type.value}:{verdict.source_id}",
        verdict=str(verdict.id),
        course=led.course.value,
        reason=led.reason,
    )
    return settled


_SUPERSEDE = """
    UPDATE settlement SET superseded_at = %(at)s
    WHERE source_type = %(type)s::text AND source_id = %(id)s AND superseded_at IS NULL
"""
