"""What becomes of a verdict: it opens a case, comes again to one, finds a record in order, or ends what is no more."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import and_, or_
from sqlmodel import Session, col, select

from backend import jobs
from backend.core import statements
from backend.core.clock import now
from backend.core.enums import Course, Kind, SourceType, TaskResult
from backend.models import Case, CaseStep, Settlement, Verdict
from backend.services.documents import merged_ids
from workflows.cases import gone, opening, rules, settling, sources, visits
from workflows.cases.opening import Opening
from workflows.cases.settling import Led, Settling
from workflows.cases.sources import Entry, Reference
from workflows.cases.steps import SYSTEM, Change, append
from workflows.routing import service as routing
from workflows.routing.rules import Facts, RoutingDecision


def consider(session: Session, *, verdict_id: UUID, table: routing.Table | None = None) -> None:
    """Open a case for a verdict where a rule asks for one, or come again to the case that is open for it.

    A verdict on a version that has been replaced, or on a record that was deleted, opens none: while the worker was
    away the worker in the field put it right, and what is left to say is said by the verdict on the later version,
    which every version but a tombstone gets. So whichever of two verdicts comes first, one case results. A verdict
    that finds a corrected record in order marks the cases that are open for it.

    A verdict of a check that was made again, and found other than before, also ends what is no more (`gone`). A
    verdict that another one has replaced meanwhile does nothing. Where it led is written down as a settlement.

    Running twice changes nothing. `jobs.Discard` where verdict or entry is unknown. `table` is the routing table in
    force, where it has been read already.
    """
    verdict = session.get(Verdict, verdict_id)
    if verdict is None:
        raise jobs.Discard("verdict_unknown")
    reference = Reference(verdict.source_type, verdict.source_id, verdict.source_version)
    entry = sources.load_entries(session, [reference]).get(reference)
    if entry is None:
        raise jobs.Discard("source_unknown")
    lock_source(session, verdict.source_id)
    past = settling.past_of(session, verdict)
    if past.replaced or past.considered or not sources.is_in_force(session, reference):
        return
    if not settling.decided_by_a_person(session, verdict, past.standing):
        settling.settle(session, Settling(verdict, follow(session, verdict, entry, past.standing, table=table)))


def follow(
    session: Session,
    verdict: Verdict,
    entry: Entry,
    standing: Settlement | None,
    *,
    table: routing.Table | None = None,
) -> Led:
    """Do what the routing table asks for, and say what that was. The caller holds the lock of the source; `standing` is
    what the entry is settled as."""
    table = table or routing.table_of(session)
    decision = table.decide(facts_of(verdict, entry))
    if decision is not None and decision.to_worker and visits.need_not_be_asked(session, verdict):
        decision = table.decide(facts_of(verdict, entry, asked=True))
    again = verdict.recheck_id is not None
    led = _follow_recheck(session, verdict, entry, decision) if again else _follow(session, verdict, entry, decision)
    if led.course is not Course.VISIT and standing is not None and standing.course is Course.VISIT:
        good = rules.clears(verdict.kind, verdict.verdict) and not again
        visits.end(
            session, verdict.source_type, verdict.source_id, TaskResult.CORRECTED if good else TaskResult.WITHDRAWN
        )
    return led


def _follow(session: Session, verdict: Verdict, entry: Entry, decision: RoutingDecision | None) -> Led:
    if decision is None:
        if rules.clears(verdict.kind, verdict.verdict):
            _clear(session, verdict)
        return unasked(verdict)
    if (case := _open_case_for(session, verdict)) is not None:
        _come_again(session, case, verdict)
        return Led(Course.CASE, "case_open", decision.rule_id, case.id)
    return _begin(session, verdict, entry, decision)


def _follow_recheck(session: Session, verdict: Verdict, entry: Entry, decision: RoutingDecision | None) -> Led:
    """End the open cases of the entry whose difference is gone, and begin what a difference asks for that is new.

    A case whose difference still stands is left in peace: nothing is new about it. An event is one matter, whatever is
    found about it. What a person has ended for this very version is not opened again for the same reason by a check
    that nobody in the field has a part in.
    """
    standing = gone.end_what_is_gone(session, verdict)
    same = next((case for case in standing if case.reason == verdict.verdict), None)
    if same is not None or (standing and (decision is None or verdict.kind is Kind.EVENT)):
        return Led(Course.CASE, "case_open", decision.rule_id if decision else None, (same or standing[0]).id)
    if decision is None:
        return unasked(verdict)
    ours = next((case for case in standing if gone.of_same_check(case, verdict)), None)
    if ours is not None:
        _come_again(session, ours, verdict)
        return Led(Course.CASE, "case_open", decision.rule_id, ours.id)
    if gone.ended_by_a_person(session, verdict):
        return Led(Course.NONE, "ended_by_a_person", decision.rule_id)
    return _begin(session, verdict, entry, decision)


def unasked(verdict: Verdict) -> Led:
    """No rule asks for anything: a record in order is accepted, anything else is left alone. A declaration in order
    stands beside the record, and changes nothing in the base library."""
    if rules.clears(verdict.kind, verdict.verdict):
        declared = verdict.source_type is SourceType.DECLARATION
        return Led(Course.ACCEPTED, "declaration_in_order" if declared else "in_order")
    return Led(Course.NONE, "nothing_asked")


def _begin(session: Session, verdict: Verdict, entry: Entry, decision: RoutingDecision) -> Led:
    if visits.confirmed_against(session, verdict):
        return Led(Course.NONE, "confirmed_on_site", decision.rule_id)
    standard = routing.standard_of(session, decision)
    if decision.to_worker:
        visit = visits.ask(session, verdict, standard)
        return Led(Course.VISIT, "rule", decision.rule_id, visit_id=visit.id)
    case = opening.open_case(session, Opening(verdict, entry, decision, standard))
    return Led(Course.CASE, "rule", decision.rule_id, case.id)


def facts_of(verdict: Verdict, entry: Entry, *, asked: bool = False) -> Facts:
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
        asked=asked,
    )


def lock_source(session: Session, source_id: UUID) -> None:
    """One verdict of an entry at a time, so that two versions cannot both find no open case."""
    lock_sources(session, [source_id])


def lock_sources(session: Session, source_ids: Iterable[UUID]) -> None:
    """The same for many, in the order of their ids."""
    keys = [f"case:{source_id}" for source_id in sorted(set(source_ids))]
    statements.execute(session, _LOCK, {"keys": keys})


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
    append(session, Change(case, edge, SYSTEM, edge.reasons[0], now(), verdict_id=verdict.id))


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
        append(session, Change(case, edge, SYSTEM, edge.reasons[0], now(), verdict_id=verdict.id))


def _last_found(session: Session, case: Case) -> str | None:
    """The last step that a verdict caused."""
    return session.exec(
        select(CaseStep.action)
        .where(CaseStep.case_id == case.id, col(CaseStep.action).in_(list(rules.SystemAction)))
        .order_by(col(CaseStep.version).desc())
    ).first()


_LOCK = """
    SELECT pg_advisory_xact_lock(hashtextextended(key, 0))
    FROM unnest(%(keys)b::text[]) WITH ORDINALITY AS wanted (key, place) ORDER BY place
"""
