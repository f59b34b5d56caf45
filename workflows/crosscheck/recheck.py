"""Checking entries again: a run finds them a page at a time, a job for each makes the check, a new verdict takes the
place of the one before.

What follows from the new verdict is the case room's to consider, as it does for a first one.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import tuple_
from sqlmodel import Session, col, select

from backend import jobs
from backend.core import statements
from backend.core.clock import CITY_TIME, now
from backend.core.enums import DeclarationState, RecheckCause, SourceType
from backend.core.errors import Unavailable
from backend.models import Declaration, Document, Recheck, Report, Verdict
from backend.services import counterparts, rechecks
from workflows.crosscheck import service
from workflows.crosscheck.entries import load
from workflows.crosscheck.facts import Source
from workflows.crosscheck.lookup import gather
from workflows.crosscheck.rules import decide
from workflows.crosscheck.service import Checked
from workflows.crosscheck.touched import page_of


class CheckRaced(Unavailable):
    """Another check of the same entry ended at the same moment; this one is repeated and sees what that one wrote."""

    code = "check_raced"
    title_zh = "该数据正在被同时比对，请稍后重试"
    title_en = "The entry was being checked at the same moment; the check is repeated"


def step(session: Session, recheck_id: UUID, *, number: int) -> None:
    """Find the next entries of a run and ask for each to be checked. A step that was made already does nothing."""
    run = rechecks.running(session, recheck_id)
    if run is None or run.step != number:
        return
    _, rules = service.active_rules(session)
    page = page_of(session, run, rules)
    asked = _not_yet_asked(session, [_job(run, source) for source in page.sources])
    jobs.enqueue_many(session, asked)
    rechecks.found(session, run, len(asked), after=page.after)


def check_counterparts(session: Session, source: Source) -> None:
    """Ask for what the grid collected about the same as a declaration to be checked again, or what was declared about
    the same as a record: the two are compared with each other."""
    if source.type is SourceType.DECLARATION:
        counterpart, found = SourceType.DOCUMENT, counterparts.records_about(session, source.id)
    else:
        counterpart, found = SourceType.DECLARATION, counterparts.declarations_about(session, source.id)
    if found:
        run = rechecks.begin_for_counterparts(session, len(found))
        jobs.enqueue_many(session, [_job(run, Source(counterpart, *one)) for one in found])


def _not_yet_asked(session: Session, asked: Sequence[jobs.NewJob]) -> list[jobs.NewJob]:
    """Without those of earlier steps: records of several pages may touch one entry, which counts once."""
    keys = [job.key for job in asked]
    known = {key for (key,) in statements.rows(session, _ASKED, {"name": rechecks.ENTRY_JOB, "keys": keys})}
    return [job for job in asked if job.key not in known]


def _job(run: Recheck, source: Source) -> jobs.NewJob:
    payload = {
        "recheck_id": str(run.id),
        "source_type": source.type.value,
        "source_id": str(source.id),
        "source_version": source.version,
    }
    return jobs.NewJob(rechecks.ENTRY_JOB, f"{run.id}:{source.id}:{source.version}", payload, rechecks.LATER)


def check_again(session: Session, recheck_id: UUID, sources: Sequence[Source]) -> None:
    """Check entries again by the rules and records in force now, and count them. Running twice writes once.

    What was corrected, deleted or erased since it was found has nothing to be checked again, and is only counted.
    `CheckRaced` where another check came between: to be repeated.
    """
    run = rechecks.read(session, recheck_id)
    if run is None:
        return
    version, rules = service.active_rules(session)
    at = now().astimezone(CITY_TIME)
    before = _in_force(session, sources)
    entries = load(session, _current(session, sources)).entries
    if entries:
        gathered = gather(session, entries, rules)
        due = [entry for entry in entries if not _is_done(run, before.get(entry.source, ()), gathered.snapshots)]
        decided = [(entry, decide(entry, gathered.known[entry.source], rules, at=at)) for entry in due]
        _supersede(session, [one.id for entry in due for one in before.get(entry.source, ())], at)
        again = [one for one in decided if one[0].source in before]
        # The first check of a version is that of its push or report, whichever job makes it.
        first = [one for one in decided if one[0].source not in before]
        written = service.write(session, Checked(again, gathered.snapshots, version, at, recheck_id))
        written += service.write(session, Checked(first, gathered.snapshots, version, at))
        if written < len(due):
            raise CheckRaced
    rechecks.checked(session, recheck_id, len(sources))


def _in_force(session: Session, sources: Iterable[Source]) -> dict[Source, list[Verdict]]:
    """The verdicts in force on these versions, by whatever rules. Locked, so that one check replaces them."""
    key = (col(Verdict.source_type), col(Verdict.source_id), col(Verdict.source_version))
    named = tuple_(*key).in_([(source.type, source.id, source.version) for source in sources])
    query = select(Verdict).where(named, col(Verdict.superseded_at).is_(None)).order_by(col(Verdict.id))
    found: dict[Source, list[Verdict]] = {}
    for verdict in session.exec(query.with_for_update().execution_options(populate_existing=True)):
        source = Source(verdict.source_type, verdict.source_id, verdict.source_version)
        found.setdefault(source, []).append(verdict)
    return found


def _current(session: Session, sources: Iterable[Source]) -> list[Source]:
    """Those of the versions that still stand."""
    wanted = {source.id: source for source in sources}
    documents = select(Document.id, Document.version).where(
        col(Document.id).in_([one.id for one in wanted.values() if one.type is SourceType.DOCUMENT]),
        col(Document.deleted).is_(False),
    )
    reports = select(Report.id, Report.version).where(
        col(Report.id).in_([one.id for one in wanted.values() if one.type is SourceType.REPORT])
    )
    declarations = select(Declaration.id, Declaration.version).where(
        col(Declaration.id).in_([one.id for one in wanted.values() if one.type is SourceType.DECLARATION]),
        Declaration.state == DeclarationState.IN_FORCE,
    )
    standing = {*session.exec(documents), *session.exec(reports), *session.exec(declarations)}
    return [source for source in wanted.values() if (source.id, source.version) in standing]


def _is_done(run: Recheck, before: Sequence[Verdict], snapshots: service.Snapshots) -> bool:
    """Whether a verdict in force has seen what the run is about: made by it, or by the very snapshots of today."""
    for verdict in before:
        if verdict.recheck_id == run.id:
            return True
        if run.cause is RecheckCause.SNAPSHOT and verdict.snapshots == snapshots.get(verdict.kind):
            return True
    return False


def _supersede(session: Session, verdict_ids: Sequence[UUID], at: datetime) -> None:
    if verdict_ids:
        statements.execute(session, _SUPERSEDE, {"ids": list(verdict_ids), "at": at})


_ASKED = "SELECT CAST(key AS text) FROM job WHERE name = %(name)s::text AND key = ANY(%(keys)b::text[])"
_SUPERSEDE = "UPDATE verdict SET superseded_at = %(at)s WHERE id = ANY(%(ids)b::uuid[])"
