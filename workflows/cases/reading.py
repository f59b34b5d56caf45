"""Queues, lists and single cases as a caller sees them."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, tuple_
from sqlmodel import Session, col, select

from backend.core.clock import CITY_TIME, now
from backend.core.enums import CaseState, Kind, Role, SourceType
from backend.core.errors import Malformed, NotFound
from backend.models import Case, CaseQueue, CaseStep, Document, PhotoLink, RegistrationStandard, Verdict
from backend.services.case_numbers import case_number
from backend.services.scope import below
from backend.services.sealing import open_values
from backend.services.sessions import Caller
from backend.services.thumbnails import Source, Thumbnail, thumbnails
from workflows.cases import rules
from workflows.cases.schemas import (
    AllowedAction,
    CaseDetail,
    CaseLine,
    CasePage,
    CaseSummary,
    QueueCounts,
    SourceReference,
    StandardSummary,
    Step,
    VerdictSummary,
)
from workflows.cases.scope import visible_to
from workflows.cases.service import actor_of, standing_of
from workflows.cases.steps import note_context
from workflows.deadlines.rules import elapsed
from workflows.deadlines.service import load_calendar

Counted = tuple[str, CaseState, int, int]


def list_cases(
    session: Session,
    *,
    caller: Caller,
    queue_code: str | None = None,
    states: Sequence[CaseState] = (),
    overdue: bool | None = None,
    mine: bool = False,
    cursor: str | None = None,
    limit: int = 50,
) -> CasePage:
    """A page of the caller's cases by deadline. Without `states` the open ones; `mine` are those the caller claimed.

    `Malformed` for a cursor that no page gave.
    """
    conditions = [visible_to(caller), col(Case.state).in_(states or rules.OPEN_STATES)]
    if queue_code is not None:
        conditions.append(col(Case.queue_code) == queue_code)
    if overdue is not None:
        conditions.append(_is_overdue(now()).is_(overdue))
    if mine:
        conditions.append(col(Case.claimed_by) == caller.account_id)
    if cursor is not None:
        conditions.append(tuple_(col(Case.deadline_at), col(Case.id)) > tuple_(*_position(cursor)))
    rows = session.exec(
        select(Case, Verdict, RegistrationStandard)
        .join(Verdict, col(Verdict.id) == Case.verdict_id)
        .join(
            RegistrationStandard,
            tuple_(col(RegistrationStandard.scheme), col(RegistrationStandard.code))
            == tuple_(col(Case.standard_scheme), col(Case.standard_code)),
        )
        .where(*conditions)
        .order_by(col(Case.deadline_at), col(Case.id))
        .limit(limit + 1)
    ).all()
    moment = now()
    pictures = thumbnails(session, {(case.source_type, case.source_id) for case, *_ in rows[:limit]})
    lines = [
        CaseLine(**_line(case, verdict.kind, standard, moment, pictures)) for case, verdict, standard in rows[:limit]
    ]
    return CasePage(cases=lines, next=_cursor(rows[limit - 1][0]) if len(rows) > limit else None)


def get_case(session: Session, *, caller: Caller, case_id: UUID) -> CaseDetail:
    """One case with its history. `NotFound` also for a case outside the caller's scope."""
    case = session.exec(select(Case).where(Case.id == case_id, visible_to(caller))).first()
    if case is None:
        raise NotFound
    return detail(session, caller=caller, case=case)


def detail(session: Session, *, caller: Caller, case: Case) -> CaseDetail:
    """The whole view of a case that the caller may see or has just acted on."""
    verdict = session.get_one(Verdict, case.verdict_id)
    standard = session.get_one(RegistrationStandard, (case.standard_scheme, case.standard_code))
    moment = now()
    pictures = thumbnails(session, [(case.source_type, case.source_id)])
    line = _line(case, verdict.kind, standard, moment, pictures)
    line["source"].merged_into = _merged_into(session, case)
    return CaseDetail(
        **line,
        overdue_minutes=_overdue_minutes(session, case, standard, moment),
        standard=StandardSummary.model_validate(standard, from_attributes=True),
        verdict=VerdictSummary.model_validate(verdict, from_attributes=True),
        photos=_photos(session, case),
        steps=_steps(session, case),
        actions=[_allowed(edge) for edge in rules.allowed(standing_of(session, case), actor_of(caller))],
    )


def _merged_into(session: Session, case: Case) -> UUID | None:
    """The record that the case's one was found to be a duplicate of; it counts while this one is deleted."""
    if case.source_type is not SourceType.DOCUMENT:
        return None
    query = select(Document.merged_into).where(Document.id == case.source_id, col(Document.deleted))
    return session.exec(query).first()


