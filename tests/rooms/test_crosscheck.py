"""The cross-check on PostgreSQL: what is looked up, what is written, and that writing twice writes once."""

from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import Kind, VerdictKind
from backend.core.ids import new_id
from backend.models import AuditEntry, Job, RuleSet, Verdict
from backend.services import registry
from backend.services.evidence import open_evidence
from backend.services.records import cell_of
from backend.services.sealing import Vault, destroy_keys, human
from tests.rooms.crosscheck_builders import (
    ADDRESS,
    COMPONENT_ID,
    GRID,
    HOUSE_CODE,
    LI,
    NEXT_GRID,
    OTHER_CODE,
    USCC,
    ZHANG,
    Entries,
    business_records,
    evidence,
    point_of,
    verdicts,
)
from workflows.crosscheck import service, tasks
from workflows.crosscheck.facts import Source
from workflows.crosscheck.lookup import SnapshotChanged


@pytest.fixture
def entries(session: Session) -> Entries:
    return Entries(session)


@pytest.fixture
def registers(session: Session, tmp_path: Path) -> None:
    """A few records of each department."""
    zhang = {**ZHANG, "house_code": HOUSE_CODE, "registered_address": f"广东省深圳市坪山区{ADDRESS}"}
    business_records(session, tmp_path, "population", zhang, {**LI, "house_code": OTHER_CODE})
    owner = {"owner.name": "李梅", "owner.id_type": "citizen_id", "owner.id_number": LI["id_number"]}
    business_records(session, tmp_path, "houses", {"house_code": HOUSE_CODE, "address": ADDRESS, **owner})
    business_records(session, tmp_path, "organisations", {"uscc": USCC, "name": "示例餐饮店", "status": "注销"})
    place = point_of(GRID)
    at = {"location.lat": place["lat"] / 1e7, "location.lon": place["lon"] / 1e7}
    business_records(
        session,
        tmp_path,
        "components",
        {"component_id": COMPONENT_ID, "class_code": "0101", "owner_unit": "water", **at},
    )


def check_one(session: Session, source: Source) -> Verdict:
    assert service.check(session, [source]) == {}
    return verdicts(session, source)[-1]


def run(session: Session, source: Source) -> None:
    """As the worker runs the job."""
    payload = {"source_type": source.type.value, "source_id": str(source.id), "source_version": source.version}
    jobs.handler_of("workflows.crosscheck")(session, **payload)


@pytest.mark.usefixtures("registers")
def test_a_person_who_is_as_registered_matches(session: Session, entries: Entries) -> None:
    verdict = check_one(session, entries.document(Kind.PERSON, ZHANG))
    assert (verdict.verdict, verdict.findings, verdict.score) == (VerdictKind.MATCH, ["match"], 1.0)
    assert (verdict.kind, verdict.grid_id, verdict.rule_version) == (Kind.PERSON, GRID, 1)
    current = registry.current_snapshots(session)["population"]
    assert verdict.snapshots == {
        "population": {"snapshot_id": str(current.snapshot_id), "taken_at": current.taken_at.isoformat()}
    }


@pytest.mark.usefixtures("registers")
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": "李四"}, VerdictKind.NAME_DIFFERS),
        ({"name": "张叁丰"}, VerdictKind.MATCH),
        ({"id_number": "110101199003072361"}, VerdictKind.ID_SELF_INCONSISTENT),
        ({"id_number": "11010119900307299X"}, VerdictKind.DIFFERS),
        ({"id_number": "440301199003075717", "phone": "13900000000"}, VerdictKind.AMBIGUOUS),
        ({"id_number": None}, VerdictKind.MATCH),
        ({"id_number": None, "phone": None}, VerdictKind.MATCH),
        ({"id_number": None, "phone": None, "birth_date": None}, VerdictKind.NOT_FOUND),
        ({"id_number": "440301197001010013", "name": "王五", "birth_date": "1970-01-01", "phone": None}, "not_found"),
    ],
    ids=[
        "name",
        "homophone",
        "checksum",
        "another-number",
        "another-number-and-phone",
        "by-phone",
        "by-birth-date",
        "by-name-alone",
        "stranger",
    ],
)
def test_people_are_found_by_number_phone_or_birth_date_and_surname(
    session: Session, entries: Entries, changes: dict[str, Any], expected: VerdictKind
) -> None:
    fields = {name: value for name, value in (ZHANG | changes).items() if value is not None}
    assert check_one(session, entries.document(Kind.PERSON, fields)).verdict == expected


