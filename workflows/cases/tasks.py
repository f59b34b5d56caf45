"""Jobs of the case room."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlmodel import Session

from backend import jobs
from workflows.cases import service


@jobs.handler("workflows.cases.consider")
def consider(session: Session, *, verdict_id: str) -> None:
    """Open a case for a verdict, or come again to the one that is open."""
    service.consider(session, verdict_id=UUID(verdict_id))


@jobs.batch_handler("workflows.cases.consider")
def consider_many(session: Session, payloads: Sequence[Mapping[str, Any]]) -> Mapping[int, str]:
    """One verdict after the other in one transaction. What is unknown is found out before anything is written."""
    refused: dict[int, str] = {}
    for place, one in enumerate(payloads):
        try:
            service.consider(session, verdict_id=UUID(one["verdict_id"]))
        except jobs.Discard as reason:
            refused[place] = str(reason)
    return refused
