"""Moving cases along: what people do to them."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.db import act_as
from backend.core.enums import CaseState
from backend.core.errors import NotFound, PreconditionFailed
from backend.models import Case, CaseStep, Department
from backend.services.sessions import Caller
from workflows.cases import rules
from workflows.cases.errors import CaseActionIncomplete, CaseActionNotAllowed, CaseDepartmentUnknown
from workflows.cases.rules import Action, Edge
from workflows.cases.schemas import ActionRequest
from workflows.cases.scope import visible_to
from workflows.cases.steps import Change, append


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
    append(session, Change(case, edge, str(caller.account_id), reason, moment, note=request.note))
    return case


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
