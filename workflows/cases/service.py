"""Opening cases from verdicts, and moving them along.

Every change is one step, one audit row, one more version, and two jobs that tell the handhelds and the people.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import h3
from sqlalchemy import and_, or_, text
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.db import act_as
from backend.core.enums import CaseState, RecheckCause
from backend.core.errors import NotFound, PreconditionFailed
from backend.core.ids import new_id
from backend.models import Case, CaseStep, Department, Recheck, RegistrationStandard, Verdict
from backend.services import audit, photos
from backend.services.documents import merged_ids
from backend.services.sealing import seal_value
from backend.services.sessions import Caller
from workflows.cases import rules, sources
from workflows.cases.errors import CaseActionIncomplete, CaseActionNotAllowed, CaseDepartmentUnknown
from workflows.cases.rules import Action, Edge
from workflows.cases.schemas import ActionRequest
from workflows.cases.scope import visible_to
from workflows.cases.sources import Entry, Reference
from workflows.deadlines.service import deadline
from workflows.routing import service as routing
from workflows.routing.rules import Facts, RoutingDecision

SYSTEM = "workflows.cases"
NEARBY_LIMIT = 200


def consider(session: Session, *, verdict_id: UUID) -> None:
    """Open a case for a verdict where a rule asks for one, or come again to the case that is open for it.

    A verdict on a version that has been replaced, or on a record that was deleted, opens none: while the worker was
    away the worker in the field put it right, and what is left to say is said by the verdict on the later version,
    which every version but a tombstone gets. So whichever of two verdicts comes first, one case results. A verdict
    that finds a corrected record in order marks the cases that are open for it.

    A verdict of a check that was made again, and found other than before, also ends what is no more: see
    `_follow_recheck`. A verdict that another one has replaced meanwhile does nothing.

    Running twice changes nothing. `jobs.Discard` where verdict or entry is unknown.
    """
    verdict = session.get(Verdict, verdict_id)
    if verdict is None:
        raise jobs.Discard("verdict_unknown")
    reference = Reference(verdict.source_type, verdict.source_id, verdict.source_version)
    entry = sources.load_entries(session, [reference]).get(reference)
    if entry is None:
        raise jobs.Discard("source_unknown")
    _lock_source(session, verdict.source_id)
    session.refresh(verdict)  # the lock was waited for, and a later check may have come before
    if verdict.superseded_at or _has_step(session, verdict) or not sources.is_in_force(session, reference):
        return
    decision = routing.decide(session, facts_of(verdict, entry))
    if verdict.recheck_id is not None:
        _follow_recheck(session, verdict, entry, decision)
    elif decision is None:
        if rules.clears(verdict.kind, verdict.verdict):
            _clear(session, verdict)
    elif (case := _open_case_for(session, verdict)) is not None:
        _come_again(session, case, verdict)
    else:
        _open(session, verdict, entry, decision)


def act(
    session: Session, *, caller: Caller, case_id: UUID, action: Action, version: int, request: ActionRequest
) -> Case:
    """Do one action to a case that the caller has seen in `version`, and give the case as it then stands.

    `NotFound` outside the caller's scope, `PreconditionFailed` where the case has moved on, and the refusals of
    `workflows.cases.errors`.
    """
    case = session.exec(select(Case).where(Case.id == case_id, visible_to(caller)).with_for_update()).first()
    if case is None:
        raise NotFound
    act_as(session, {"case": str(case.id)})
    if case.version != version:
        raise PreconditionFailed(version=case.version)
    edge = _lawful_edge(session, case, caller, action)
    if missing := rules.lacking(edge, reason=request.reason, given=request.given()):
        raise CaseActionIncomplete(needs=missing, reasons=list(edge.reasons))
    if request.department_code is not None and session.get(Department, request.department_code) is None:
        raise CaseDepartmentUnknown
    reason, moment = request.reason or edge.reasons[0], now()
    _take(case, edge, caller, request, reason=reason, at=moment)
    _append(session, case, edge, actor=str(caller.account_id), reason=reason, note=request.note, at=moment)
    return case


def facts_of(verdict: Verdict, entry: Entry) -> Facts:
    """What routing looks at."""
    return Facts(
        source_type=verdict.source_type,
        kind=verdict.kind,
        verdict=verdict.verdict,
        findings=frozenset(verdict.findings),
        class_code=entry.class_code,
        severity=entry.severity,
        urgent=entry.urgent,
        grid_id=verdict.grid_id,
    )


def standing_of(session: Session, case: Case) -> rules.Standing:
    """What the rules look at, with the people and returns from the case's history."""
    steps = session.exec(select(CaseStep).where(CaseStep.case_id == case.id)).all()
    return rules.Standing(
        state=case.state,
        claimed_by=case.claimed_by,
        collected_by=case.collected_by,
        department_code=case.department_code,
        handlers=frozenset(step.actor for step in steps if step.action in (Action.HANDLE, Action.COMPLETE)),
        returns=sum(step.action == Action.RETURN and step.to_state is CaseState.REGISTERED for step in steps),
    )


