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
from backend.core.clock import now
from backend.core.enums import Course, SourceType
from backend.core.ids import new_id
from backend.core.logging import log_context
from backend.models import Verdict
from backend.services import audit
from workflows.cases import considering, settling, sources
from workflows.cases.opening import Opening, open_cases
from workflows.cases.settling import Led
from workflows.cases.sources import Entry, Reference
from workflows.cases.steps import SYSTEM
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


def _lock(session: Session, verdicts: Iterable[Verdict]) -> None:
    """What `considering.lock_source` and `sources.is_in_force` lock, for all."""
    given = sorted({(verdict.source_id, verdict.source_type) for verdict in verdicts})
    statements.execute(session, _LOCK_SOURCES, {"keys": [f"case:{source_id}" for source_id, _ in given]})
    records = [source_id for source_id, source_type in given if source_type is SourceType.DOCUMENT]
    statements.execute(session, _KEEP_RECORDS, {"ids": records})


def _follow_together(
    session: Session, batch: Sequence[Asked], verdicts: Mapping[UUID, Verdict], table: routing.Table
) -> set[UUID]:
    """Follow the verdicts of records about which nothing stands open, as far as no worker is to be asked; gives their
    ids."""
    quiet = [verdicts[one] for one in _with_nothing_open(session, _alone(verdicts.values()))]
    requests = {one.verdict_id: one.request_id for one in batch}
    led, openings = {}, []
    for verdict, entry, decision in _decided(session, quiet, table):
        if decision is None:
            led[verdict.id] = considering.unasked(verdict)
        elif not decision.to_worker:
            standard = routing.standard_of(session, decision)
            openings.append(Opening(verdict, entry, decision, standard, requests[verdict.id]))
    for one, case in zip(openings, open_cases(session, openings), strict=True):
        led[one.verdict.id] = Led(Course.CASE, "rule", one.decision.rule_id, case.id)
    _settle(session, [verdicts[one] for one in led], led, requests)
    return set(led)


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


def _settle(
    session: Session, verdicts: Sequence[Verdict], led: Mapping[UUID, Led], requests: Mapping[UUID, str | None]
) -> None:
    """`settling.settle` for many."""
    if not verdicts:
        return
    ids = [new_id() for _ in verdicts]
    named = {
        "ids": ids,
        "verdicts": [verdict.id for verdict in verdicts],
        "sources": [verdict.source_id for verdict in verdicts],
        "courses": [led[verdict.id].course.value for verdict in verdicts],
        "reasons": [led[verdict.id].reason for verdict in verdicts],
        "rules": [led[verdict.id].rule_id for verdict in verdicts],
        "cases": [led[verdict.id].case_id for verdict in verdicts],
        "at": now(),
    }
    statements.execute(session, _SUPERSEDE, named)
    statements.execute(session, _SETTLE, named)
    audit.record_many(
        session,
        actor=SYSTEM,
        action=settling.SETTLED,
        object_type="settlement",
        entries=[
            (str(one), settling.audited(verdict, led[verdict.id])) for one, verdict in zip(ids, verdicts, strict=True)
        ],
        requests=[requests[verdict.id] for verdict in verdicts],
    )


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
_SUPERSEDE = """
    UPDATE settlement SET superseded_at = %(at)s
    FROM unnest(%(sources)b::uuid[]) AS made (source_id)
    WHERE settlement.source_type = 'document' AND settlement.source_id = made.source_id
      AND settlement.superseded_at IS NULL
"""
_SETTLE = """
    INSERT INTO settlement (id, verdict_id, source_type, source_id, source_version, kind, grid_id, rule_version,
                            course, reason, routing_rule_id, case_id, created_at)
    SELECT made.id, v.id, v.source_type, v.source_id, v.source_version, v.kind, v.grid_id, v.rule_version,
           made.course, made.reason, made.rule_id, made.case_id, %(at)s
    FROM unnest(%(ids)b::uuid[], %(verdicts)b::uuid[], %(courses)b::text[], %(reasons)b::text[],
                %(rules)b::integer[], %(cases)b::uuid[])
         AS made (id, verdict_id, course, reason, rule_id, case_id)
    JOIN verdict v ON v.id = made.verdict_id
"""