def queues(session: Session, *, caller: Caller) -> list[QueueCounts]:
    """The queues of the caller's territory or department, and others that hold cases of it, with their counts."""
    counted = _counted(session, visible_to(caller))
    holding = {code for code, *_ in counted}
    own = (
        col(CaseQueue.department_code) == caller.department_code
        if caller.role is Role.HANDLER
        else below(CaseQueue.territory_code, caller)
    )
    rows = session.exec(select(CaseQueue).where(or_(own, col(CaseQueue.code).in_(holding))).order_by(CaseQueue.code))
    return [
        QueueCounts(
            code=queue.code,
            name=queue.name,
            territory_code=queue.territory_code,
            **_totals(row for row in counted if row[0] == queue.code),
        )
        for queue in rows
    ]


def summary(session: Session, *, caller: Caller) -> CaseSummary:
    """The caller's cases counted, in all and by queue."""
    return CaseSummary(**_totals(_counted(session, visible_to(caller))), queues=queues(session, caller=caller))


def _is_overdue(moment: datetime) -> ColumnElement[bool]:
    return col(Case.deadline_at) < func.coalesce(col(Case.closed_at), moment)


def _counted(session: Session, scope: ColumnElement[bool]) -> list[Counted]:
    """Queue, state, how many, how many of these are past their deadline."""
    rows = session.exec(
        select(Case.queue_code, Case.state, func.count(), func.count().filter(_is_overdue(now())))
        .where(scope)
        .group_by(col(Case.queue_code), col(Case.state))
    )
    return [(code, CaseState(state), total, late) for code, state, total, late in rows]


def _totals(counted: Iterable[Counted]) -> dict[str, Any]:
    states: Counter[CaseState] = Counter()
    late: Counter[CaseState] = Counter()
    for _, state, total, overdue in counted:
        states[state] += total
        late[state] += overdue
    return {
        "total": states.total(),
        "open": sum(states[state] for state in rules.OPEN_STATES),
        "overdue": sum(late[state] for state in rules.OPEN_STATES),
        "states": {state: states[state] for state in CaseState if states[state]},
    }


def _line(
    case: Case, kind: Kind, standard: RegistrationStandard, moment: datetime, pictures: Mapping[Source, Thumbnail]
) -> dict[str, Any]:
    assert case.seq is not None
    return {
        **case.model_dump(include=set(CaseLine.model_fields) & set(Case.model_fields)),
        "number": case_number(case.opened_at, case.seq),
        "source": SourceReference(type=case.source_type, id=case.source_id, version=case.source_version, kind=kind),
        "standard_name": standard.name,
        "urgent": standard.urgent,
        "overdue": case.deadline_at < (case.closed_at or moment),
        "thumbnail": pictures.get((case.source_type, case.source_id)),
    }


def _overdue_minutes(session: Session, case: Case, standard: RegistrationStandard, moment: datetime) -> int:
    end = case.closed_at or moment
    if end <= case.deadline_at:
        return 0
    first, last = (edge.astimezone(CITY_TIME).date() for edge in (case.deadline_at, end))
    calendar = load_calendar(session, first=first, last=last)
    return int(elapsed(case.deadline_at, end, standard.limit_clock, calendar).total_seconds() // 60)


def _photos(session: Session, case: Case) -> list[UUID]:
    links = select(PhotoLink.photo_id).where(
        PhotoLink.source_type == case.source_type, PhotoLink.source_id == case.source_id
    )
    return list(session.exec(links.order_by(col(PhotoLink.photo_id))))


def _steps(session: Session, case: Case) -> list[Step]:
    rows = session.exec(select(CaseStep).where(CaseStep.case_id == case.id).order_by(col(CaseStep.version))).all()
    notes = open_values(session, {note_context(case.id, row.version): row.note for row in rows})
    return [
        Step(
            **row.model_dump(exclude={"case_id", "note"}),
            reason_zh=rules.REASONS.get(row.reason or ""),
            note=notes.get(note_context(case.id, row.version)),
        )
        for row in rows
    ]


def _allowed(edge: rules.Edge) -> AllowedAction:
    choices = {code: rules.REASONS[code] for code in edge.reasons}
    needs = [*edge.needs, *([rules.Need.REASON] if len(choices) > 1 else [])]
    return AllowedAction(action=rules.Action(edge.action), to_state=edge.target, needs=needs, reasons=choices)


def _cursor(case: Case) -> str:
    return urlsafe_b64encode(json.dumps([case.deadline_at.isoformat(), str(case.id)]).encode()).decode()


def _position(cursor: str) -> tuple[datetime, UUID]:
    """Where a page ended. `Malformed` for anything else."""
    try:
        deadline_at, case_id = json.loads(urlsafe_b64decode(cursor))
        position = datetime.fromisoformat(deadline_at), UUID(case_id)
    except (ValueError, TypeError, AttributeError) as error:
        raise Malformed(at="cursor") from error
    if position[0].tzinfo is None:
        raise Malformed(at="cursor")
    return position
