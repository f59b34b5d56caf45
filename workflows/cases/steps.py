"""The steps of cases: every change is one step, one audit row, one more version, and jobs that tell who must know."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from uuid import UUID

from sqlmodel import Session

from backend import jobs
from backend.core.enums import CaseState
from backend.jobs import NewJob
from backend.models import Case, CaseStep
from backend.services import audit
from backend.services.sealing import seal_value
from workflows.cases.rules import Edge

SYSTEM = "workflows.cases"


@dataclass(frozen=True, slots=True)
class Change:
    """What makes the present version of a case: by which edge it came, who did it, why, and asked for by which request
    where that is not the context's."""

    case: Case
    edge: Edge
    actor: str
    reason: str
    at: datetime
    note: str | None = None
    verdict_id: UUID | None = None
    request_id: str | None = None


def append(session: Session, change: Change) -> None:
    """Write the step and the audit row of the case's present version, and tell who must know."""
    append_many(session, [change])


def append_many(session: Session, changes: Sequence[Change]) -> None:
    """The same for many cases.

    Handhelds see cases of their grids, so a case without a grid is not published to any.
    """
    session.add_all([_step_of(session, change) for change in changes])
    session.flush()
    for (actor, action), some in groupby(changes, key=lambda change: (change.actor, change.edge.action.value)):
        same = list(some)
        audit.record_many(
            session,
            actor=actor,
            action=f"case_{action}",
            object_type="case",
            entries=[(str(change.case.id), _audited(change)) for change in same],
            requests=[change.request_id for change in same],
        )
    jobs.enqueue_many(session, [job for change in changes for job in _told(change)])


def _step_of(session: Session, change: Change) -> CaseStep:
    case, edge, note = change.case, change.edge, change.note
    context = note_context(case.id, case.version)
    return CaseStep(
        case_id=case.id,
        version=case.version,
        action=edge.action.value,
        from_state=edge.origin,
        to_state=edge.target,
        actor=change.actor,
        reason=change.reason,
        verdict_id=change.verdict_id,
        department_code=case.department_code,
        note=seal_value(session, case.id.bytes, note, context=context) if note else None,
        at=change.at,
    )


def _audited(change: Change) -> dict[str, str | int]:
    return {"version": change.case.version, "state": change.edge.target.value, "reason": change.reason}


def _told(change: Change) -> Iterator[NewJob]:
    case, edge = change.case, change.edge
    key, named = f"{case.id}:{case.version}", {"case_id": str(case.id)}
    versioned = {**named, "version": case.version}
    if case.grid_id is not None:
        yield NewJob("sync.project_case", key, named, request_id=change.request_id)
        if (edge.origin is CaseState.CHECKING) is not (edge.target is CaseState.CHECKING):
            yield NewJob("sync.project_check", key, versioned, request_id=change.request_id)
    yield NewJob("workflows.notify.case_changed", key, versioned, request_id=change.request_id)


def note_context(case_id: UUID, version: int) -> bytes:
    """What binds a sealed note to its step."""
    return case_id.bytes + version.to_bytes(4, "big")
