"""A record and declarations about the same share a look on site, and have one case at most. People are synthetic."""

import pytest
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.enums import Course, DeclarationState, Kind, Role, SourceType, TaskResult, TaskState, VerdictKind
from backend.handlers import load_handlers
from backend.models import Case, Declaration, Document, Membership, Settlement, Verdict, Visit
from tests.rooms.case_builders import account, caller
from tests.rooms.crosscheck_builders import GRID, ZHANG, Entries
from tests.rooms.test_declared import Declared
from workflows.cases import answering, considering, undoing, visits, withdrawing
from workflows.cases.settling_schemas import Undo, VisitAnswer
from workflows.crosscheck.facts import Source

DIFFERS, MOVED = VerdictKind.SOURCES_DIFFER, VerdictKind.MOVED


class Told:
    """A record, declarations about the same, and what was found of them."""

    def __init__(self, session: Session) -> None:
        load_handlers()
        self.session = session
        self.declared = Declared(session)
        self.record = Entries(session).document(Kind.PERSON, ZHANG)

    def declare(self) -> Source:
        return self.declared.one(ZHANG, at=now())

    def find(self, source: Source, verdict: VerdictKind = DIFFERS) -> Source:
        """A verdict on the entry, and what follows."""
        made = Verdict(
            source_type=source.type,
            source_id=source.id,
            source_version=source.version,
            kind=Kind.PERSON,
            grid_id=GRID if source.type is SourceType.DOCUMENT else None,
            rule_version=1,
            verdict=verdict,
            findings=[verdict.value],
            snapshots={},
            created_at=now(),
        )
        self.session.add(made)
        self.session.flush()
        considering.consider(self.session, verdict_id=made.id)
        return source

    def settled(self, source: Source) -> Settlement:
        query = select(Settlement).where(Settlement.source_id == source.id, col(Settlement.superseded_at).is_(None))
        return self.session.exec(query).one()

    def became(self, source: Source) -> tuple[Course, str]:
        return self.settled(source).course, self.settled(source).reason

    def looks(self) -> list[Visit]:
        return list(self.session.exec(select(Visit).where(Visit.document_id == self.record.id)))

    def confirm(self) -> None:
        """By whoever holds the grid."""
        holder, (visit,) = account(self.session, Role.GRID_WORKER), self.looks()
        grid_id = self.session.get_one(Document, self.record.id).grid_id
        self.session.add(Membership(account_id=holder.account_id, grid_id=grid_id, epoch=99, starts_at=now()))
        self.session.flush()
        answering.answer(self.session, caller=holder, visit_id=visit.id, asked=VisitAnswer(result="confirmed"))
        answering.follow_answer(self.session, visit_id=visit.id)


@pytest.fixture
def told(session: Session) -> Told:
    return Told(session)


def test_what_is_declared_against_a_confirmed_record_later_opens_no_case_of_its_own(
    session: Session, told: Told
) -> None:
    first = told.declare()
    told.find(told.record)
    told.find(first)
    told.confirm()
    assert [told.became(one) for one in (told.record, first)] == [
        (Course.CASE, "rule"),
        (Course.NONE, "confirmed_on_site"),
    ]
    session.get_one(Declaration, first.id).version = 2
    session.flush()
    for later in (Source(first.type, first.id, 2), told.declare()):
        assert told.became(told.find(later)) == (Course.NONE, "confirmed_on_site")
    (case,) = session.exec(select(Case)).all()
    assert (case.source_type, case.source_id) == (SourceType.DOCUMENT, told.record.id)


def test_one_look_answers_what_was_found_of_either(told: Told) -> None:
    moved = told.declare()
    told.find(told.record)
    told.find(moved, MOVED)
    assert told.settled(moved).visit_id == told.settled(told.record).visit_id
    told.confirm()
    assert [told.became(one) for one in (told.record, moved)] == [(Course.CASE, "rule")] * 2
    assert [visit.result for visit in told.looks()] == [TaskResult.CONFIRMED]


def test_a_shared_look_stays_until_nobody_needs_it(session: Session, told: Told) -> None:
    first, second = told.declare(), told.declare()
    for one in (told.record, first, second):
        told.find(one)
    instead = Undo(instead=Course.ACCEPTED, reason="seen_on_site", note="合成说明")
    office, undone = caller(session, "supervisor"), told.settled(told.record)
    undoing.undo(session, caller=office, settlement_id=undone.id, asked=instead)
    undoing.carry_out(session, settlement_id=told.settled(told.record).id)
    for gone in (first, second):
        assert [visit.state for visit in told.looks()] == [TaskState.OPEN]
        session.get_one(Declaration, gone.id).state = DeclarationState.WITHDRAWN
        session.flush()
        withdrawing.end_of_declaration(session, declaration_id=gone.id)
    assert [visit.result for visit in told.looks()] == [TaskResult.WITHDRAWN]


def test_a_look_that_somebody_asks_for_at_the_same_moment_is_shared(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = told.declare()
    told.find(told.record)
    read, seen = visits._open_one, iter([None])
    monkeypatch.setattr(visits, "_open_one", lambda *given: next(seen, read(*given)))
    told.find(first)
    assert told.settled(first).visit_id == told.settled(told.record).visit_id
    assert len(told.looks()) == 1