@pytest.mark.usefixtures("registers")
def test_a_mistyped_number_still_finds_the_record_and_shows_both(session: Session, entries: Entries) -> None:
    verdict = check_one(session, entries.document(Kind.PERSON, ZHANG | {"id_number": "110101199003072361"}))
    assert verdict.findings == ["id_self_inconsistent", "differs"]
    items = open_evidence(Vault(session), {verdict.id: verdict.evidence})[verdict.id]
    number = next(item for item in items if item["field"] == "id_number" and item["dataset"] == "population")
    assert (number["mine"], number["theirs"]) == ("110101199003072361", ZHANG["id_number"])
    assert number["score"] == pytest.approx(0.8)
    assert number["taken_at"] == verdict.snapshots["population"]["taken_at"]


@pytest.mark.usefixtures("registers")
def test_a_person_s_house_is_compared_with_where_he_is_registered(session: Session, entries: Entries) -> None:
    at_home = entries.document(Kind.HOUSE, {"house_code": HOUSE_CODE, "address": ADDRESS})
    away = entries.document(Kind.HOUSE, {"house_code": OTHER_CODE, "address": "坪山街道六和社区别路9号"})
    flag = {"residence_matches_registration": True}
    home = check_one(session, entries.document(Kind.PERSON, ZHANG | flag | {"house_id": str(at_home.id)}))
    moved = check_one(session, entries.document(Kind.PERSON, ZHANG | flag | {"house_id": str(away.id)}, later=-9))
    unknown = check_one(session, entries.document(Kind.PERSON, ZHANG | flag | {"house_id": str(new_id())}, later=-99))
    assert home.findings == ["match"]
    assert moved.findings == ["moved", "flag_conflict"]
    assert unknown.findings == ["match"]


@pytest.mark.usefixtures("registers")
@pytest.mark.parametrize(
    ("fields", "findings"),
    [
        ({"house_code": HOUSE_CODE, "address": ADDRESS, "location": point_of(GRID)}, ["match"]),
        ({"house_code": HOUSE_CODE, "address": ADDRESS, "location": point_of(NEXT_GRID)}, ["out_of_grid"]),
        ({"house_code": OTHER_CODE, "address": ADDRESS}, ["address_unknown"]),
        ({"house_code": HOUSE_CODE, "address": ADDRESS, "rental_use": "rented"}, ["rental_hazard"]),
        ({"house_code": HOUSE_CODE, "address": ADDRESS, "owner": {"name": "王五"}}, ["differs"]),
    ],
    ids=["match", "point-in-another-grid", "unknown", "rented-without-tenant", "owner"],
)
def test_a_house_is_found_by_its_code(
    session: Session, entries: Entries, fields: dict[str, Any], findings: list[str]
) -> None:
    assert check_one(session, entries.document(Kind.HOUSE, fields)).findings == findings


@pytest.mark.usefixtures("registers")
def test_a_house_recorded_in_another_grid_is_out_of_it(session: Session, entries: Entries) -> None:
    source = entries.document(Kind.HOUSE, {"house_code": HOUSE_CODE, "address": ADDRESS}, grid_id=NEXT_GRID)
    verdict = check_one(session, source)
    assert verdict.findings == ["out_of_grid"]
    assert evidence(session, verdict)["grid_id"]["theirs"] == GRID


@pytest.mark.usefixtures("registers")
def test_a_closed_firm_seen_operating_is_found(session: Session, entries: Entries) -> None:
    fields = {"uscc": USCC, "name": "示例餐饮店", "status_seen": "operating"}
    assert check_one(session, entries.document(Kind.ORGANISATION, fields)).findings == ["organisation_closed"]


