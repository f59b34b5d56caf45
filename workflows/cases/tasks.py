"""Jobs of the case room."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlmodel import Session

from backend import jobs
from workflows.cases import answering, considering, undoing


@jobs.handler("workflows.cases.consider")
def consider(session: Session, *, verdict_id: str) -> None:
    """Open a case for a verdict, or come again to the one that is open."""
    considering.consider(session, verdict_id=UUID(verdict_id))


@jobs.batch_handler("workflows.cases.consider")
def consider_many(session: Session, payloads: Sequence[Mapping[str, Any]]) -> Mapping[int, str]:
    """One verdict after the other in one transaction. What is unknown is found out before anything is written."""
    refused: dict[int, str] = {}
    for place, one in enumerate(payloads):
        try:
            considering.consider(session, verdict_id=UUID(one["verdict_id"]))
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
