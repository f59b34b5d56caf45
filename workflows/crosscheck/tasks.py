"""The durable job of the cross-check: `workflows.crosscheck`, one for each version of an entry."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlmodel import Session

from backend import jobs
from backend.core.enums import SourceType
from workflows.crosscheck import service
from workflows.crosscheck.facts import Source


@jobs.handler("workflows.crosscheck")
def crosscheck(session: Session, *, source_type: str, source_id: str, source_version: int) -> None:
    """Check one version of one entry. Running again changes nothing."""
    source = Source(SourceType(source_type), UUID(source_id), source_version)
    refused = service.check(session, [source])
    if source in refused:
        raise jobs.Discard(refused[source])


@jobs.batch_handler("workflows.crosscheck")
def crosscheck_many(session: Session, payloads: Sequence[Mapping[str, Any]]) -> Mapping[int, str]:
    """Check many versions with as many statements as one takes."""
    sources = [
        Source(SourceType(one["source_type"]), UUID(one["source_id"]), one["source_version"]) for one in payloads
    ]
    refused = service.check(session, sources)
    return {place: refused[source] for place, source in enumerate(sources) if source in refused}
