"""Verdicts that are considered together lead to what each leads to alone."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlmodel import Session, col, select

from backend.core import statements
from backend.core.clock import now
from backend.core.enums import Course, Kind, RecheckCause, VerdictKind
from backend.core.ids import new_id
from backend.handlers import load_handlers
from backend.models import AuditEntry, Case, CaseStep, Document, Job, Recheck, Settlement, Verdict, Visit
from tests.rooms.case_builders import Entries, caller
from workflows.cases import considering, considering_many, undoing
from workflows.cases.considering_many import Asked
from workflows.cases.settling_schemas import Undo

Past = Callable[[Entries, Document], Verdict]
"""What has become of a record so far; gives the verdict that is to be considered."""


@pytest.fixture
def entries(session: Session) -> Entries:
    load_handlers()
    return Entries(session)


def person(entries: Entries) -> Document:
    document = entries.house()
    document.kind = Kind.PERSON
    entries.session.flush()
    return document


def asked(verdicts: Sequence[Verdict], request_id: str = "asked") -> list[Asked]:
    return [Asked(verdict.id, new_id(), request_id) for verdict in verdicts]


def alone(entries: Entries, entry: Document, kind: VerdictKind) -> Verdict:
    verdict = entries.verdict(entry, kind)
    considering.consider(entries.session, verdict_id=verdict.id)
    return verdict


def first(kind: VerdictKind) -> Past:
    return lambda entries, entry: entries.verdict(entry, kind)


def edited_after(kind: VerdictKind, then: VerdictKind = VerdictKind.MATCH) -> Past:
    def past(entries: Entries, entry: Document) -> Verdict:
        alone(entries, entry, kind)
        entries.edit(entry)
        return entries.verdict(entry, then)

    return past


def edited_since(entries: Entries, entry: Document) -> Verdict:
    verdict = entries.verdict(entry, VerdictKind.MATCH)
    entries.edit(entry)
    return verdict


def deleted_since(entries: Entries, entry: Document) -> Verdict:
    verdict = entries.verdict(entry, VerdictKind.MATCH)
    entries.delete(entry)
    return verdict


def considered_before(entries: Entries, entry: Document) -> Verdict:
    return alone(entries, entry, VerdictKind.MATCH)


def considered_and_undone(entries: Entries, entry: Document) -> Verdict:
    verdict = alone(entries, entry, VerdictKind.MATCH)
    session = entries.session
    found = session.exec(select(Settlement).where(Settlement.verdict_id == verdict.id)).one()
    instead = Undo(instead=Course.NONE, reason="decided_wrongly", note="合成说明")
    undoing.undo(session, caller=caller(session, "supervisor"), settlement_id=found.id, asked=instead)
    return verdict


def decided_by_a_person_before(entries: Entries, entry: Document) -> Verdict:
    considered_and_undone(entries, entry)
    entries.edit(entry)
    return entries.verdict(entry, VerdictKind.MATCH)


def of_a_duplicate_with_a_case(entries: Entries, entry: Document) -> Verdict:
    duplicate = entries.house()
    alone(entries, duplicate, VerdictKind.RENTAL_HAZARD)
    entries.delete(duplicate)
    duplicate.merged_into = entry.id
    entries.edit(entry)
    return entries.verdict(entry, VerdictKind.MATCH)


def replaced(entries: Entries, entry: Document) -> Verdict:
    verdict = entries.verdict(entry, VerdictKind.MATCH)
    verdict.superseded_at = now()
    entries.session.flush()
    return verdict


def checked_again(entries: Entries, entry: Document) -> Verdict:
    run = Recheck(cause=RecheckCause.RULES, created_at=now())
    entries.session.add(run)
    alone(entries, entry, VerdictKind.NAME_DIFFERS).superseded_at = now()
    entries.session.flush()
    return entries.verdict(entry, VerdictKind.MATCH, rule_version=2, recheck_id=run.id)


PASTS = [
    first(VerdictKind.MATCH),
    first(VerdictKind.NAME_DIFFERS),
    first(VerdictKind.MOVED),
    edited_after(VerdictKind.MATCH),
    edited_after(VerdictKind.MOVED),
    edited_after(VerdictKind.NAME_DIFFERS),
    edited_after(VerdictKind.NAME_DIFFERS, VerdictKind.NAME_DIFFERS),
    edited_since,
    deleted_since,
    considered_before,
    considered_and_undone,
    decided_by_a_person_before,
    of_a_duplicate_with_a_case,
    replaced,
    checked_again,
]


def what_became(session: Session, entry: Document) -> list[Any]:
    """Settlements, looks and steps of cases, in a form in which two records can be compared."""
    settlements = select(Settlement).where(Settlement.source_id == entry.id).order_by(col(Settlement.created_at))
    visits = select(Visit).where(Visit.document_id == entry.id)
    steps = select(CaseStep.action, CaseStep.reason).join(Verdict).where(Verdict.source_id == entry.id)
    audited = select(AuditEntry).where(AuditEntry.action == "settled").order_by(col(AuditEntry.id))
    of_settlement = {"course", "reason", "source_version", "rule_version", "kind", "grid_id"}
    return [
        [(one.model_dump(include=of_settlement), one.superseded_at is None) for one in session.exec(settlements)],
        [(one.state, one.result, one.finding) for one in session.exec(visits)],
        sorted(session.exec(steps).all()),
        [(row.actor, row.detail["course"]) for row in session.exec(audited) if str(entry.id) in row.detail["source"]],
    ]


def test_considered_together_each_leads_to_what_it_leads_to_alone(session: Session, entries: Entries) -> None:
    pairs = [(person(entries), person(entries)) for _ in PASTS]
    singly = [past(entries, entry) for past, (entry, _) in zip(PASTS, pairs, strict=True)]
    batch = [past(entries, entry) for past, (_, entry) in zip(PASTS, pairs, strict=True)]
    for verdict in singly:
        considering.consider(session, verdict_id=verdict.id)
    for _ in range(2):
        assert considering_many.consider(session, asked(batch)) == {}
        session.expire_all()
        for place, (one, other) in enumerate(pairs):
            assert what_became(session, other) == what_became(session, one), f"past {place}"
    assert what_became(session, pairs[0][1])[0][0][0]["course"] is Course.ACCEPTED


def test_two_verdicts_of_one_record_and_one_of_none(session: Session, entries: Entries) -> None:
    entry = person(entries)
    former = entries.verdict(entry, VerdictKind.NAME_DIFFERS)
    entries.edit(entry)
    batch = [*asked([entries.verdict(entry, VerdictKind.MATCH), former]), Asked(new_id(), new_id(), None)]
    assert considering_many.consider(session, batch) == {2: "verdict_unknown"}
    [settlements, visits, steps, _] = what_became(session, entry)
    assert [(one["course"], one["source_version"]) for one, _ in settlements] == [(Course.ACCEPTED, 2)]
    assert (visits, steps) == ([], [])


def test_all_that_follows_names_the_request_of_each(session: Session, entries: Entries) -> None:
    kinds = {"one": VerdictKind.MATCH, "two": VerdictKind.NAME_DIFFERS, "three": VerdictKind.NAME_DIFFERS}
    verdicts = {name: entries.verdict(person(entries), kind) for name, kind in kinds.items()}
    considering_many.consider(session, [one for name, verdict in verdicts.items() for one in asked([verdict], name)])
    by_verdict = {verdict.id: name for name, verdict in verdicts.items()}
    cases = {
        str(case.id): by_verdict[case.verdict_id]
        for case in session.exec(select(Case).where(col(Case.verdict_id).in_(by_verdict)))
    }
    trail = session.exec(select(AuditEntry).where(col(AuditEntry.request_id).in_(kinds))).all()
    settled = {row.request_id: row.detail["verdict"] for row in trail if row.action == "settled"}
    assert settled == {name: str(verdict.id) for name, verdict in verdicts.items()}
    assert {row.object_id: row.request_id for row in trail if row.action == "case_open"} == cases
    for name in ("sync.project_case", "workflows.notify.case_changed"):
        asking = session.exec(select(Job).where(Job.name == name, col(Job.request_id).in_(kinds)))
        assert {job.payload["case_id"]: job.request_id for job in asking} == cases
    assert len(cases) == 2


def test_of_two_events_in_a_batch_the_later_is_like_the_earlier(session: Session, entries: Entries) -> None:
    earlier, later = entries.event(), entries.event(metres_north=10)
    entries.edit(earlier)
    considering_many.consider(session, asked([entries.verdict(later), entries.verdict(earlier)]))
    (first,), (second,) = entries.cases_of(earlier), entries.cases_of(later)
    assert (first.similar_to, second.similar_to) == (None, first.id)


def test_entries_are_locked_in_the_order_of_a_push(
    session: Session, entries: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any other order a batch and a push wait for each other's records, and the push is turned away."""
    verdicts = [entries.verdict(person(entries), VerdictKind.MATCH) for _ in range(5)]
    run, sent = statements.execute, []

    def noted(session: Session, query: str, values: Any = None) -> statements.Answer:
        sent.append((query, values))
        return run(session, query, values)

    monkeypatch.setattr(statements, "execute", noted)
    considering_many.consider(session, asked(sorted(verdicts, key=lambda one: one.source_id, reverse=True)))
    in_order = sorted(one.source_id for one in verdicts)
    assert sent[0][1]["keys"] == [f"case:{one}" for one in in_order]
    assert "ORDER BY id FOR SHARE" in sent[1][0]
    assert sent[1][1]["ids"] == in_order
