"""Jobs of the sync room: what happens to cases and tasks, by erasures and to grids is published to the handhelds."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlmodel import Session, col, select

from backend import jobs
from backend.core.enums import Kind
from backend.kinds import Document
from backend.models import Case
from backend.services.case_numbers import case_number
from backend.services.documents import lock
from sync import claims, grid_moves, handed_tasks, links, service
from sync.handed_tasks import TaskDocument
from sync.service import Published


@jobs.handler("sync.project_case")
def project_case(session: Session, case_id: str) -> None:
    """Publish a case as it stands now. Running again, late or out of order, publishes the same."""
    if not _publish_cases(session, {UUID(case_id): None}):
        raise jobs.Discard("case_unknown")


@jobs.mixed_handler("sync.project_case")
def project_cases(session: Session, batch: Sequence[jobs.Claimed]) -> Mapping[int, str]:
    """The same for many, each published once."""
    wanted = [UUID(job.payload["case_id"]) for job in batch]
    known = _publish_cases(session, _requests(wanted, batch))
    return {place: "case_unknown" for place, case_id in enumerate(wanted) if case_id not in known}


def _publish_cases(session: Session, requests: Mapping[UUID, str | None]) -> set[UUID]:
    """Publish those of these cases that there are, and give their ids; outside all grids there is nobody to tell.

    The lock comes before the read: of two runs at once, the later one must not publish what it read earlier.
    """
    lock(session, requests)
    cases = session.exec(select(Case).where(col(Case.id).in_(requests))).all()
    found = [Published(case.id, case.grid_id, _outcome(case)) for case in cases if case.grid_id is not None]
    service.publish_many(session, Kind.CASE, found, requests=requests)
    return {case.id for case in cases}


@jobs.handler("sync.project_verification")
def project_verification(session: Session, request_id: str) -> None:
    """Publish a verification request as it stands now, as a task. Locked first, like a case."""
    lock(session, [UUID(request_id)])
    task = handed_tasks.verification(session, UUID(request_id))
    if task is None:
        raise jobs.Discard("verification_unknown")
    _publish_task(session, task)


@jobs.handler("sync.project_check")
def project_check(session: Session, case_id: str, version: int) -> None:
    """Publish the check that a step of a case begins or ends, as a task. Locked first, like the case itself."""
    lock(session, [UUID(case_id)])
    case = session.get(Case, UUID(case_id))
    if case is None:
        raise jobs.Discard("case_unknown")
    task = handed_tasks.check(session, case, version)
    if task is None:
        raise jobs.Discard("case_version_unknown")
    _publish_task(session, task)


@jobs.handler("sync.project_visit")
def project_visit(session: Session, visit_id: str) -> None:
    """Publish a look on site as it stands now, as a task."""
    if not _publish_visits(session, {UUID(visit_id): None}):
        raise jobs.Discard("visit_unknown")


@jobs.mixed_handler("sync.project_visit")
def project_visits(session: Session, batch: Sequence[jobs.Claimed]) -> Mapping[int, str]:
    """The same for many, each published once."""
    wanted = [UUID(job.payload["visit_id"]) for job in batch]
    known = _publish_visits(session, _requests(wanted, batch))
    return {place: "visit_unknown" for place, visit_id in enumerate(wanted) if visit_id not in known}


def _publish_visits(session: Session, requests: Mapping[UUID, str | None]) -> set[UUID]:
    """Publish those of these looks that there are, locked first like cases, and give their ids."""
    lock(session, requests)
    tasks = [task for visit_id in requests if (task := handed_tasks.visit(session, visit_id)) is not None]
    found = [Published(task.id, task.grid_id, task.fields) for task in tasks]
    service.publish_many(session, Kind.TASK, found, requests=requests)
    return {task.id for task in tasks}


@jobs.handler("sync.republish")
def republish(session: Session, *, document_id: str) -> None:
    """Publish a document without the members who were erased."""
    service.republish(session, document_id=UUID(document_id))


@jobs.handler("sync.move_grid")
def move_grid(session: Session, *, change_id: str, step: int) -> None:
    """Move the next batch out of grids that are split or merged."""
    grid_moves.run_step(session, change_id=UUID(change_id), step=step)


@jobs.handler("sync.claim_fields")
def claim_fields(session: Session, *, snapshot_id: str, dataset: str, after: str) -> None:
    """Claim what an import confirms for the next batch of records, and ask for the one after it."""
    last = claims.claim_batch(session, dataset, after=after)
    if last is not None:
        key = f"{snapshot_id}:{last}"
        jobs.enqueue(session, "sync.claim_fields", key=key, snapshot_id=snapshot_id, dataset=dataset, after=last)


@jobs.handler("sync.index_links")
def index_links(session: Session, *, run: str, after: str) -> None:
    """Index the next batch of older records, and ask for the one after it."""
    last = links.index_batch(session, after=UUID(after))
    if last is not None:
        jobs.enqueue(session, "sync.index_links", key=f"{run}:{last}", run=run, after=str(last))


def _publish_task(session: Session, task: TaskDocument) -> None:
    service.publish(session, kind=Kind.TASK, document_id=task.id, grid_id=task.grid_id, fields=task.fields)


def _requests(wanted: Sequence[UUID], batch: Sequence[jobs.Claimed]) -> dict[UUID, str | None]:
    """By document the request of the last job about it."""
    return {document_id: job.request_id for document_id, job in zip(wanted, batch, strict=True)}


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