def actor_of(caller: Caller) -> rules.Actor:
    """The caller as the rules see him."""
    return rules.Actor(caller.account_id, caller.role, caller.department_code)


def note_context(case_id: UUID, version: int) -> bytes:
    """What binds a sealed note to its step."""
    return case_id.bytes + version.to_bytes(4, "big")


def _lock_source(session: Session, source_id: UUID) -> None:
    """One verdict of an entry at a time, so that two versions cannot both find no open case."""
    session.connection().execute(_LOCK, {"key": f"case:{source_id}"})


def _has_step(session: Session, verdict: Verdict) -> bool:
    return session.exec(select(CaseStep.case_id).where(CaseStep.verdict_id == verdict.id)).first() is not None


def _open_case_for(session: Session, verdict: Verdict) -> Case | None:
    """The open case about the entry, or about a duplicate that was joined into it, for the same reason."""
    return session.exec(
        select(Case)
        .where(
            Case.source_type == verdict.source_type,
            col(Case.source_id).in_(merged_ids(session, verdict.source_id)),
            Case.reason == verdict.verdict.value,
            col(Case.closed_at).is_(None),
        )
        .order_by(col(Case.seq))
        .with_for_update()
    ).first()


def _come_again(session: Session, case: Case, verdict: Verdict) -> None:
    edge = rules.coming_again(case.state)
    case.version += 1
    _append(session, case, edge, actor=SYSTEM, reason=edge.reasons[0], verdict_id=verdict.id, at=now())


def _clear(session: Session, verdict: Verdict) -> None:
    """Mark the open cases of earlier versions, and of duplicates that were joined into the entry.

    Each is marked once until its problem comes again.
    """
    duplicates = set(merged_ids(session, verdict.source_id)) - {verdict.source_id}
    earlier = and_(col(Case.source_id) == verdict.source_id, col(Case.source_version) < verdict.source_version)
    cases = session.exec(
        select(Case)
        .where(
            Case.source_type == verdict.source_type,
            or_(earlier, col(Case.source_id).in_(duplicates)),
            col(Case.closed_at).is_(None),
        )
        .order_by(col(Case.seq))
        .with_for_update()
    ).all()
    for case in cases:
        if _last_found(session, case) == rules.SystemAction.CLEARED:
            continue
        edge = rules.being_cleared(case.state)
        case.version += 1
        _append(session, case, edge, actor=SYSTEM, reason=edge.reasons[0], verdict_id=verdict.id, at=now())


def _follow_recheck(session: Session, verdict: Verdict, entry: Entry, decision: RoutingDecision | None) -> None:
    """End the open cases of the entry whose difference is gone, and open one for a difference that is new.

    A case whose difference still stands is left in peace: nothing is new about it. What a person has ended for this
    very version is not opened again for the same reason by a check that nobody in the field has a part in.
    """
    standing = []
    for case in _open_cases(session, verdict):
        if case.source_id == verdict.source_id and rules.settles(verdict.kind, case.reason, verdict.findings):
            _settle(session, case, verdict)
        else:
            standing.append(case)
    if decision is None or any(case.reason == verdict.verdict for case in standing):
        return
    ours = [case for case in standing if _of_same_check(case, verdict)]
    if ours:
        _come_again(session, ours[0], verdict)
    elif not _ended_by_a_person(session, verdict):
        _open(session, verdict, entry, decision)


def _open_cases(session: Session, verdict: Verdict) -> Sequence[Case]:
    """The open cases about the entry and about duplicates that were joined into it, locked."""
    query = select(Case).where(
        Case.source_type == verdict.source_type,
        col(Case.source_id).in_(merged_ids(session, verdict.source_id)),
        col(Case.closed_at).is_(None),
    )
    return session.exec(query.order_by(col(Case.seq)).with_for_update()).all()


def _of_same_check(case: Case, verdict: Verdict) -> bool:
    """Whether a case is the one that a version of an entry may have open by a version of the rules."""
    mine = (verdict.source_id, verdict.source_version, verdict.rule_version)
    return (case.source_id, case.source_version, case.rule_version) == mine


def _settle(session: Session, case: Case, verdict: Verdict) -> None:
    assert verdict.recheck_id is not None
    by_rules = session.get_one(Recheck, verdict.recheck_id).cause is RecheckCause.RULES
    edge, moment = rules.being_settled(case.state), now()
    reason = "rules_changed" if by_rules else "difference_gone"
    case.version += 1
    case.state, case.closed_at = edge.target, moment
    case.outcome = reason if by_rules else rules.CaseOutcome.RECORD_CORRECTED
    _append(session, case, edge, actor=SYSTEM, reason=reason, verdict_id=verdict.id, at=moment)


def _ended_by_a_person(session: Session, verdict: Verdict) -> bool:
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


def _last_found(session: Session, case: Case) -> str | None:
    """The last step that a verdict caused."""
    return session.exec(
        select(CaseStep.action)
        .where(CaseStep.case_id == case.id, col(CaseStep.action).in_(list(rules.SystemAction)))
        .order_by(col(CaseStep.version).desc())
    ).first()


