"""The tasks that handhelds are told of: what a task document says, read from where the thing itself is decided.

A verification (核实) is a request to the department that owns a field, decided at the desk. A check (核查) is a stay of
a case in `checking`: it begins when the unit reports the matter handled, and ends when the case is closed or goes back.
A visit (上门核实) is a look on site that the case room asks for before a difference becomes a case; a worker answers
it, or corrects the record. A case may be checked several times, so a check has an id of its own, made from the case and
the step that began it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID, uuid5

from sqlmodel import Session, col, select

from backend.core.enums import CaseState, SourceType, TaskResult, TaskState, TaskType, VerificationState
from backend.kinds import Document as Fields
from backend.models import Case, CaseStep, Document, ReviewStep, VerificationRequest, Visit

RESULTS: Mapping[VerificationState, TaskResult] = {
    VerificationState.ACCEPTED: TaskResult.ACCEPTED,
    VerificationState.REFUSED: TaskResult.REFUSED,
}


@dataclass(frozen=True, slots=True)
class TaskDocument:
    """A task as it is published: in which grid, and with which fields."""

    id: UUID
    grid_id: str
    fields: Fields


def verification(session: Session, request_id: UUID) -> TaskDocument | None:
    """The task of a verification request, where its record lies now; None where there is no such request."""
    request = session.get(VerificationRequest, request_id)
    if request is None:
        return None
    last = session.exec(
        select(ReviewStep).where(ReviewStep.verification_id == request_id).order_by(col(ReviewStep.number).desc())
    ).first()
    fields: Fields = {
        "task": TaskType.VERIFICATION.value,
        "state": TaskState.OPEN.value,
        "source_type": SourceType.DOCUMENT.value,
        "source_id": str(request.document_id),
        "source_kind": request.kind.value,
        "source_version": request.version,
        "field": request.field,
        "dataset": request.dataset,
        "asked_at": request.created_at.isoformat(),
    }
    if last is not None and request.state in RESULTS:
        fields |= {
            "state": TaskState.DONE.value,
            "result": RESULTS[request.state].value,
            "reason": last.reason,
            "source_version": last.version,
            "done_at": last.at.isoformat(),
        }
    return TaskDocument(request_id, session.get_one(Document, request.document_id).grid_id, fields)


def check(session: Session, case: Case, version: int) -> TaskDocument | None:
    """The task of the last check of a case that began with the step `version` or before it; None where none did, and
    for a case that lies in no grid."""
    steps = session.exec(select(CaseStep).where(CaseStep.case_id == case.id).order_by(col(CaseStep.version))).all()
    begun = [step for step in steps if step.version <= version and _begins(step)]
    if not begun or case.grid_id is None:
        return None
    start = begun[-1]
    end = next((step for step in steps if step.version > start.version and _ends(step)), None)
    fields: Fields = {
        "task": TaskType.CHECK.value,
        "state": TaskState.OPEN.value,
        "source_type": case.source_type.value,
        "source_id": str(case.source_id),
        "source_version": case.source_version,
        "case_id": str(case.id),
        "asked_at": start.at.isoformat(),
    }
    if end is not None:
        result = TaskResult.PASSED if end.to_state is CaseState.CLOSED else TaskResult.NOT_PASSED
        fields |= {
            "state": TaskState.DONE.value,
            "result": result.value,
            "reason": end.reason,
            "done_at": end.at.isoformat(),
        }
    return TaskDocument(uuid5(case.id, str(start.version)), case.grid_id, fields)


def visit(session: Session, visit_id: UUID) -> TaskDocument | None:
    """The task of a look on site, where its record lies now; None where there is no such look."""
    found = session.get(Visit, visit_id)
    if found is None:
        return None
    fields: Fields = {
        "task": TaskType.VISIT.value,
        "state": found.state.value,
        "source_type": SourceType.DOCUMENT.value,
        "source_id": str(found.document_id),
        "source_kind": found.kind.value,
        "source_version": found.version,
        "finding": found.finding,
        "asked_at": found.created_at.isoformat(),
        "due_at": found.due_at.isoformat(),
    }
    if found.result is not None and found.done_at is not None:
        fields |= {"result": found.result.value, "done_at": found.done_at.isoformat()}
    return TaskDocument(visit_id, session.get_one(Document, found.document_id).grid_id, fields)


def _begins(step: CaseStep) -> bool:
    return step.to_state is CaseState.CHECKING and step.from_state is not CaseState.CHECKING


def _ends(step: CaseStep) -> bool:
    return step.from_state is CaseState.CHECKING and step.to_state is not CaseState.CHECKING