@pytest.mark.usefixtures("registers")
@pytest.mark.parametrize(("metres", "findings"), [(20, ["match"]), (40, ["moved"])])
def test_a_component_is_looked_for_where_it_is_registered(
    session: Session, entries: Entries, metres: int, findings: list[str]
) -> None:
    fields = {"component_id": COMPONENT_ID, "class_code": "0101", "state": "intact"}
    place = {"location": point_of(GRID, metres_north=metres)}
    assert check_one(session, entries.document(Kind.COMPONENT, fields | place)).findings == findings


def test_without_records_in_force_nothing_is_missing_from_them(session: Session, entries: Entries) -> None:
    verdict = check_one(session, entries.document(Kind.PERSON, ZHANG))
    assert (verdict.verdict, verdict.snapshots, verdict.score) == (VerdictKind.ACCEPTED, {}, None)


def test_of_two_documents_of_one_human_the_later_is_the_duplicate(session: Session, entries: Entries) -> None:
    first, second = (entries.document(Kind.PERSON, ZHANG, later=later) for later in (0, 5))
    assert check_one(session, second).findings == ["duplicate"]
    assert check_one(session, first).findings == ["accepted"]


def test_of_two_documents_of_one_house_code_the_later_is_the_duplicate(session: Session, entries: Entries) -> None:
    fields = {"house_code": HOUSE_CODE, "address": ADDRESS}
    first, second = (entries.document(Kind.HOUSE, fields, later=later) for later in (0, 5))
    assert check_one(session, second).findings == ["duplicate"]
    assert check_one(session, first).findings == ["accepted"]


def test_a_deleted_document_is_nobody_s_twin(session: Session, entries: Entries) -> None:
    entries.document(Kind.PERSON, ZHANG, deleted=True)
    assert check_one(session, entries.document(Kind.PERSON, ZHANG, later=5)).findings == ["accepted"]


def test_an_event_repeats_an_earlier_report_nearby(session: Session, entries: Entries) -> None:
    report = entries.report()
    verdict = check_one(session, entries.event(metres_north=40, later=5))
    assert verdict.findings == ["duplicate"]
    assert evidence(session, verdict)["similar"]["theirs"] == f"report:{report.id}"


def test_neighbours_are_also_found_across_the_border_of_a_cell(session: Session, entries: Entries) -> None:
    def cell(metres: float) -> str | None:
        return cell_of(point_of(GRID, metres_north=metres))

    border = next(metres for metres in range(0, 1000, 10) if cell(metres) != cell(metres + 40))
    entries.report(metres_north=border)
    verdict = check_one(session, entries.event(metres_north=border + 40, later=5))
    assert verdict.findings == ["duplicate"]


def test_a_report_repeats_an_earlier_event(session: Session, entries: Entries) -> None:
    event = entries.event(hours_ago=23)
    verdict = check_one(session, entries.report(metres_north=30, later=5))
    assert (verdict.kind, verdict.findings, verdict.grid_id) == (Kind.EVENT, ["duplicate"], GRID)
    assert evidence(session, verdict)["similar"]["theirs"] == f"document:{event.id}"


@pytest.mark.parametrize(
    ("event", "findings"),
    [
        ({"metres_north": 60}, ["accepted"]),
        ({"hours_ago": 25}, ["accepted"]),
        ({"class_code": "0103"}, ["accepted"]),
        ({"class_code": "9999"}, ["class_unknown"]),
        ({"class_code": "0125"}, ["class_unknown"]),
    ],
    ids=["far", "long-ago", "another-class", "unknown-class", "class-of-components"],
)
def test_an_event_stands_for_itself_otherwise(
    session: Session, entries: Entries, event: dict[str, Any], findings: list[str]
) -> None:
    entries.report()
    assert check_one(session, entries.event(later=5, **event)).findings == findings


def test_a_report_without_a_known_class_waits_for_a_person(session: Session, entries: Entries) -> None:
    assert check_one(session, entries.report(class_code=None)).findings == ["class_unknown"]


