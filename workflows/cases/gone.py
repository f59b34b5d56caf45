"""What a check that was made again finds gone, and what people have said about it before."""

from collections.abc import Sequence
from uuid import UUID

from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.enums import RecheckCause
from backend.models import Case, CaseStep, Recheck, Verdict
from backend.services.documents import merged_ids
from workflows.cases import rules
from workflows.cases.steps import SYSTEM, Change, append


def end_what_is_gone(session: Session, verdict: Verdict) -> list[Case]:
    """End the open cases of the entry whose difference is gone; gives those that still stand, the oldest first."""
    standing = []
    for case in _open_cases(session, verdict):
        if case.source_id == verdict.source_id and rules.settles(verdict.kind, case.reason, verdict.findings):
            _settle(session, case, verdict)
        else:
            standing.append(case)
    return standing


def of_same_check(case: Case, verdict: Verdict) -> bool:
    """Whether a case is the one that a version of an entry may have open by a version of the rules."""
    mine = (verdict.source_id, verdict.source_version, verdict.rule_version)
    return (case.source_id, case.source_version, case.rule_version) == mine


def ended_by_a_person(session: Session, verdict: Verdict) -> bool:
    """Whether the last case of this version of the entry for this reason was ended by a person."""
    last = session.exec(
        select(Case)
        .where(
            Case.source_type == verdict.source_type,
            Case.source_id == verdict.source_id,
            Case.source_version == verdict.source_version,
            Case.reason == verdict.verdict.value,
            col(Case.closed_at).is_not(None),
        )
        .order_by(col(Case.seq).desc())
    ).first()
    if last is None:
        return False
    actor = select(CaseStep.actor).where(CaseStep.case_id == last.id, CaseStep.version == last.version)
    return session.exec(actor).one() != SYSTEM


def _open_cases(session: Session, verdict: Verdict) -> Sequence[Case]:
    """The open cases about the entry and about duplicates that were joined into it, locked."""
    query = select(Case).where(
        Case.source_type == verdict.source_type,
        col(Case.source_id).in_(merged_ids(session, verdict.source_id)),
        col(Case.closed_at).is_(None),
    )
    return session.exec(query.order_by(col(Case.seq)).with_for_update()).all()


def _settle(session: Session, case: Case, verdict: Verdict) -> None:
    assert verdict.recheck_id is not None
    by_rules = session.get_one(Recheck, verdict.recheck_id).cause is RecheckCause.RULES
    reason = "rules_changed" if by_rules else "difference_gone"
    outcome = reason if by_rules else rules.CaseOutcome.RECORD_CORRECTED
    close(session, case, reason=reason, outcome=outcome, verdict_id=verdict.id)


def close(session: Session, case: Case, *, reason: str, outcome: str, verdict_id: UUID | None = None) -> None:
    """End an open case by the system. The caller holds it."""
    edge, moment = rules.being_settled(case.state), now()
    case.version += 1
    case.state, case.closed_at, case.outcome = edge.target, moment, outcome
    append(session, Change(case, edge, SYSTEM, reason, moment, verdict_id=verdict_id))
