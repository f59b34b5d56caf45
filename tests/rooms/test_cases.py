"""What becomes of a verdict: one case, at the right desk, with the right deadline; and how people move it on."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.enums import CaseState, ClockKind, Role, VerdictKind
from backend.core.errors import Malformed, NotFound, PreconditionFailed
from backend.core.ids import new_id
from backend.models import AuditEntry, Case, CaseStep, Job, RoutingRule
from backend.services.sealing import open_value
from backend.services.sessions import Caller
from tests.rooms.case_builders import Entries, account, caller
from workflows.cases import considering, reading, service
from workflows.cases.errors import CaseActionIncomplete, CaseActionNotAllowed, CaseDepartmentUnknown
from workflows.cases.rules import Action, CaseOutcome
from workflows.cases.schemas import ActionRequest, CasePage
from workflows.cases.steps import note_context
from workflows.deadlines.service import deadline
from workflows.routing.service import RoutingTableBroken

UNIT = "urban-management"


@pytest.fixture
def entries(session: Session) -> Entries:
    return Entries(session)


@pytest.fixture
def supervisor(session: Session) -> Caller:
    return caller(session, "supervisor")


@pytest.fixture
def handler(session: Session) -> Caller:
    return account(session, Role.HANDLER, department_code=UNIT)


def opened(entries: Entries, **event: Any) -> Case:
    """A case by way of a new event and its verdict."""
    entry = entries.event(**event)
    considering.consider(entries.session, verdict_id=entries.verdict(entry).id)
    return entries.cases_of(entry)[0]


def act(session: Session, who: Caller, case: Case, action: Action, **request: object) -> Case:
    return service.act(
        session,
        caller=who,
        case_id=case.id,
        action=action,
        version=case.version,
        request=ActionRequest.model_validate(request),
    )


def steps_of(session: Session, case: Case) -> list[CaseStep]:
    return list(session.exec(select(CaseStep).where(CaseStep.case_id == case.id).order_by(col(CaseStep.version))))


def test_a_verdict_opens_a_case_in_the_queue_of_its_district_with_its_standards_deadline(
    session: Session, entries: Entries
) -> None:
    worker = account(session, Role.GRID_WORKER)
    case = opened(entries, class_code="0101", collector=worker.account_id)
    assert (case.queue_code, case.standard_code, case.state) == ("12345-440310", "01-default", CaseState.ACCEPTED)
    assert (case.version, case.reason, case.collected_by) == (1, "accepted", worker.account_id)
    assert case.deadline_at == deadline(session, start=case.opened_at, amount=4, clock=ClockKind.WORK_HOURS)


def test_an_urgent_standard_opens_registered_and_its_clock_runs_through_the_night(entries: Entries) -> None:
    case = opened(entries, severity="urgent")
    assert (case.standard_code, case.state) == ("urgent", CaseState.REGISTERED)
    assert case.deadline_at - case.opened_at == timedelta(hours=2)


def test_a_verdict_that_no_rule_asks_a_case_for_opens_none(session: Session, entries: Entries) -> None:
    session.connection().execute(text("UPDATE routing_rule SET active = false"))
    entry = entries.event()
    considering.consider(session, verdict_id=entries.verdict(entry).id)
    assert entries.cases_of(entry) == []


def test_a_report_without_a_grid_goes_to_the_citys_queue(session: Session, entries: Entries) -> None:
    report = entries.report()
    considering.consider(session, verdict_id=entries.verdict(report).id)
    [case] = entries.cases_of(report)
    assert (case.queue_code, case.grid_id, case.collected_by) == ("12345-4403", None, None)


def test_running_the_job_twice_leaves_one_case_one_step_and_one_audit_row(session: Session, entries: Entries) -> None:
    entry = entries.event()
    verdict = entries.verdict(entry)
    for _ in range(2):
        considering.consider(session, verdict_id=verdict.id)
    [case] = entries.cases_of(entry)
    assert [step.action for step in steps_of(session, case)] == ["open"]
    assert len(audit_of(session, case)) == 1


def test_the_same_reason_on_a_later_version_comes_again_to_the_open_case(session: Session, entries: Entries) -> None:
    entry = entries.event()
    considering.consider(session, verdict_id=entries.verdict(entry).id)
    entries.edit(entry, severity="ordinary")
    second = entries.verdict(entry)
    for _ in range(2):
        considering.consider(session, verdict_id=second.id)
    [case] = entries.cases_of(entry)
    steps = steps_of(session, case)
    assert [(step.action, step.version, step.to_state) for step in steps] == [
        ("open", 1, CaseState.ACCEPTED),
        ("again", 2, CaseState.ACCEPTED),
    ]
    assert (case.version, case.source_version, steps[1].verdict_id) == (2, 1, second.id)


def test_a_record_deleted_before_its_verdict_is_considered_opens_no_case(session: Session, entries: Entries) -> None:
    house = entries.house(rental_use="rented")
    verdict = entries.verdict(house, VerdictKind.RENTAL_HAZARD)
    entries.delete(house)
    considering.consider(session, verdict_id=verdict.id)
    assert entries.cases_of(house) == []


def test_a_record_corrected_before_its_verdict_is_considered_opens_no_case(session: Session, entries: Entries) -> None:
    house = entries.house(rental_use="rented")
    verdicts = [entries.verdict(house, VerdictKind.RENTAL_HAZARD)]
    entries.edit(house, rental_use="self")
    verdicts.append(entries.verdict(house, VerdictKind.MATCH))
    for verdict in verdicts:
        considering.consider(session, verdict_id=verdict.id)
    assert entries.cases_of(house) == []


def test_a_case_about_a_duplicate_is_come_again_to_by_the_record_it_was_joined_into(
    session: Session, entries: Entries
) -> None:
    survivor, duplicate = entries.house(), entries.house()
    considering.consider(session, verdict_id=entries.verdict(duplicate, VerdictKind.RENTAL_HAZARD).id)
    (case,) = entries.cases_of(duplicate)
    entries.delete(duplicate)
    duplicate.merged_into = survivor.id
    entries.edit(survivor)
    considering.consider(session, verdict_id=entries.verdict(survivor, VerdictKind.RENTAL_HAZARD).id)
    assert entries.cases_of(survivor) == []
    assert case.version == 2
    shown = reading.get_case(session, caller=caller(session, "supervisor"), case_id=case.id)
    assert (shown.source.id, shown.source.merged_into) == (duplicate.id, survivor.id)
    entries.edit(survivor)
    considering.consider(session, verdict_id=entries.verdict(survivor, VerdictKind.MATCH).id)
    steps = [step.action for step in steps_of(session, case)]
    assert steps == ["open", "again", "cleared"], "and it is told that the record is in order now"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_event_that_was_edited_meanwhile_opens_one_case_whichever_verdict_comes_first(
    session: Session, entries: Entries, order: tuple[int, int]
) -> None:
    event = entries.event()
    verdicts = [entries.verdict(event, VerdictKind.OUT_OF_GRID)]
    entries.edit(event, severity="ordinary")
    verdicts.append(entries.verdict(event))
    for place in order:
        considering.consider(session, verdict_id=verdicts[place].id)
    [case] = entries.cases_of(event)
    assert (case.source_version, case.version, case.reason) == (2, 1, "accepted")


@pytest.mark.parametrize("clean", [VerdictKind.MATCH, VerdictKind.ACCEPTED])
def test_a_corrected_record_marks_its_open_cases_and_leaves_closing_to_people(
    session: Session, entries: Entries, clean: VerdictKind
) -> None:
    house = entries.house(rental_use="rented")
    for found in (VerdictKind.RENTAL_HAZARD, VerdictKind.DIFFERS):
        considering.consider(session, verdict_id=entries.verdict(house, found).id)
        entries.edit(house)
    for _ in range(2):
        verdict = entries.verdict(house, clean)
        for _ in range(2):
            considering.consider(session, verdict_id=verdict.id)
        entries.edit(house)
    assert len(entries.cases_of(house)) == 2
    for case in entries.cases_of(house):
        steps = [(step.action, step.reason, step.to_state) for step in steps_of(session, case)]
        assert steps[1:] == [("cleared", "record_corrected", CaseState.ACCEPTED)]
        assert (case.version, case.closed_at) == (2, None)


def test_a_problem_that_comes_back_is_seen_again_and_can_be_cleared_again(session: Session, entries: Entries) -> None:
    house = entries.house(rental_use="rented")
    for found in (VerdictKind.RENTAL_HAZARD, VerdictKind.MATCH) * 2:
        considering.consider(session, verdict_id=entries.verdict(house, found).id)
        entries.edit(house)
    [case] = entries.cases_of(house)
    assert [step.action for step in steps_of(session, case)] == ["open", "cleared", "again", "cleared"]


def test_an_event_that_matches_clears_nothing(session: Session, entries: Entries) -> None:
    event = entries.event()
    considering.consider(session, verdict_id=entries.verdict(event).id)
    session.connection().execute(text("UPDATE routing_rule SET active = false"))
    entries.edit(event)
    considering.consider(session, verdict_id=entries.verdict(event).id)
    [case] = entries.cases_of(event)
    assert case.version == 1


def test_the_same_version_under_new_rules_comes_again_too(session: Session, entries: Entries) -> None:
    entry = entries.event()
    for rule_version in (1, 2):
        considering.consider(session, verdict_id=entries.verdict(entry, rule_version=rule_version).id)
    [case] = entries.cases_of(entry)
    assert case.version == 2


def test_another_reason_is_another_case(session: Session, entries: Entries) -> None:
    entry = entries.event()
    considering.consider(session, verdict_id=entries.verdict(entry, VerdictKind.ACCEPTED).id)
    entries.edit(entry)
    considering.consider(session, verdict_id=entries.verdict(entry, VerdictKind.OUT_OF_GRID).id)
    assert [case.reason for case in entries.cases_of(entry)] == ["accepted", "out_of_grid"]


def test_after_a_case_has_ended_the_same_reason_opens_a_new_one(
    session: Session, entries: Entries, supervisor: Caller
) -> None:
    entry = entries.event()
    considering.consider(session, verdict_id=entries.verdict(entry).id)
    act(session, supervisor, entries.cases_of(entry)[0], Action.REJECT, reason="unfounded")
    entries.edit(entry)
    considering.consider(session, verdict_id=entries.verdict(entry).id)
    assert [case.state for case in entries.cases_of(entry)] == [CaseState.REJECTED, CaseState.ACCEPTED]


def test_the_database_itself_refuses_a_second_open_case_for_the_same_reason(session: Session, entries: Entries) -> None:
    case = opened(entries)
    twin = Case(**case.model_dump(exclude={"id", "seq", "source_version"}), source_version=2)
    session.add(twin)
    with pytest.raises(IntegrityError, match="uq_case_file_open"):
        session.flush()


@pytest.mark.parametrize("metres", [10, 49])
def test_a_case_near_another_of_its_class_is_flagged_and_stays_a_case_of_its_own(
    entries: Entries, metres: float
) -> None:
    first = opened(entries)
    second = opened(entries, metres_north=metres)
    assert (first.similar_to, second.similar_to) == (None, first.id)
    assert second.id != first.id


@pytest.mark.parametrize("other", [{"metres_north": 51}, {"class_code": "0501"}])
def test_a_case_farther_away_or_of_another_class_is_not_flagged(entries: Entries, other: dict[str, Any]) -> None:
    opened(entries)
    assert opened(entries, **other).similar_to is None


def test_a_case_older_than_a_day_is_not_called_similar(session: Session, entries: Entries) -> None:
    first = opened(entries)
    first.opened_at -= timedelta(hours=25)
    session.flush()
    assert opened(entries).similar_to is None


def test_a_citizens_report_is_compared_by_its_sealed_place(session: Session, entries: Entries) -> None:
    first = opened(entries)
    report = entries.report(metres_north=20)
    considering.consider(session, verdict_id=entries.verdict(report).id)
    assert entries.cases_of(report)[0].similar_to == first.id


def test_an_unknown_verdict_or_entry_is_discarded_with_a_code(session: Session, entries: Entries) -> None:
    with pytest.raises(jobs.Discard, match="verdict_unknown"):
        considering.consider(session, verdict_id=new_id())
    entry = entries.event()
    verdict = entries.verdict(entry, version=9)
    with pytest.raises(jobs.Discard, match="source_unknown"):
        considering.consider(session, verdict_id=verdict.id)


@pytest.mark.parametrize(
    "fault", [{"conditions": {"verdicts": ["accepted"]}}, {"queue_code": "nowhere"}, {"standard_code": "none"}]
)
def test_a_broken_routing_table_fails_the_job_instead_of_losing_the_case(
    session: Session, entries: Entries, fault: dict[str, object]
) -> None:
    session.connection().execute(text("UPDATE routing_rule SET active = false"))
    rule = RoutingRule(
        id=1,
        position=1,
        name="broken",
        conditions={},
        queue_code="district",
        standard_scheme="verification",
        standard_code="default",
    )
    session.add(rule.sqlmodel_update(fault))
    session.flush()
    entry = entries.event()
    with pytest.raises(RoutingTableBroken):
        considering.consider(session, verdict_id=entries.verdict(entry).id)


def test_claim_dispatch_close_is_lawful_in_three_calls(session: Session, entries: Entries, supervisor: Caller) -> None:
    case = opened(entries)
    act(session, supervisor, case, Action.CLAIM)
    act(session, supervisor, case, Action.DISPATCH, department_code=UNIT)
    act(session, supervisor, case, Action.CLOSE, outcome="resolved", note="现场复核，垃圾已清")
    assert (case.state, case.outcome, case.version) == (CaseState.CLOSED, CaseOutcome.RESOLVED, 4)
    assert case.closed_at is not None
    assert [(step.action, step.reason) for step in steps_of(session, case)] == [
        ("open", "needs_triage"),
        ("claim", "standard_met"),
        ("dispatch", "responsible_unit"),
        ("close", "confirmed_on_site"),
    ]


def test_the_full_way_passes_through_the_department_and_back_once(
    session: Session, entries: Entries, supervisor: Caller, handler: Caller
) -> None:
    case = opened(entries)
    act(session, supervisor, case, Action.CLAIM)
    act(session, supervisor, case, Action.DISPATCH, department_code="water")
    act(session, account(session, Role.HANDLER, department_code="water"), case, Action.RETURN, reason="not_ours")
    assert (case.state, case.department_code, case.claimed_by) == (CaseState.REGISTERED, None, supervisor.account_id)
    act(session, supervisor, case, Action.DISPATCH, department_code=UNIT)
    act(session, handler, case, Action.HANDLE)
    act(session, handler, case, Action.COMPLETE, note="已清理")
    act(session, supervisor, case, Action.RETURN, reason="not_fixed")
    act(session, handler, case, Action.COMPLETE)
    act(session, supervisor, case, Action.CLOSE, outcome="resolved")
    units = [step.department_code for step in steps_of(session, case)]
    assert case.state is CaseState.CLOSED
    assert units == [None, None, "water", None, UNIT, UNIT, UNIT, UNIT, UNIT, UNIT]


def test_the_handlers_and_returns_of_the_history_bind_later_actions(
    session: Session, entries: Entries, handler: Caller
) -> None:
    operator = account(session, Role.OPERATOR)
    case = opened(entries)
    act(session, operator, case, Action.CLAIM)
    for _ in range(2):
        act(session, operator, case, Action.DISPATCH, department_code=UNIT)
        act(session, handler, case, Action.RETURN, reason="wrong_place")
    with pytest.raises(CaseActionNotAllowed) as refusal:
        act(session, operator, case, Action.DISPATCH, department_code=UNIT)
    assert refusal.value.extra == {"state": "registered", "because": "ruling", "allowed": ["reject"]}


def test_a_refused_action_changes_nothing(session: Session, entries: Entries, supervisor: Caller) -> None:
    case = opened(entries)
    with pytest.raises(CaseActionNotAllowed) as refusal:
        act(session, supervisor, case, Action.CLOSE, outcome="resolved")
    assert refusal.value.extra == {"state": "accepted", "because": "state", "allowed": ["claim", "reject"]}
    act(session, supervisor, case, Action.CLAIM)
    with pytest.raises(CaseActionIncomplete) as incomplete:
        act(session, supervisor, case, Action.DISPATCH)
    assert incomplete.value.extra == {"needs": ["department_code"], "reasons": ["responsible_unit"]}
    with pytest.raises(CaseDepartmentUnknown):
        act(session, supervisor, case, Action.DISPATCH, department_code="no-such-unit")
    session.refresh(case)
    assert (case.state, case.version, len(steps_of(session, case))) == (CaseState.REGISTERED, 2, 2)


def test_a_stale_version_is_refused_before_anything_else(
    session: Session, entries: Entries, supervisor: Caller
) -> None:
    case = opened(entries)
    act(session, supervisor, case, Action.CLAIM)
    with pytest.raises(PreconditionFailed) as refusal:
        service.act(
            session, caller=supervisor, case_id=case.id, action=Action.CLAIM, version=1, request=ActionRequest()
        )
    assert refusal.value.extra == {"version": 2}


def audit_of(session: Session, case: Case) -> list[AuditEntry]:
    return list(
        session.exec(select(AuditEntry).where(AuditEntry.object_id == str(case.id)).order_by(col(AuditEntry.id)))
    )


def test_each_change_is_one_step_one_audit_row_and_two_jobs(
    session: Session, entries: Entries, supervisor: Caller
) -> None:
    case = opened(entries)
    act(session, supervisor, case, Action.CLAIM)
    act(session, supervisor, case, Action.REJECT, reason="duplicate")
    trail = [(entry.actor, entry.action, entry.detail["version"]) for entry in audit_of(session, case)]
    person = str(supervisor.account_id)
    assert trail == [("workflows.cases", "case_open", 1), (person, "case_claim", 2), (person, "case_reject", 3)]
    keys = [f"{case.id}:{version}" for version in (1, 2, 3)]
    for name in ("sync.project_case", "workflows.notify.case_changed"):
        found = session.exec(select(Job.key).where(Job.name == name, col(Job.key).in_(keys)))
        assert sorted(found) == keys
    assert case.outcome == "duplicate"


def test_a_case_without_a_grid_is_published_to_no_handheld_but_its_reporter_is_told(
    session: Session, entries: Entries
) -> None:
    report = entries.report()
    considering.consider(session, verdict_id=entries.verdict(report).id)
    [case] = entries.cases_of(report)
    found = session.exec(select(Job.name).where(Job.key == f"{case.id}:1"))
    assert list(found) == ["workflows.notify.case_changed"]


def test_a_note_is_sealed_at_rest_and_bound_to_its_step(session: Session, entries: Entries, supervisor: Caller) -> None:
    note = "联系人张三，电话 13800000000"
    case = opened(entries)
    act(session, supervisor, case, Action.CLAIM, note=note)
    step = steps_of(session, case)[1]
    assert step.note is not None
    assert note.encode() not in step.note
    assert open_value(session, step.note, context=note_context(case.id, 2)) == note
    assert reading.get_case(session, caller=supervisor, case_id=case.id).steps[1].note == note
    trail = [str(entry.detail) for entry in audit_of(session, case)]
    payloads = [str(job.payload) for job in session.exec(select(Job)) if job.payload.get("case_id") == str(case.id)]
    assert not any("张三" in line for line in trail + payloads)


def test_desks_see_their_territory_and_departments_what_was_dispatched_to_them(
    session: Session, entries: Entries, supervisor: Caller, handler: Caller
) -> None:
    here, elsewhere = opened(entries), opened(entries, district="440304")
    report = entries.report()
    considering.consider(session, verdict_id=entries.verdict(report).id)
    [gridless] = entries.cases_of(report)
    elsewhere.queue_code = here.queue_code
    local = caller(session, "supervisor-pingshan")
    assert visible(session, local, here, elsewhere, gridless) == [here.id]
    assert visible(session, supervisor, here, elsewhere, gridless) == [here.id, elsewhere.id, gridless.id]
    whole_city = account(session, Role.OPERATOR)
    assert visible(session, whole_city, here, elsewhere, gridless) == [here.id, elsewhere.id, gridless.id]
    assert visible(session, handler, here, elsewhere, gridless) == []
    act(session, supervisor, here, Action.CLAIM)
    act(session, supervisor, here, Action.DISPATCH, department_code=UNIT)
    assert visible(session, handler, here, elsewhere, gridless) == [here.id]
    assert visible(session, account(session, Role.HANDLER, department_code="water"), here) == []
    assert visible(session, account(session, Role.HANDLER), here) == []


def visible(session: Session, who: Caller, *cases: Case) -> list[UUID]:
    """Which of the cases the caller can read; lists and counts must agree with it."""
    seen = []
    for case in cases:
        try:
            seen.append(reading.get_case(session, caller=who, case_id=case.id).id)
        except NotFound:
            with pytest.raises(NotFound):
                act(session, who, case, Action.CLAIM)
    listed = {line.id for line in reading.list_cases(session, caller=who, limit=200).cases}
    assert {case.id for case in cases} & listed == set(seen)
    return seen


def test_a_list_runs_by_deadline_and_its_pages_miss_and_repeat_nothing(
    session: Session, entries: Entries, supervisor: Caller
) -> None:
    made = {opened(entries, severity=severity).id for severity in ("urgent", None, "urgent", None, None)}
    pages: list[CasePage] = []
    cursor = None
    while not pages or cursor:
        pages.append(reading.list_cases(session, caller=supervisor, queue_code="12345-440310", cursor=cursor, limit=2))
        cursor = pages[-1].next
    lines = [line for page in pages for line in page.cases]
    assert [line.deadline_at for line in lines] == sorted(line.deadline_at for line in lines)
    assert len(lines) == len({line.id for line in lines})
    assert made <= {line.id for line in lines}
    assert all(len(page.cases) == 2 for page in pages[:-1])


def test_lists_filter_by_state_overdue_and_mine(session: Session, entries: Entries, supervisor: Caller) -> None:
    waiting, claimed, late = opened(entries), opened(entries), opened(entries)
    act(session, supervisor, claimed, Action.CLAIM)
    act(session, supervisor, late, Action.REJECT, reason="outside_scope")
    waiting.deadline_at -= timedelta(days=30)
    session.flush()

    def ids(**filters: Any) -> set[UUID]:
        page = reading.list_cases(session, caller=supervisor, limit=200, **filters)
        return {line.id for line in page.cases} & {waiting.id, claimed.id, late.id}

    assert ids() == {waiting.id, claimed.id}
    assert ids(states=[CaseState.REJECTED]) == {late.id}
    assert ids(overdue=True) == {waiting.id}
    assert ids(overdue=False) == {claimed.id}
    assert ids(mine=True) == {claimed.id}
    assert ids(queue_code="12345-440304") == set()


@pytest.mark.parametrize("cursor", ["%%%", "bm90IGpzb24=", "WzEsMl0=", "WyIyMDI2LTAxLTAxIiwgIngiXQ==", "e30="])
def test_a_cursor_no_page_gave_is_malformed(session: Session, supervisor: Caller, cursor: str) -> None:
    with pytest.raises(Malformed):
        reading.list_cases(session, caller=supervisor, cursor=cursor)


def test_overdue_counts_only_time_the_clock_ran(session: Session, entries: Entries, supervisor: Caller) -> None:
    case = opened(entries, severity="urgent")
    case.deadline_at = case.opened_at - timedelta(minutes=90)
    session.flush()
    view = reading.get_case(session, caller=supervisor, case_id=case.id)
    assert view.overdue
    assert view.overdue_minutes in (90, 91)


def test_counts_by_queue_and_state_add_up(session: Session, entries: Entries, supervisor: Caller) -> None:
    before = reading.summary(session, caller=supervisor)
    first, _, _ = opened(entries), opened(entries, severity="urgent"), opened(entries, district="440304")
    act(session, supervisor, first, Action.REJECT, reason="unfounded")
    after = reading.summary(session, caller=supervisor)
    assert (after.total - before.total, after.open - before.open) == (3, 2)
    assert after.total == sum(after.states.values()) == sum(queue.total for queue in after.queues)
    for queue in after.queues:
        assert queue.total == sum(queue.states.values())
    local = reading.summary(session, caller=caller(session, "supervisor-pingshan"))
    assert {queue.code for queue in local.queues if queue.total} == {"12345-440310"}
    assert local.total == sum(queue.total for queue in local.queues) < after.total


def test_the_actions_shown_are_those_that_succeed(session: Session, entries: Entries, supervisor: Caller) -> None:
    case = opened(entries)
    view = reading.get_case(session, caller=supervisor, case_id=case.id)
    assert [offer.action for offer in view.actions] == [Action.CLAIM, Action.REJECT]
    assert view.actions[1].needs == ["reason"]
    assert set(view.actions[1].reasons) == {"outside_scope", "duplicate", "unfounded"}
    act(session, supervisor, case, Action.REJECT, reason="unfounded")
    assert reading.get_case(session, caller=supervisor, case_id=case.id).actions == []
