"""Jobs of the sync room: what happens to cases, by erasures and to grids is published to the handhelds."""

from uuid import UUID

from sqlmodel import Session

from backend import jobs
from backend.core.enums import Kind
from backend.kinds import Document
from backend.models import Case
from backend.services.case_numbers import case_number
from backend.services.documents import lock
from sync import grid_moves, service


@jobs.handler("sync.project_case")
def project_case(session: Session, case_id: str) -> None:
    """Publish a case as it stands now. Running again, late or out of order, publishes the same.

    The lock comes before the read: of two runs at once, the later one must not publish what it read earlier.
    """
    lock(session, [UUID(case_id)])
    case = session.get(Case, UUID(case_id))
    if case is None:
        raise jobs.Discard("case_unknown")
    if case.grid_id is None:  # of a report outside all grids: there is no handheld to tell
        return
    service.publish(session, kind=Kind.CASE, document_id=case.id, grid_id=case.grid_id, fields=_outcome(case))


@jobs.handler("sync.republish")
def republish(session: Session, *, document_id: str) -> None:
    """Publish a document without the members who were erased."""
    service.republish(session, document_id=UUID(document_id))


@jobs.handler("sync.move_grid")
def move_grid(session: Session, *, change_id: str, step: int) -> None:
    """Move the next batch out of grids that are split or merged."""
    grid_moves.run_step(session, change_id=UUID(change_id), step=step)


def _outcome(case: Case) -> Document:
    assert case.seq is not None
    return {
        "number": case_number(case.opened_at, case.seq),
        "state": case.state.value,
        "queue": case.queue_code,
        "reason": case.reason,
        "source_type": case.source_type.value,
        "source_id": str(case.source_id),
        "opened_at": case.opened_at.isoformat(),
        "deadline_at": case.deadline_at.isoformat(),
        **({"closed_at": case.closed_at.isoformat()} if case.closed_at else {}),
        **({"outcome": case.outcome} if case.outcome else {}),
    }
