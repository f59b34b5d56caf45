"""What a verdict led to is written down: accepted, a look on site, a case; a person can put another in its place."""

from typing import Any

import pytest
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import Course, Kind, RecheckCause, Role, TaskResult, TaskState, VerdictKind
from backend.core.errors import NotFound
from backend.handlers import load_handlers
from backend.models import AuditEntry, Case, Document, Job, Membership, Recheck, Settlement, Verdict, Visit
from backend.services.sealing import open_value
from backend.services.sessions import Caller
from tests.rooms.case_builders import Entries, account, caller
from workflows.cases import answering, considering, undoing
from workflows.cases.errors import SettlementNotPossible, SettlementReplaced, VisitDone
from workflows.cases.settling_rules import PERSON_REASONS, REASONS
from workflows.cases.settling_schemas import Undo, VisitAnswer

CONFIRMED = VisitAnswer(result="confirmed", note="合成说明")


@pytest.fixture
def entries(session: Session) -> Entries:
    load_handlers()
    return Entries(session)


@pytest.fixture
def supervisor(session: Session) -> Caller:
    return caller(session, "supervisor")


def person(entries: Entries) -> Document:
    document = entries.house()
    document.kind = Kind.PERSON
    entries.session.flush()
    return document


def considered(
    entries: Entries, entry: Document, kind: VerdictKind, *, recheck: bool = False, rule_version: int = 1
) -> Verdict:
    """A verdict on the entry, with what follows; `recheck`: of a check made again, in the place of the last."""
    session, run = entries.session, Recheck(cause=RecheckCause.RULES, created_at=now())
    if recheck:
        session.add(run)
        for former in session.exec(select(Verdict).where(Verdict.source_id == entry.id)):
            former.superseded_at = now()
        session.flush()
    run_id = run.id if recheck else None
    verdict = entries.verdict(entry, kind, rule_version=rule_version, recheck_id=run_id)
    considering.consider(session, verdict_id=verdict.id)
    return verdict


def settled(session: Session, entry: Document) -> list[tuple[Course, str]]:
    """What the entry was settled as, the last one in force."""
    found = session.exec(
        select(Settlement).where(Settlement.source_id == entry.id).order_by(col(Settlement.created_at))
    ).all()
    assert [one.superseded_at is None for one in found] == [False] * (len(found) - 1) + [True]
    return [(one.course, one.reason) for one in found]


def current(session: Session, entry: Document) -> Settlement:
    query = select(Settlement).where(Settlement.source_id == entry.id, col(Settlement.superseded_at).is_(None))
    return session.exec(query).one()


def visit_of(session: Session, entry: Document) -> Visit:
    return session.exec(select(Visit).where(Visit.document_id == entry.id).order_by(col(Visit.id).desc())).all()[0]


def task_of(session: Session, visit: Visit) -> dict[str, Any]:
    """As handhelds see it, after the jobs about it."""
    for job in session.exec(select(Job).where(Job.name == "sync.project_visit")).all():
        if job.payload["visit_id"] == str(visit.id):
            jobs.handler_of(job.name)(session, **job.payload)
    task = session.get_one(Document, visit.id)
    session.refresh(task)
    return task.body


def worker(session: Session, entry: Document) -> Caller:
    """Somebody who holds the grid of the entry."""
    found = account(session, Role.GRID_WORKER)
    session.add(Membership(account_id=found.account_id, grid_id=entry.grid_id, epoch=99, starts_at=now()))
    session.flush()
    return found


def undo(session: Session, who: Caller, entry: Document, instead: Course) -> None:
    asked = Undo(instead=instead, reason="seen_on_site", note="合成说明")
    undoing.undo(session, caller=who, settlement_id=current(session, entry).id, asked=asked)
    for _ in range(2):
        undoing.carry_out(session, settlement_id=current(session, entry).id)


