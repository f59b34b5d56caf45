"""The durable jobs of the cross-check: `workflows.crosscheck`, one for each version of an entry, and those of a run
that checks entries again."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlmodel import Session

from backend import jobs
from backend.core.enums import SourceType
from workflows.crosscheck import recheck, service, what_if
from workflows.crosscheck.facts import Source


@jobs.handler("workflows.crosscheck")
def crosscheck(session: Session, *, source_type: str, source_id: str, source_version: int) -> None:
    """Check one version of one entry. Running again changes nothing."""
    source = _source(source_type=source_type, source_id=source_id, source_version=source_version)
    refused = service.check(session, [source])
    if source in refused:
        raise jobs.Discard(refused[source])


@jobs.mixed_handler("workflows.crosscheck")
def crosscheck_many(session: Session, batch: Sequence[jobs.Claimed]) -> Mapping[int, str]:
    """Check many versions with as many statements as one takes."""
    sources = [_source(**job.payload) for job in batch]
    requests = {source: job.request_id for source, job in zip(sources, batch, strict=True)}
    refused = service.check(session, sources, requests=requests)
    return {place: refused[source] for place, source in enumerate(sources) if source in refused}


@jobs.handler("workflows.crosscheck.recheck_step")
def recheck_step(session: Session, *, recheck_id: str, step: int) -> None:
    """Find the next entries of a run that checks again, and ask for the step after it."""
    recheck.step(session, UUID(recheck_id), number=step)


@jobs.handler("workflows.crosscheck.recheck")
def recheck_one(session: Session, *, recheck_id: str, **source: Any) -> None:
    """Check one entry of a run again. Running again changes nothing."""
    recheck.check_again(session, UUID(recheck_id), [_source(**source)])


@jobs.batch_handler("workflows.crosscheck.recheck")
def recheck_many(session: Session, payloads: Sequence[Mapping[str, Any]]) -> Mapping[int, str]:
    """Check many entries again, those of one run together."""
    for recheck_id in sorted({one["recheck_id"] for one in payloads}):
        sources = [_source(**_without_run(one)) for one in payloads if one["recheck_id"] == recheck_id]
        recheck.check_again(session, UUID(recheck_id), sources)
    return {}


@jobs.handler("workflows.crosscheck.counterparts")
def check_counterparts(session: Session, *, source_type: str, source_id: str, source_version: int) -> None:
    """Have what is known about the same as one entry checked again, on the grid's side or the declarants'."""
    source = _source(source_type=source_type, source_id=source_id, source_version=source_version)
    recheck.check_counterparts(session, source)


@jobs.handler("workflows.crosscheck.what_if")
def what_if_step(session: Session, *, what_if_id: str, step: int) -> None:
    """Count what other rules would change for the next entries, and ask for the step after it."""
    what_if.step(session, UUID(what_if_id), number=step)


def _without_run(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name != "recheck_id"}


def _source(*, source_type: str, source_id: str, source_version: int) -> Source:
    return Source(SourceType(source_type), UUID(source_id), source_version)
