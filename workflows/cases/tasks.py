"""Jobs of the case room."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlmodel import Session

from backend import jobs
from workflows.cases import answering, considering, considering_many, undoing, withdrawing
from workflows.cases.considering_many import Asked


@jobs.handler("workflows.cases.consider")
def consider(session: Session, *, verdict_id: str) -> None:
    """Open a case for a verdict, or come again to the one that is open."""
    considering.consider(session, verdict_id=UUID(verdict_id))


@jobs.mixed_handler("workflows.cases.consider")
def consider_many(session: Session, batch: Sequence[jobs.Claimed]) -> Mapping[int, str]:
    """Many verdicts in one transaction."""
    return considering_many.consider(
        session, [Asked(UUID(job.payload["verdict_id"]), job.id, job.request_id) for job in batch]
    )


@jobs.handler("workflows.cases.visited")
def visited(session: Session, *, visit_id: str) -> None:
    """Follow a worker's answer to a look on site."""
    answering.follow_answer(session, visit_id=UUID(visit_id))


@jobs.handler("workflows.cases.declaration_withdrawn")
def declaration_withdrawn(session: Session, *, declaration_id: str) -> None:
    """End what a declaration had led to."""
    withdrawing.end_of_declaration(session, declaration_id=UUID(declaration_id))


@jobs.handler("workflows.cases.carry_out")
def carry_out(session: Session, *, settlement_id: str) -> None:
    """Open or ask for what a person decided on instead of what a verdict led to."""
    undoing.carry_out(session, settlement_id=UUID(settlement_id))