@pytest.mark.usefixtures("registers")
def test_each_version_has_its_own_verdict_on_what_it_said(session: Session, entries: Entries) -> None:
    first = entries.document(Kind.PERSON, ZHANG | {"name": "李四"})
    second = entries.edit(Kind.PERSON, first, ZHANG)
    run(session, second)
    run(session, first)
    found = [(verdict.source_version, verdict.verdict) for verdict in verdicts(session, first)]
    assert found == [(1, VerdictKind.NAME_DIFFERS), (2, VerdictKind.MATCH)]


@pytest.mark.usefixtures("registers")
def test_running_twice_gives_one_verdict_one_audit_row_and_one_job_for_the_case(
    session: Session, entries: Entries, statements: list[Any]
) -> None:
    source = entries.document(Kind.PERSON, ZHANG | {"name": "李四"})
    run(session, source)
    statements.clear()
    run(session, source)
    assert len(statements) <= 3, "the second run reads the rule set and sees that the verdict is there"
    (verdict,) = verdicts(session, source)
    jobs_written = session.exec(select(Job).where(Job.name == "workflows.cases.consider")).all()
    assert [(job.key, job.payload) for job in jobs_written] == [(str(verdict.id), {"verdict_id": str(verdict.id)})]
    audited = session.exec(select(AuditEntry).where(AuditEntry.object_id == str(verdict.id))).all()
    assert [(row.actor, row.action) for row in audited] == [("workflows.crosscheck", "checked")]