def _open(session: Session, verdict: Verdict, entry: Entry, decision: RoutingDecision) -> None:
    standard = session.get(RegistrationStandard, (decision.standard_scheme, decision.standard_code))
    if standard is None:
        raise routing.RoutingTableBroken(rule=decision.rule_id)
    edge, moment = rules.opening(urgent=standard.urgent), now()
    case = Case(
        id=new_id(),
        source_type=verdict.source_type,
        source_id=verdict.source_id,
        source_version=verdict.source_version,
        rule_version=verdict.rule_version,
        verdict_id=verdict.id,
        reason=verdict.verdict.value,
        grid_id=verdict.grid_id,
        h3_cell=entry.h3_cell,
        queue_code=decision.queue_code,
        standard_scheme=standard.scheme,
        standard_code=standard.code,
        state=edge.target,
        collected_by=entry.collected_by,
        deadline_at=deadline(session, start=moment, amount=standard.limit_amount, clock=standard.limit_clock),
        opened_at=moment,
    )
    case.similar_to = _similar_case(session, case, entry)
    session.add(case)
    session.flush()
    _append(session, case, edge, actor=SYSTEM, reason=edge.reasons[0], verdict_id=verdict.id, at=moment)
    photos.assess_source_later(session, source_type=case.source_type, source_id=case.source_id, cause=str(case.id))


def _similar_case(session: Session, case: Case, entry: Entry) -> UUID | None:
    """The earliest case nearby in place and time; H3 cells find the candidates, distance decides."""
    if entry.h3_cell is None or entry.point is None:
        return None
    nearby = session.exec(
        select(Case)
        .where(
            col(Case.h3_cell).in_(h3.grid_disk(entry.h3_cell, 1)),
            Case.opened_at >= case.opened_at - rules.SIMILAR_WITHIN,
            Case.source_id != case.source_id,
        )
        .order_by(col(Case.opened_at))
        .limit(NEARBY_LIMIT)
    ).all()
    references = {other.id: Reference(other.source_type, other.source_id, other.source_version) for other in nearby}
    entries = sources.load_entries(session, references.values())
    sightings = [
        rules.Sighting(other.id, found.point, other.opened_at, found.class_code)
        for other in nearby
        if (found := entries.get(references[other.id])) and found.point
    ]
    return rules.first_similar(rules.Sighting(case.id, entry.point, case.opened_at, entry.class_code), sightings)


def _lawful_edge(session: Session, case: Case, caller: Caller, action: Action) -> Edge:
    standing, actor = standing_of(session, case), actor_of(caller)
    try:
        return rules.decide(action, standing, actor)
    except rules.Refused as refusal:
        lawful = [edge.action.value for edge in rules.allowed(standing, actor)]
        raise CaseActionNotAllowed(state=case.state.value, because=refusal.because, allowed=lawful) from refusal


def _take(case: Case, edge: Edge, caller: Caller, request: ActionRequest, *, reason: str, at: datetime) -> None:
    """Change the case itself."""
    case.version += 1
    case.state = edge.target
    if edge.action is Action.CLAIM:
        case.claimed_by = caller.account_id
    if edge.action is Action.DISPATCH:
        case.department_code = request.department_code
    if edge.target is CaseState.REGISTERED:
        case.department_code = None
    if edge.target in rules.ENDED:
        case.closed_at = at
        case.outcome = request.outcome if edge.action is Action.CLOSE else reason


def _append(
    session: Session,
    case: Case,
    edge: Edge,
    *,
    actor: str,
    reason: str,
    at: datetime,
    note: str | None = None,
    verdict_id: UUID | None = None,
) -> None:
    """Write the step and the audit row of the case's present version, and tell who must know.

    Handhelds see cases of their grids, so a case without a grid is not published to any.
    """
    context = note_context(case.id, case.version)
    step = CaseStep(
        case_id=case.id,
        version=case.version,
        action=edge.action.value,
        from_state=edge.origin,
        to_state=edge.target,
        actor=actor,
        reason=reason,
        verdict_id=verdict_id,
        department_code=case.department_code,
        note=seal_value(session, case.id.bytes, note, context=context) if note else None,
        at=at,
    )
    session.add(step)
    session.flush()
    audit.record(
        session,
        actor=actor,
        action=f"case_{edge.action.value}",
        object_type="case",
        object_id=str(case.id),
        version=case.version,
        state=edge.target.value,
        reason=reason,
    )
    key = f"{case.id}:{case.version}"
    if case.grid_id is not None:
        jobs.enqueue(session, "sync.project_case", key=key, case_id=case.id)
        if (edge.origin is CaseState.CHECKING) is not (edge.target is CaseState.CHECKING):
            jobs.enqueue(session, "sync.project_check", key=key, case_id=case.id, version=case.version)
    jobs.enqueue(session, "workflows.notify.case_changed", key=key, case_id=case.id, version=case.version)


_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")
