"""The steps of cases: every change is one step, one audit row, one more version, and jobs that tell who must know."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Session

from backend import jobs
from backend.core.enums import CaseState
from backend.models import Case, CaseStep
from backend.services import audit
from backend.services.sealing import seal_value
from workflows.cases.rules import Edge

SYSTEM = "workflows.cases"


def append(
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


def note_context(case_id: UUID, version: int) -> bytes:
    """What binds a sealed note to its step."""
    return case_id.bytes + version.to_bytes(4, "big")
