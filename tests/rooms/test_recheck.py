"""Entries that a new snapshot touches are checked again, these and no others, and what follows is opened or ended."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.enums import CaseState, Kind, RunState, VerdictKind
from backend.handlers import load_handlers
from backend.models import Case, CaseStep, Job, Recheck, RoutingRule, Verdict
from backend.services import rechecks
from tests.rooms.crosscheck_builders import (
    ADDRESS,
    HOUSE_CODE,
    LI,
    OTHER_CODE,
    ZHANG,
    Entries,
    business_records,
    verdicts,
)
from workflows.crosscheck import recheck, service, touched
from workflows.crosscheck.facts import Source
from workflows.crosscheck.recheck import CheckRaced

OWNER = {"owner.name": "李梅", "owner.id_type": "citizen_id", "owner.id_number": LI["id_number"]}


@pytest.fixture
def entries(session: Session) -> Entries:
    load_handlers()
    return Entries(session)


@pytest.fixture
def cases_of_differences(session: Session) -> None:
    """Whatever a check of a record finds wrong becomes a case."""
    first = session.exec(select(RoutingRule).order_by(col(RoutingRule.position))).first()
    assert first is not None
    wrong = ["name_differs", "not_found", "differs", "ambiguous", "address_unknown"]
    session.add(
        RoutingRule(
            **first.model_dump(exclude={"id", "position", "conditions", "name"}),
            id=9_001,
            position=-1,
            name="合成规则",
            conditions={"verdict": wrong},
        )
    )
    session.flush()


def work(session: Session, *names: str) -> list[Job]:
    """Run the waiting jobs of these names, and those that follow from them, as a worker would."""
    ran: list[Job] = []
    while waiting := [
        job
        for job in session.exec(select(Job).where(col(Job.name).in_(names)).order_by(col(Job.id)))
        if job.state == "ready"
    ]:
        for job in waiting:
            jobs.handler_of(job.name)(session, **job.payload)
            job.state = "done"  # type: ignore[assignment]
            session.flush()
            ran.append(job)
    return ran


def check_again(session: Session) -> list[Job]:
    return work(session, rechecks.STEP_JOB, rechecks.ENTRY_JOB)


def checked(session: Session, *sources: Source) -> None:
    service.check(session, sources)
    work(session, "workflows.cases.consider")


def again(session: Session) -> None:
    """A run with all that follows from it."""
    check_again(session)
    work(session, "workflows.cases.consider")


def kinds(session: Session, source: Source) -> list[tuple[VerdictKind, bool]]:
    """The verdicts on an entry in the order they were made, and whether each is in force."""
    found = sorted(verdicts(session, source), key=lambda verdict: verdict.id)
    return [(verdict.verdict, verdict.superseded_at is None) for verdict in found]


def cases(session: Session, source: Source) -> list[Case]:
    return list(session.exec(select(Case).where(Case.source_id == source.id).order_by(col(Case.seq))))


def last_step(session: Session, case: Case) -> CaseStep:
    return session.get_one(CaseStep, (case.id, case.version))


def test_only_entries_that_a_changed_record_touches_are_checked_again(
    session: Session, entries: Entries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(touched, "KEYS_A_PAGE", 1)
    other = ZHANG | {
        "id_number": "440301197001010013",
        "name": "王五",
        "birth_date": "1970-01-01",
        "phone": "13700000001",
    }
    third = other | {
        "id_number": "440301197001010216",
        "name": "赵六",
        "birth_date": "1971-01-01",
        "phone": "13700000002",
    }
    business_records(session, tmp_path, "population", ZHANG, LI, other)
    check_again(session)
    by_number = entries.document(Kind.PERSON, ZHANG)
    by_old_phone = entries.document(Kind.PERSON, third | {"phone": LI["phone"]})
    by_new_block = entries.document(Kind.PERSON, third | {"name": "王二", "birth_date": "1970-02-02"})
    untouched = entries.document(Kind.PERSON, other)
    deleted = entries.document(Kind.PERSON, ZHANG, deleted=True)
    house = entries.document(Kind.HOUSE, {"house_code": HOUSE_CODE, "address": ADDRESS})
    business_records(
        session,
        tmp_path,
        "population",
        other,
        LI | {"phone": "13900000009"},
        third | {"birth_date": "1970-02-02", "name": "王七"},
    )
    ran = {job.payload["source_id"] for job in check_again(session) if job.name == rechecks.ENTRY_JOB}
    assert ran == {str(source.id) for source in (by_number, by_old_phone, by_new_block)}
    assert not ran & {str(source.id) for source in (untouched, deleted, house)}
    run = session.exec(select(Recheck).order_by(col(Recheck.id).desc())).first()
    assert run is not None
    assert (run.state, run.entries, run.checked, run.after) == (RunState.DONE, 3, 3, "")
    assert run.step == 5, "one page a key, and one that finds nothing more"


def test_records_that_are_the_same_touch_nothing(session: Session, entries: Entries, tmp_path: Path) -> None:
    entries.document(Kind.HOUSE, {"house_code": HOUSE_CODE, "address": ADDRESS})
    first = {"house_code": HOUSE_CODE, "address": ADDRESS, **OWNER}
    business_records(session, tmp_path, "houses", first)
    assert len(check_again(session)) == 2, "a dataset comes into force: every house is checked"
    business_records(session, tmp_path, "houses", {"house_code": OTHER_CODE, "address": ADDRESS}, first)
    assert [job.name for job in check_again(session)] == [rechecks.STEP_JOB]
    session.connection().execute(text("UPDATE business_record SET content_digest = NULL"))
    business_records(session, tmp_path, "houses", {"house_code": HOUSE_CODE, "address": ADDRESS})
    assert len(check_again(session)) == 2, "an owner less; of a record without digest nobody knows"


@pytest.mark.usefixtures("cases_of_differences")
def test_a_difference_that_is_gone_ends_its_case_and_a_new_one_opens_another(
    session: Session, entries: Entries, tmp_path: Path
) -> None:
    source = entries.document(Kind.PERSON, ZHANG)
    business_records(session, tmp_path, "population", ZHANG | {"name": "李四"})
    check_again(session)
    checked(session, source)
    (case,) = cases(session, source)
    assert (case.reason, case.closed_at) == ("name_differs", None)

    business_records(session, tmp_path, "population", ZHANG)
    again(session)
    assert kinds(session, source) == [(VerdictKind.NAME_DIFFERS, False), (VerdictKind.MATCH, True)]
    (case,) = cases(session, source)
    step = last_step(session, case)
    assert (case.state, case.outcome, step.action, step.reason) == (
        CaseState.CLOSED,
        "record_corrected",
        "settle",
        "difference_gone",
    )
    assert step.verdict_id == max(verdicts(session, source), key=lambda verdict: verdict.id).id

    business_records(session, tmp_path, "population", LI)
    again(session)
    assert [(case.reason, case.closed_at is None) for case in cases(session, source)] == [
        ("name_differs", False),
        ("not_found", True),
    ]
    business_records(session, tmp_path, "population", ZHANG | {"name": "李四"})
    again(session)
    assert [(case.reason, case.closed_at is None) for case in cases(session, source)] == [
        ("name_differs", False),
        ("not_found", False),
        ("name_differs", True),
    ], "what the system ended comes back with its difference"


@pytest.mark.usefixtures("cases_of_differences")
def test_a_case_whose_difference_stands_is_left_in_peace(session: Session, entries: Entries, tmp_path: Path) -> None:
    source = entries.document(Kind.PERSON, ZHANG)
    business_records(session, tmp_path, "population", ZHANG | {"name": "李四"})
    check_again(session)
    checked(session, source)
    business_records(session, tmp_path, "population", ZHANG | {"name": "王五"})
    again(session)
    (case,) = cases(session, source)
    assert (case.version, case.closed_at) == (1, None)
    assert kinds(session, source) == [(VerdictKind.NAME_DIFFERS, False), (VerdictKind.NAME_DIFFERS, True)]


@pytest.mark.usefixtures("cases_of_differences")
def test_what_a_person_has_ended_is_not_opened_again_for_the_same_reason(
    session: Session, entries: Entries, tmp_path: Path
) -> None:
    source = entries.document(Kind.PERSON, ZHANG)
    business_records(session, tmp_path, "population", ZHANG | {"name": "李四"})
    check_again(session)
    checked(session, source)
    session.connection().execute(text("UPDATE case_file SET state = 'rejected', closed_at = now(), version = 2"))
    session.connection().execute(
        text(
            "INSERT INTO case_step (case_id, version, action, to_state, actor, at) "
            "SELECT id, 2, 'reject', 'rejected', CAST(gen_random_uuid() AS text), now() FROM case_file"
        )
    )
    session.expire_all()
    business_records(session, tmp_path, "population", ZHANG | {"name": "王五"})
    again(session)
    assert len(cases(session, source)) == 1
    business_records(session, tmp_path, "population", LI)
    again(session)
    assert [case.reason for case in cases(session, source)] == ["name_differs", "not_found"], "a new difference"


@pytest.mark.usefixtures("cases_of_differences")
def test_a_run_and_its_jobs_may_run_twice(session: Session, entries: Entries, tmp_path: Path) -> None:
    source = entries.document(Kind.PERSON, ZHANG)
    business_records(session, tmp_path, "population", LI)
    check_again(session)
    checked(session, source)
    business_records(session, tmp_path, "population", ZHANG)
    ran = check_again(session)
    session.connection().execute(text("UPDATE recheck SET state = 'working'"))
    session.expire_all()
    for job in ran:
        jobs.handler_of(job.name)(session, **job.payload)
    assert kinds(session, source) == [(VerdictKind.NOT_FOUND, False), (VerdictKind.MATCH, True)]
    for _ in range(2):
        for verdict in verdicts(session, source):
            jobs.handler_of("workflows.cases.consider")(session, verdict_id=str(verdict.id))
    (case,) = cases(session, source)
    assert (case.state, case.version) == (CaseState.CLOSED, 2)


@pytest.mark.usefixtures("cases_of_differences")
def test_a_verdict_that_was_replaced_before_it_is_considered_opens_nothing(
    session: Session, entries: Entries, tmp_path: Path
) -> None:
    source = entries.document(Kind.PERSON, ZHANG)
    business_records(session, tmp_path, "population", LI)
    check_again(session)
    service.check(session, [source])
    business_records(session, tmp_path, "population", ZHANG)
    again(session)
    assert cases(session, source) == []


def test_an_entry_that_waits_for_its_first_check_gets_it_and_keeps_it(
    session: Session, entries: Entries, tmp_path: Path
) -> None:
    source = entries.document(Kind.PERSON, ZHANG)
    business_records(session, tmp_path, "population", ZHANG)
    check_again(session)
    service.check(session, [source])
    (verdict,) = verdicts(session, source)
    assert (verdict.verdict, verdict.recheck_id) == (VerdictKind.MATCH, None)


def test_a_version_that_was_corrected_since_is_left_to_its_own_check(
    session: Session, entries: Entries, tmp_path: Path
) -> None:
    first = entries.document(Kind.PERSON, ZHANG)
    service.check(session, [first])
    business_records(session, tmp_path, "population", LI)
    work(session, rechecks.STEP_JOB)
    second = entries.edit(Kind.PERSON, first, LI)
    work(session, rechecks.ENTRY_JOB)
    assert [verdict.source_version for verdict in verdicts(session, second)] == [1]
    run = session.exec(select(Recheck)).one()
    assert (run.entries, run.checked, run.state) == (1, 1, RunState.DONE)


def test_a_snapshot_that_is_still_compared_keeps_the_records_of_the_one_before(
    session: Session, entries: Entries, tmp_path: Path
) -> None:
    source = entries.document(Kind.PERSON, ZHANG)
    for rows in ([ZHANG], [LI], [LI, ZHANG | {"phone": "13700000003"}]):
        business_records(session, tmp_path, "population", *rows)
    ran = [job.payload["source_id"] for job in check_again(session) if job.name == rechecks.ENTRY_JOB]
    assert ran.count(str(source.id)) == 3, "the middle snapshot's loss is seen after the third came"
    for _ in range(2):
        business_records(session, tmp_path, "population", LI)
        check_again(session)
    left = "SELECT count(DISTINCT snapshot_id) FROM business_record"
    assert session.connection().execute(text(left)).scalar_one() == 2, "and they go when it is done"


def test_a_check_that_another_one_overtakes_is_repeated(
    session: Session, entries: Entries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = entries.document(Kind.PERSON, ZHANG)
    service.check(session, [source])
    business_records(session, tmp_path, "population", ZHANG)
    work(session, rechecks.STEP_JOB)
    run = session.exec(select(Recheck)).one()
    seen: dict[Source, Any] = {}
    monkeypatch.setattr(recheck, "_in_force", lambda *_: seen)  # as if the first check had not committed yet
    with pytest.raises(CheckRaced):
        recheck.check_again(session, run.id, [source])


def test_history_of_verdicts_is_edited_in_nothing_but_its_end(session: Session, entries: Entries) -> None:
    service.check(session, [entries.document(Kind.PERSON, ZHANG)])
    columns = session.connection().execute(
        text(
            "SELECT column_name FROM information_schema.column_privileges "
            "WHERE table_name = 'verdict' AND privilege_type = 'UPDATE' AND grantee IN ('zw_api', 'zw_worker')"
        )
    )
    assert columns.scalars().all() == ["superseded_at"]
    assert session.exec(select(Verdict)).one().superseded_at is None
