"""Verdicts of many entries at once: where nothing stands about an entry yet they are followed together, the others one
by one.

Most entries are in order, and nothing is open about them; of the others most are new. To find that out, to open cases
and to write it down takes as many statements for a batch as for one.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlmodel import Session, col, select

from backend import jobs
from backend.core import statements
from backend.core.enums import Course, SourceType
from backend.core.logging import log_context
from backend.models import Verdict
from workflows.cases import considering, settling, sources
from workflows.cases.opening import Opening, open_cases
from workflows.cases.settling import Led, Settling
from workflows.cases.sources import Entry, Reference
from workflows.routing import service as routing
from workflows.routing.rules import RoutingDecision


@dataclass(frozen=True, slots=True)
class Asked:
    """A verdict that is to be considered, and the job and request that ask for it."""

    verdict_id: UUID
    job_id: UUID
    request_id: str | None


def consider(session: Session, batch: Sequence[Asked]) -> Mapping[int, str]:
    """Consider each verdict as `considering.consider` does; gives the reason, by place, of those that never can be.

    Entries are locked before anything else, in the order of their ids: a push locks its records in that order too.
    """
    query = select(Verdict).where(col(Verdict.id).in_([one.verdict_id for one in batch]))
    verdicts = {verdict.id: verdict for verdict in session.exec(query)}
    _lock(session, verdicts.values())
    table = routing.table_of(session)
    settled = _follow_together(session, batch, verdicts, table)
    refused: dict[int, str] = {}
    for place, one in enumerate(batch):
        if one.verdict_id in settled:
            continue
        with log_context(job_id=str(one.job_id), request_id=one.request_id or ""):
            try:
                considering.consider(session, verdict_id=one.verdict_id, table=table)
            except jobs.Discard as reason:
                refused[place] = str(reason)
    return refused


def _lock(session: Session, verdicts: Collection[Verdict]) -> None:
    """What `considering.consider` locks, for all: the sources, and the records as they are."""
    considering.lock_sources(session, [verdict.source_id for verdict in verdicts])
    records = {verdict.source_id for verdict in verdicts if verdict.source_type is SourceType.DOCUMENT}
    statements.execute(session, _KEEP_RECORDS, {"ids": sorted(records)})


def _follow_together(
    session: Session, batch: Sequence[Asked], verdicts: Mapping[UUID, Verdict], table: routing.Table
) -> set[UUID]:
    """Follow the verdicts of records about which nothing stands open, as far as no worker is to be asked; gives their
    ids."""
    quiet = [verdicts[one] for one in _with_nothing_open(session, _alone(verdicts.values()))]
    requests = {one.verdict_id: one.request_id for one in batch}
    settled, openings = [], []
    for verdict, entry, decision in _decided(session, quiet, table):
        if decision is None:
            settled.append(Settling(verdict, considering.unasked(verdict), requests[verdict.id]))
        elif not decision.to_worker:
            standard = routing.standard_of(session, decision)
            openings.append(Opening(verdict, entry, decision, standard, requests[verdict.id]))
    for one, case in zip(openings, open_cases(session, openings), strict=True):
        led = Led(Course.CASE, "rule", one.decision.rule_id, case.id)
        settled.append(Settling(one.verdict, led, one.request_id))
    settling.settle_many(session, settled)
    return {one.verdict.id for one in settled}


def _alone(verdicts: Collection[Verdict]) -> list[UUID]:
    """First checks of a record that has no other verdict in the batch: two of one record are told one after the
    other."""
    times = Counter(verdict.source_id for verdict in verdicts)
    return [
        verdict.id
        for verdict in verdicts
        if verdict.source_type is SourceType.DOCUMENT and verdict.recheck_id is None and times[verdict.source_id] == 1
    ]


def _with_nothing_open(session: Session, verdict_ids: Sequence[UUID]) -> list[UUID]:
    return [one for (one,) in statements.rows(session, _QUIET, {"ids": verdict_ids})] if verdict_ids else []


def _decided(
    session: Session, verdicts: Iterable[Verdict], table: routing.Table
) -> Iterator[tuple[Verdict, Entry, RoutingDecision | None]]:
    """What the routing table wants done for each whose entry can be read, in the order of the entries' ids: who made an
    entry earlier is not said to be like who made one later."""
    of = {Reference(one.source_type, one.source_id, one.source_version): one for one in verdicts}
    found = sources.load_entries(session, of)
    for reference, entry in sorted(found.items(), key=lambda one: one[0].id):
        yield of[reference], entry, table.decide(considering.facts_of(of[reference], entry))


_LOCK_SOURCES = """
    SELECT pg_advisory_xact_lock(hashtextextended(key, 0))
    FROM unnest(%(keys)b::text[]) WITH ORDINALITY AS wanted (key, place) ORDER BY place
"""
_KEEP_RECORDS = "SELECT FROM document WHERE id = ANY(%(ids)b::uuid[]) ORDER BY id FOR SHARE"
_QUIET = """
    SELECT v.id FROM verdict v
    JOIN document d ON d.id = v.source_id AND d.version = v.source_version AND NOT d.deleted
    LEFT JOIN settlement s
        ON s.source_type = v.source_type AND s.source_id = v.source_id AND s.superseded_at IS NULL
    WHERE v.id = ANY(%(ids)b::uuid[]) AND v.superseded_at IS NULL
      AND (s.id IS NULL OR s.decided_by IS NULL AND s.course IN ('accepted', 'none'))
      AND NOT EXISTS (SELECT FROM settlement own WHERE own.source_id = v.source_id AND own.verdict_id = v.id)
      AND NOT EXISTS (SELECT FROM case_step step WHERE step.verdict_id = v.id)
      AND NOT EXISTS (SELECT FROM case_file open WHERE open.source_id = v.source_id AND open.closed_at IS NULL)
      AND NOT EXISTS (SELECT FROM document joined WHERE joined.merged_into = v.source_id)
"""
