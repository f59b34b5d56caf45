"""Datasets that departments registered speak in the cross-check, and their new snapshots have entries checked again."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import Session, col, select

from backend.core.enums import ImportState, Kind, RunState, VerdictKind
from backend.handlers import load_handlers
from backend.models import Document, Recheck, RuleSet, Verdict
from backend.services import rechecks, registry, registry_catalogue
from backend.services.registry_schemas import DatasetDefinition
from backend.services.sealing import Vault, destroy_keys, human
from sync import steward
from tests.rooms.crosscheck_builders import (
    ADDRESS,
    HOUSE_CODE,
    LI,
    OTHER_CODE,
    ZHANG,
    Entries,
    business_records,
    evidence,
    verdicts,
)
from tests.rooms.test_recheck import work
from tests.tables import csv_text
from workflows.crosscheck import service
from workflows.crosscheck.facts import Source
from workflows.crosscheck.lookup import SnapshotChanged

PERMITS = {"id_type": "证件种类", "id_number": "证件号", "name": "姓名", "phone": "电话", "house_code": "住处"}
LEASES = {"house_code": "房屋码", "rental_use": "出租", "owner.name": "房东", "rent": "租金"}
KEYS = {"person": None, "house": "house_code"}


@pytest.fixture
def entries(session: Session) -> Entries:
    load_handlers()
    return Entries(session)


def register(session: Session, code: str, kind: str, columns: dict[str, str]) -> None:
    definition = DatasetDefinition.model_validate(
        {
            "code": code,
            "name": "合成登记",
            "department_code": "market-regulation",
            "legal_basis": "示例",
            "grade": "general",
            "kind": kind,
            "key": KEYS[kind],
            "columns": [{"title": title, "field": field} for field, title in columns.items()],
        }
    )
    registry_catalogue.register(session, definition, actor="test")


def load(session: Session, folder: Path, code: str, *rows: dict[str, str]) -> UUID:
    """A file of a department, with its own titles, as the dataset's new snapshot."""
    columns = PERMITS if "id_number" in rows[0] else LEASES
    path = folder / f"{code}.csv"
    lines = [list(columns.values()), *([row.get(field, "") for field in columns] for row in rows)]
    path.write_text(csv_text(lines), encoding="utf-8", newline="")
    snapshot = registry.import_path(session, code, path, actor="test", fewer=True)
    assert (snapshot.state, snapshot.accepted) == (ImportState.CURRENT, len(rows)), snapshot.reasons
    return snapshot.id


def of(person: dict[str, Any], **changes: str) -> dict[str, str]:
    return {name: person[name] for name in ("id_type", "id_number", "name")} | changes


def check(session: Session, *sources: Source) -> list[Verdict]:
    assert service.check(session, sources) == {}
    return [verdicts(session, source)[-1] for source in sources]


def check_again(session: Session) -> set[str]:
    ran = work(session, rechecks.STEP_JOB, rechecks.ENTRY_JOB)
    return {job.payload["source_id"] for job in ran if job.name == rechecks.ENTRY_JOB}


def standing(session: Session, source: Source) -> Verdict:
    [verdict] = [one for one in verdicts(session, source) if one.superseded_at is None]
    return verdict


def test_a_departments_own_dataset_says_what_it_has_about_the_entry(
    session: Session, entries: Entries, tmp_path: Path
) -> None:
    business_records(session, tmp_path, "population", ZHANG, LI)
    register(session, "permits", "person", PERMITS)
    snapshot_id = load(session, tmp_path, "permits", of(ZHANG, name="李四"), of(LI))
    zhang, li = check(session, entries.document(Kind.PERSON, ZHANG), entries.document(Kind.PERSON, LI))
    assert (zhang.verdict, zhang.findings) == (VerdictKind.SOURCES_DIFFER, ["sources_differ"])
    assert (li.verdict, evidence(session, li)["name"]["dataset"]) == (VerdictKind.MATCH, "permits")
    said = evidence(session, zhang)["name"]
    assert (said["mine"], said["theirs"], said["dataset"]) == ("张三丰", "李四", "permits")
    assert said["finding"] == "sources_differ"
    assert said["score"] < 0.9
    assert zhang.snapshots.keys() == {"population", "permits"}
    assert zhang.snapshots["permits"] == {"snapshot_id": str(snapshot_id), "taken_at": said["taken_at"]}