def test_a_verdict_that_another_worker_wrote_meanwhile_stays_the_only_one(
    session: Session, entries: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = entries.document(Kind.PERSON, ZHANG)
    run(session, source)
    monkeypatch.setattr(service, "_without_verdict", lambda _session, sources, _version: list(sources))
    run(session, source)
    assert len(verdicts(session, source)) == 1
    assert len(session.exec(select(Job).where(Job.name == "workflows.cases.consider")).all()) == 1


def test_a_new_version_of_the_rules_gives_its_own_verdict(session: Session, entries: Entries) -> None:
    source = entries.event()
    run(session, source)
    present = session.get_one(RuleSet, 1)
    present.active = False
    session.flush()
    session.add(RuleSet(version=2, active=True, rules=present.rules, created_at=now()))
    session.flush()
    run(session, source)
    assert [verdict.rule_version for verdict in verdicts(session, source)] == [1, 2]


def test_without_an_active_rule_set_the_job_waits(session: Session, entries: Entries) -> None:
    session.get_one(RuleSet, 1).active = False
    session.flush()
    with pytest.raises(service.NoRuleSet):
        run(session, entries.event())


def test_a_load_that_ends_during_a_check_has_it_repeated(
    session: Session, entries: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([{}, {"population": registry.CurrentSnapshot(new_id(), now())}])
    monkeypatch.setattr(registry, "current_snapshots", lambda _session: next(answers))
    source = entries.event()
    with pytest.raises(SnapshotChanged):
        run(session, source)
    assert verdicts(session, source) == []


@pytest.mark.parametrize("case", ["missing", "deleted", "erased"])
def test_what_cannot_be_checked_is_discarded_with_its_reason(session: Session, entries: Entries, case: str) -> None:
    source = entries.document(Kind.PERSON, ZHANG, deleted=case == "deleted")
    if case == "missing":
        source = Source(source.type, source.id, 7)
    if case == "erased":
        source = entries.erased(source)
    with pytest.raises(jobs.Discard, match=f"source_{case}"):
        run(session, source)
    assert verdicts(session, source) == []


@pytest.mark.usefixtures("registers")
def test_no_personal_value_is_readable_in_a_verdict_its_job_or_its_audit_row(
    session: Session, entries: Entries
) -> None:
    source = entries.document(Kind.PERSON, ZHANG | {"name": "李四"})
    run(session, source)
    rows = session.exec(select(Verdict)).all(), session.exec(select(Job)).all(), session.exec(select(AuditEntry)).all()
    written = "".join(str(row.model_dump()) for some in rows for row in some)
    for value in (*ZHANG.values(), "李四"):
        if value not in ("male", "citizen_id"):
            assert value not in written
            assert value.encode() not in (verdicts(session, source)[0].evidence or b"")


@pytest.mark.usefixtures("registers")
def test_erasing_a_human_removes_his_values_from_evidence_about_others(session: Session, entries: Entries) -> None:
    owner = {"name": "王五", "id_type": "citizen_id", "id_number": ZHANG["id_number"]}
    verdict = check_one(
        session, entries.document(Kind.HOUSE, {"house_code": HOUSE_CODE, "address": ADDRESS, "owner": owner})
    )
    sealed = {verdict.id: verdict.evidence}
    for number, left in ((LI["id_number"], "mine"), (ZHANG["id_number"], "theirs")):
        with session.begin_nested() as erasure:
            destroy_keys(session, [human("citizen_id", number)])
            opened = open_evidence(Vault(session), sealed)[verdict.id]
            erasure.rollback()
        item = next(item for item in opened if item["field"] == "owner.name")
        assert {"mine", "theirs"} & item.keys() == {left}


@pytest.mark.usefixtures("registers")
def test_many_entries_take_as_many_statements_as_few(session: Session, entries: Entries, statements: list[Any]) -> None:
    def some(count: int, start: int) -> list[Source]:
        made = []
        for number in range(start, start + count):
            person = ZHANG | {"phone": f"138{number:08}"}
            made += [entries.document(Kind.PERSON, person), entries.event(metres_north=number), entries.report()]
            made.append(entries.document(Kind.HOUSE, {"house_code": f"{number:025}", "address": ADDRESS}))
            component = {"component_id": f"{number:016}", "class_code": "0101", "location": point_of(GRID)}
            made.append(entries.document(Kind.COMPONENT, component))
        return made

    few, many = some(1, 0), some(20, 1000)
    statements.clear()
    service.check(session, few)
    for_few = len(statements)
    service.check(session, many)
    assert len(statements) - for_few == for_few > 10
    assert session.exec(select(Verdict).where(col(Verdict.source_id).in_([source.id for source in many]))).all()


@pytest.mark.usefixtures("registers")
def test_what_follows_from_a_batch_carries_the_request_of_each(session: Session, entries: Entries) -> None:
    sources = [entries.document(Kind.PERSON, one) for one in (ZHANG, LI)]
    requests = {sources[0]: "the-first", sources[1]: None}
    assert service.check(session, sources, requests=requests) == {}
    ids = [str(verdicts(session, source)[0].id) for source in sources]
    audited = session.exec(select(AuditEntry).where(AuditEntry.action == "checked")).all()
    assert {entry.object_id: entry.request_id for entry in audited} == dict(zip(ids, ("the-first", None), strict=True))
    asked = session.exec(select(Job).where(Job.name == service.NEXT)).all()
    assert {job.key: job.request_id for job in asked} == dict(zip(ids, ("the-first", None), strict=True))


@pytest.mark.usefixtures("registers")
def test_who_has_the_number_is_the_only_candidate(session: Session, entries: Entries) -> None:
    """Also where another record shares name, birth date and phone: the exact key comes first."""
    verdict = check_one(session, entries.document(Kind.PERSON, ZHANG | {"id_number": LI["id_number"]}))
    assert verdict.verdict in (VerdictKind.ID_SELF_INCONSISTENT, VerdictKind.NAME_DIFFERS)
    assert evidence(session, verdict)["name"]["theirs"] == LI["name"]


def test_a_batch_gives_the_verdicts_that_its_entries_get_one_by_one(session: Session, entries: Entries) -> None:
    sources = [entries.document(Kind.PERSON, ZHANG), entries.document(Kind.PERSON, LI, later=1)]
    sources += [entries.document(Kind.PERSON, ZHANG, later=2), entries.event(later=3), entries.report(later=4)]
    service.check(session, sources)
    together = [verdicts(session, source)[0].findings for source in sources]
    assert together == [["accepted"], ["accepted"], ["duplicate"], ["accepted"], ["duplicate"]]


def test_the_job_is_registered() -> None:
    assert jobs.handler_of("workflows.crosscheck") is tasks.crosscheck