def test_a_record_in_order_is_accepted_and_a_difference_becomes_a_case(session: Session, entries: Entries) -> None:
    good, bad = person(entries), person(entries)
    for entry, kind in ((good, VerdictKind.MATCH), (bad, VerdictKind.NAME_DIFFERS)):
        considering.consider(session, verdict_id=considered(entries, entry, kind).id)
    assert settled(session, good) == [(Course.ACCEPTED, "in_order")]
    assert settled(session, bad) == [(Course.CASE, "rule")]
    assert current(session, bad).case_id == entries.cases_of(bad)[0].id
    audited = session.exec(select(AuditEntry).where(AuditEntry.action == "settled")).all()
    assert [row.object_id for row in audited] == [str(current(session, one).id) for one in (good, bad)]


def test_where_somebody_lives_is_looked_at_on_site_before_it_becomes_a_case(session: Session, entries: Entries) -> None:
    entry = person(entries)
    considered(entries, entry, VerdictKind.MOVED)
    visit = visit_of(session, entry)
    assert (settled(session, entry), entries.cases_of(entry)) == ([(Course.VISIT, "rule")], [])
    assert current(session, entry).visit_id == visit.id
    task = task_of(session, visit)
    assert (task["task"], task["state"], task["finding"]) == ("visit", "open", "moved")
    assert task["source_id"] == str(entry.id)
    assert session.get_one(Document, visit.id).grid_id == entry.grid_id

    with pytest.raises(NotFound):
        answering.answer(session, caller=account(session, Role.GRID_WORKER), visit_id=visit.id, asked=CONFIRMED)
    holder = worker(session, entry)
    for _ in range(2):
        answering.answer(session, caller=holder, visit_id=visit.id, asked=CONFIRMED)
        answering.follow_answer(session, visit_id=visit.id)
    assert task_of(session, visit)["result"] == "confirmed"
    assert open_value(session, visit.note, context=visit.id.bytes) == "合成说明"
    (case,) = entries.cases_of(entry)
    assert case.reason == "moved", "the worker stands by it, so somebody has to handle it"
    assert settled(session, entry) == [(Course.VISIT, "rule"), (Course.CASE, "rule")]
    assert current(session, entry).decided_by == holder.account_id
    with pytest.raises(VisitDone):
        answering.answer(session, caller=worker(session, entry), visit_id=visit.id, asked=CONFIRMED)


def test_a_correction_answers_and_so_does_a_question_that_is_gone(session: Session, entries: Entries) -> None:
    corrected, gone = person(entries), person(entries)
    for entry in (corrected, gone):
        considered(entries, entry, VerdictKind.MOVED)
    entries.edit(corrected, house_id="other")
    considered(entries, corrected, VerdictKind.MATCH)
    considered(entries, gone, VerdictKind.MATCH, recheck=True)
    results = [visit_of(session, entry).result for entry in (corrected, gone)]
    assert results == [TaskResult.CORRECTED, TaskResult.WITHDRAWN]
    assert [settled(session, entry)[-1] for entry in (corrected, gone)] == [(Course.ACCEPTED, "in_order")] * 2
    assert task_of(session, visit_of(session, gone))["state"] == "done"


def test_a_record_has_one_open_look_and_it_is_not_asked_twice(session: Session, entries: Entries) -> None:
    entry = person(entries)
    considered(entries, entry, VerdictKind.MOVED)
    entries.edit(entry, house_id="other")
    considered(entries, entry, VerdictKind.FLAG_CONFLICT)
    (visit,) = session.exec(select(Visit).where(Visit.document_id == entry.id))
    assert visit.state is TaskState.OPEN
    answering.answer(session, caller=worker(session, entry), visit_id=visit.id, asked=CONFIRMED)
    entries.edit(entry, house_id="third")
    considered(entries, entry, VerdictKind.MOVED)
    assert [case.reason for case in entries.cases_of(entry)] == ["moved"], "he has said so already"
    assert len(session.exec(select(Visit).where(Visit.document_id == entry.id)).all()) == 1