def test_where_a_person_lives_is_compared_by_the_house_that_his_entry_names(
    session: Session, entries: Entries, tmp_path: Path
) -> None:
    register(session, "permits", "person", PERMITS)
    load(session, tmp_path, "permits", of(ZHANG, house_code=OTHER_CODE), of(LI, house_code=HOUSE_CODE))
    house = entries.document(Kind.HOUSE, {"house_code": HOUSE_CODE, "address": ADDRESS})
    here = {"house_id": str(house.id)}
    zhang, li = check(session, *(entries.document(Kind.PERSON, one | here) for one in (ZHANG, LI)))
    lives = evidence(session, zhang)["house_code"]
    assert (lives["mine"], lives["theirs"], lives["finding"]) == (HOUSE_CODE, OTHER_CODE, "sources_differ")
    assert (li.verdict, evidence(session, li)["house_code"]["score"]) == (VerdictKind.ACCEPTED, 1.0)


def test_datasets_about_another_kind_or_about_none_are_not_read(
    session: Session, entries: Entries, tmp_path: Path
) -> None:
    register(session, "leases", "house", LEASES)
    load(session, tmp_path, "leases", {"house_code": HOUSE_CODE, "rental_use": "出租"})
    house = {"house_code": HOUSE_CODE, "address": ADDRESS, "rental_use": "vacant"}
    person, at_home = check(session, entries.document(Kind.PERSON, ZHANG), entries.document(Kind.HOUSE, house))
    assert (person.verdict, person.snapshots) == (VerdictKind.ACCEPTED, {})
    assert (at_home.verdict, list(at_home.snapshots)) == (VerdictKind.SOURCES_DIFFER, ["leases"])
    assert evidence(session, at_home)["rental_use"]["theirs"] == "rented"


def test_who_settles_a_conflict_is_shown_the_base_dataset_s_value(
    session: Session, entries: Entries, tmp_path: Path
) -> None:
    register(session, "leases", "house", LEASES)
    load(session, tmp_path, "leases", {"house_code": HOUSE_CODE, "rental_use": "出租", "owner.name": "王五"})
    owner = {"owner.name": "李梅", "owner.id_type": "citizen_id", "owner.id_number": LI["id_number"]}
    business_records(session, tmp_path, "houses", {"house_code": HOUSE_CODE, "address": ADDRESS, **owner})
    house = {"house_code": HOUSE_CODE, "address": ADDRESS, "rental_use": "vacant", "owner": {"name": "李四"}}
    source = entries.document(Kind.HOUSE, house)
    check(session, source)
    document, vault = session.get_one(Document, source.id), Vault(session)
    found = steward.value_of(session, document, "owner", vault=vault)
    assert found is not None
    assert (found.dataset, found.value) == ("houses", {"name": "李梅"})
    assert steward.value_of(session, document, "rental_use", vault=vault) is None


def test_who_is_known_elsewhere_only_is_said_to_be_and_it_goes_with_him(
    session: Session, entries: Entries, tmp_path: Path
) -> None:
    register(session, "permits", "person", PERMITS)
    load(session, tmp_path, "permits", of(ZHANG))
    business_records(session, tmp_path, "population", LI)
    [known] = check(session, entries.document(Kind.PERSON, ZHANG))
    assert (known.verdict, evidence(session, known)["elsewhere"]["theirs"]) == (VerdictKind.NOT_FOUND, True)
    destroy_keys(session, [human(ZHANG["id_type"], ZHANG["id_number"])])
    assert evidence(session, known) == {}


