"""Taking back what a verdict led to: a supervisor puts something else in its place, with a reason."""

from uuid import UUID

from sqlmodel import Session, col, select

from backend import jobs
from backend.core.enums import Course, TaskResult
from backend.core.errors import NotFound
from backend.core.ids import new_id
from backend.models import Case, RegistrationStandard, Settlement, Verdict
from backend.services.scope import in_territory
from backend.services.sealing import seal_value
from backend.services.sessions import Caller
from backend.services.settlement_schemas import SettlementOut
from workflows.cases import considering, settling, sources, visits
from workflows.cases.errors import SettlementNotPossible, SettlementReplaced
from workflows.cases.opening import Opening, open_case
from workflows.cases.settling import Led, Settling
from workflows.cases.settling_schemas import Undo
from workflows.cases.sources import Entry, Reference
from workflows.routing import service as routing
from workflows.routing.rules import RoutingDecision

CARRY_OUT_JOB = "workflows.cases.carry_out"
FALLBACK = ("verification", "default")
"""The standard whose limit a look has that no rule asks for."""


def undo(session: Session, *, caller: Caller, settlement_id: UUID, asked: Undo) -> SettlementOut:
    """Put another settlement in the place of the one in force; a worker's job then opens or ends what it asks for.

    `NotFound` outside the caller's territory, `SettlementReplaced` where it is in force no more,
    `SettlementNotPossible` where a case of it is still open (it is ended by its own actions), where no rule says where
    a case would go, and where nobody can be asked to look.
    """
    query = select(Settlement).where(Settlement.id == settlement_id, in_territory(Settlement.grid_id, caller))
    found = session.exec(query).first()
    if found is None:
        raise NotFound
    considering.lock_source(session, found.source_id)
    session.refresh(found)
    if found.superseded_at is not None:
        raise SettlementReplaced
    verdict = session.get_one(Verdict, found.verdict_id)
    _check_possible(session, found, verdict, asked.instead)
    new = new_id()
    note = seal_value(session, found.source_id.bytes, asked.note, context=new.bytes)
    made = Settling(verdict, Led(asked.instead, asked.reason), note=note, settlement_id=new)
    settled = settling.settle(session, made, decided_by=caller.account_id)
    jobs.enqueue(session, CARRY_OUT_JOB, key=str(settled.id), settlement_id=str(settled.id))
    return SettlementOut.model_validate(settled)


def carry_out(session: Session, *, settlement_id: UUID) -> None:
    """Open the case or ask for the look that a person decided on, and end what he took back. Nothing where it has been
    replaced meanwhile, and nothing the second time. `jobs.Discard` where no rule says where a case goes any more."""
    settled = session.get_one(Settlement, settlement_id)
    considering.lock_source(session, settled.source_id)
    session.refresh(settled)
    if settled.superseded_at or settled.case_id or settled.visit_id:
        return
    verdict = session.get_one(Verdict, settled.verdict_id)
    if settled.course is not Course.VISIT:
        visits.end(session, settled.source_type, settled.source_id, TaskResult.WITHDRAWN)
    if settled.course is Course.VISIT:
        settled.visit_id = visits.ask(session, verdict, _standard(session, FALLBACK)).id
    elif settled.course is Course.CASE:
        entry, decision = _where_to(session, verdict)
        if decision is None:
            raise jobs.Discard("nothing_routes")
        standard = _standard(session, (decision.standard_scheme, decision.standard_code))
        settled.case_id = open_case(session, Opening(verdict, entry, decision, standard)).id
        settled.routing_rule_id = decision.rule_id
    session.flush()


def _check_possible(session: Session, found: Settlement, verdict: Verdict, instead: Course) -> None:
    if instead is found.course:
        raise SettlementNotPossible(because="same")
    open_case = select(Case.id).where(
        Case.source_type == found.source_type, Case.source_id == found.source_id, col(Case.closed_at).is_(None)
    )
    if session.exec(open_case).first() is not None:
        raise SettlementNotPossible(because="case_open")
    if instead is Course.CASE and _where_to(session, verdict)[1] is None:
        raise SettlementNotPossible(because="nothing_routes")
    if instead is Course.VISIT and visits.record_of(session, verdict) is None:
        raise SettlementNotPossible(because="nobody_to_ask")


def _where_to(session: Session, verdict: Verdict) -> tuple[Entry, RoutingDecision | None]:
    reference = Reference(verdict.source_type, verdict.source_id, verdict.source_version)
    entry = sources.load_entries(session, [reference]).get(reference)
    if entry is None:
        raise NotFound
    return entry, routing.table_of(session).decide(considering.facts_of(verdict, entry, asked=True))


def _standard(session: Session, key: tuple[str, str]) -> RegistrationStandard:
    standard = session.get(RegistrationStandard, key)
    if standard is None:
        raise routing.RoutingTableBroken(standard=key[1])
    return standard