def test_a_supervisor_takes_a_decision_back_and_back_again(
    session: Session, entries: Entries, supervisor: Caller
) -> None:
    entry = person(entries)
    considered(entries, entry, VerdictKind.MOVED)
    undo(session, supervisor, entry, Course.ACCEPTED)
    assert visit_of(session, entry).result is TaskResult.WITHDRAWN
    assert open_value(session, current(session, entry).note, context=current(session, entry).id.bytes) == "合成说明"
    undo(session, supervisor, entry, Course.VISIT)
    assert visit_of(session, entry).state is TaskState.OPEN
    undo(session, supervisor, entry, Course.CASE)
    (case,) = entries.cases_of(entry)
    assert current(session, entry).case_id == case.id
    assert [course for course, _ in settled(session, entry)] == [
        Course.VISIT,
        Course.ACCEPTED,
        Course.VISIT,
        Course.CASE,
    ]
    actors = session.exec(select(AuditEntry.actor).where(AuditEntry.action == "settled").order_by(col(AuditEntry.id)))
    assert actors.all() == ["workflows.cases", *[str(supervisor.account_id)] * 3]
    with pytest.raises(SettlementNotPossible):
        undo(session, supervisor, entry, Course.NONE)


def test_what_a_person_decided_outlives_a_check_of_the_same_finding(
    session: Session, entries: Entries, supervisor: Caller
) -> None:
    entry = person(entries)
    considered(entries, entry, VerdictKind.MOVED)
    undo(session, supervisor, entry, Course.ACCEPTED)
    considered(entries, entry, VerdictKind.MOVED, recheck=True)
    assert settled(session, entry)[-1] == (Course.ACCEPTED, "seen_on_site")
    considered(entries, entry, VerdictKind.NAME_DIFFERS, recheck=True)
    assert settled(session, entry)[-1] == (Course.CASE, "rule"), "another finding is another matter"


def test_an_event_is_one_matter_whatever_other_rules_find(session: Session, entries: Entries) -> None:
    event = entries.event()
    considered(entries, event, VerdictKind.ACCEPTED)
    considered(entries, event, VerdictKind.DUPLICATE, recheck=True, rule_version=2)
    (case,) = entries.cases_of(event)
    assert (case.reason, case.closed_at) == ("accepted", None)
    assert settled(session, event) == [(Course.CASE, "rule"), (Course.CASE, "case_open")]


def test_what_cannot_be_is_refused(session: Session, entries: Entries, supervisor: Caller) -> None:
    good, event = person(entries), entries.event()
    considered(entries, good, VerdictKind.MATCH)
    first = current(session, good).id
    elsewhere = account(session, Role.SUPERVISOR, territory_code="440303")
    asked = Undo(instead=Course.NONE, reason="decided_wrongly", note="合成说明")
    with pytest.raises(NotFound):
        undoing.undo(session, caller=elsewhere, settlement_id=first, asked=asked)
    with pytest.raises(SettlementNotPossible) as nothing:
        undo(session, supervisor, good, Course.CASE)
    undo(session, supervisor, good, Course.NONE)
    with pytest.raises(SettlementReplaced):
        undoing.undo(session, caller=supervisor, settlement_id=first, asked=asked)
    considered(entries, event, VerdictKind.ACCEPTED)
    case = session.get_one(Case, current(session, event).case_id)
    case.closed_at = now()
    session.flush()
    with pytest.raises(SettlementNotPossible) as nobody:
        undo(session, supervisor, event, Course.VISIT)
    assert [raised.value.extra["because"] for raised in (nothing, nobody)] == ["nothing_routes", "nobody_to_ask"]


def test_every_reason_has_a_text_and_people_name_theirs() -> None:
    schema = Undo.model_json_schema()["properties"]["reason"]["enum"]
    assert set(schema) == set(PERSON_REASONS)
    assert all(REASONS.values())