def test_many_entries_take_as_many_statements_as_few(
    session: Session, entries: Entries, tmp_path: Path, statements: list[Any]
) -> None:
    """And none at all where no dataset of a department's own is in force."""

    def some(count: int, start: int) -> list[Source]:
        made = []
        for number in range(start, start + count):
            made.append(entries.document(Kind.PERSON, ZHANG | {"phone": f"138{number:08}"}))
            made.append(entries.document(Kind.HOUSE, {"house_code": f"{number:025}", "address": ADDRESS}))
        return made

    def cost(sources: list[Source]) -> int:
        statements.clear()
        service.check(session, sources)
        return len(statements)

    few, many, later = some(1, 0), some(20, 1000), some(1, 2000)
    alone = cost(few)
    assert not [made for made in statements if "wanted (snapshot_id, key)" in str(made)]
    register(session, "permits", "person", PERMITS)
    register(session, "leases", "house", LEASES)
    load(session, tmp_path, "permits", of(ZHANG))
    load(session, tmp_path, "leases", {"house_code": f"{1000:025}", "rental_use": "自住"})
    assert cost(later) == alone + 1, "the one that reads all datasets; its keys are those of the entries"
    assert [made for made in statements if "wanted (snapshot_id, key)" in str(made)], "the control"
    assert cost(many) <= alone + 2


def test_a_snapshot_that_ends_during_a_check_has_it_repeated(
    session: Session, entries: Entries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(session, "permits", "person", PERMITS)
    load(session, tmp_path, "permits", of(ZHANG))
    find = registry.find_in_snapshots

    def meanwhile(*given: Any, **named: Any) -> Any:
        load(session, tmp_path, "permits", of(ZHANG, name="李四"))
        return find(*given, **named)

    monkeypatch.setattr(registry, "find_in_snapshots", meanwhile)
    with pytest.raises(SnapshotChanged):
        service.check(session, [entries.document(Kind.PERSON, ZHANG)])


def test_a_new_snapshot_has_the_entries_checked_again_that_it_speaks_of(
    session: Session, entries: Entries, tmp_path: Path
) -> None:
    zhang, li = entries.document(Kind.PERSON, ZHANG), entries.document(Kind.PERSON, LI)
    house = entries.document(Kind.HOUSE, {"house_code": HOUSE_CODE, "address": ADDRESS, "rental_use": "vacant"})
    away = entries.document(Kind.HOUSE, {"house_code": OTHER_CODE, "address": ADDRESS})
    same_phone = entries.document(Kind.PERSON, {**LI, "id_number": "440301197001010013", "phone": ZHANG["phone"]})
    check(session, zhang, li, house, away, same_phone)
    register(session, "permits", "person", PERMITS)
    register(session, "leases", "house", LEASES)

    load(session, tmp_path, "permits", of(ZHANG, name="李四", phone=ZHANG["phone"]))
    load(session, tmp_path, "leases", {"house_code": HOUSE_CODE, "rental_use": "出租"})
    assert check_again(session) == {str(zhang.id), str(house.id)}, "its first snapshot says nothing of all others"
    assert standing(session, zhang).verdict is VerdictKind.SOURCES_DIFFER
    assert standing(session, house).verdict is VerdictKind.SOURCES_DIFFER

    load(session, tmp_path, "permits", of(LI), of(ZHANG, name="李四", phone=ZHANG["phone"]))
    assert check_again(session) == {str(li.id)}
    load(session, tmp_path, "permits", of(LI))
    assert check_again(session) == {str(zhang.id)}, "a record that is gone counts as one that changed"
    assert standing(session, zhang).verdict is VerdictKind.ACCEPTED
    runs = session.exec(select(Recheck).order_by(col(Recheck.id))).all()
    assert {(run.state, run.entries == run.checked) for run in runs} == {(RunState.DONE, True)}


def test_rules_that_look_into_no_other_source_read_none_and_check_nothing_again(
    session: Session, entries: Entries, tmp_path: Path
) -> None:
    active = session.get_one(RuleSet, 1)
    active.rules = {name: part for name, part in active.rules.items() if name != "others"}
    session.flush()
    source = entries.document(Kind.PERSON, ZHANG)
    check(session, source)
    register(session, "permits", "person", PERMITS)
    load(session, tmp_path, "permits", of(ZHANG, name="李四"), of(LI))
    assert check_again(session) == set()
    business_records(session, tmp_path, "population", ZHANG)
    [later] = check(session, entries.document(Kind.PERSON, LI))
    assert (later.verdict, set(later.snapshots)) == (VerdictKind.NOT_FOUND, {"population"})
    assert evidence(session, later).keys() == {"id_number"}
