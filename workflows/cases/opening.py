"""Opens cases: in the queue that routing chose, measured by a registration standard."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import h3
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.ids import new_id
from backend.models import Case, RegistrationStandard, Verdict
from backend.services import photos
from workflows.cases import rules, sources
from workflows.cases.sources import Entry, Reference
from workflows.cases.steps import SYSTEM, Change, append_many
from workflows.deadlines.service import deadline
from workflows.routing.rules import RoutingDecision

NEARBY_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Opening:
    """A verdict that asks for a case, the entry it is about, where the case goes, by which standard, and the request
    that asks where it is not the context's."""

    verdict: Verdict
    entry: Entry
    decision: RoutingDecision
    standard: RegistrationStandard
    request_id: str | None = None


def open_case(session: Session, opening: Opening) -> Case:
    """Open one case."""
    return open_cases(session, [opening])[0]


def open_cases(session: Session, openings: Sequence[Opening]) -> list[Case]:
    """Open a case for each, in their order: one may be similar to the one before it."""
    moment = now()
    standards = {(one.standard.scheme, one.standard.code): one.standard for one in openings}
    due = {
        key: deadline(session, start=moment, amount=standard.limit_amount, clock=standard.limit_clock)
        for key, standard in standards.items()
    }
    cases, changes = [], []
    for one in openings:
        case = _case_of(one, at=moment, due=due[one.standard.scheme, one.standard.code])
        case.similar_to = _similar_case(session, case, one.entry)
        session.add(case)
        edge = rules.opening(urgent=one.standard.urgent)
        verdict_id, request_id = one.verdict.id, one.request_id
        changes.append(
            Change(case, edge, SYSTEM, edge.reasons[0], moment, verdict_id=verdict_id, request_id=request_id)
        )
        cases.append(case)
    session.flush()
    append_many(session, changes)
    photos.assess_sources_later(
        session,
        [
            photos.Cause(case.source_type, case.source_id, str(case.id), one.request_id)
            for case, one in zip(cases, openings, strict=True)
        ],
    )
    return cases


def _case_of(one: Opening, *, at: datetime, due: datetime) -> Case:
    verdict, entry, standard = one.verdict, one.entry, one.standard
    return Case(
        id=new_id(),
        source_type=verdict.source_type,
        source_id=verdict.source_id,
        source_version=verdict.source_version,
        rule_version=verdict.rule_version,
        verdict_id=verdict.id,
        reason=verdict.verdict.value,
        grid_id=verdict.grid_id,
        h3_cell=entry.h3_cell,
        queue_code=one.decision.queue_code,
        standard_scheme=standard.scheme,
        standard_code=standard.code,
        state=rules.opening(urgent=standard.urgent).target,
        collected_by=entry.collected_by,
        deadline_at=due,
        opened_at=at,
    )


def _similar_case(session: Session, case: Case, entry: Entry) -> UUID | None:
    """The earliest case nearby in place and time; H3 cells find the candidates, distance decides."""
    if entry.h3_cell is None or entry.point is None:
        return None
    nearby = session.exec(
        select(Case)
        .where(
            col(Case.h3_cell).in_(h3.grid_disk(entry.h3_cell, 1)),
            Case.opened_at >= case.opened_at - rules.SIMILAR_WITHIN,
            Case.source_id != case.source_id,
        )
        .order_by(col(Case.opened_at))
        .limit(NEARBY_LIMIT)
    ).all()
    references = {other.id: Reference(other.source_type, other.source_id, other.source_version) for other in nearby}
    entries = sources.load_entries(session, references.values())
    sightings = [
        rules.Sighting(other.id, found.point, other.opened_at, found.class_code)
        for other in nearby
        if (found := entries.get(references[other.id])) and found.point
    ]
    return rules.first_similar(rules.Sighting(case.id, entry.point, case.opened_at, entry.class_code), sightings)
