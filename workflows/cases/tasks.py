"""Jobs of the case room."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlmodel import Session

from backend import jobs
from backend.core.logging import log_context
from workflows.cases import answering, considering, undoing

NIL = UUID(int=0)


@jobs.handler("workflows.cases.consider")
def consider(session: Session, *, verdict_id: str) -> None:
    """Open a case for a verdict, or come again to the one that is open."""
    considering.consider(session, verdict_id=UUID(verdict_id))


@jobs.mixed_handler("workflows.cases.consider")
def consider_many(session: Session, batch: Sequence[jobs.Claimed]) -> Mapping[int, str]:
    """One verdict after the other in one transaction. What is unknown is found out before anything is written.

    They come in the order of their entries' ids, which each one locks: a push locks its records in that order too.
    """
    refused: dict[int, str] = {}
    wanted = [UUID(job.payload["verdict_id"]) for job in batch]
    entries = considering.entries_of(session, wanted)
    for place in sorted(range(len(batch)), key=lambda place: entries.get(wanted[place], NIL)):
        job = batch[place]
        with log_context(job_id=str(job.id), request_id=job.request_id or ""):
            try:
                considering.consider(session, verdict_id=wanted[place])
            except jobs.Discard as reason:
                refused[place] = str(reason)
    return refused


@jobs.handler("workflows.cases.visited")
def visited(session: Session, *, visit_id: str) -> None:
    """Follow a worker's answer to a look on site."""
    answering.follow_answer(session, visit_id=UUID(visit_id))


@jobs.handler("workflows.cases.carry_out")
def carry_out(session: Session, *, settlement_id: str) -> None:
    """Open or ask for what a person decided on instead of what a verdict led to."""
    undoing.carry_out(session, settlement_id=UUID(settlement_id))
