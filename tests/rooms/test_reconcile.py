"""Bulk reconciliation on PostgreSQL: what is linked and why, what is counted, and that it may stop anywhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from backend import jobs
from backend.core.enums import Kind, LinkRule, ReconciliationPhase, ReconciliationState
from backend.core.errors import NotFound
from backend.core.settings import get_settings
from backend.models import Dataset, Job, Reconciliation, ReconciliationGrid, ReconciliationRecord
from tests.rooms.crosscheck_builders import (
    COMPONENT_ID,
    GRID,
    HOUSE_CODE,
    NEXT_GRID,
    OTHER_CODE,
    Entries,
    business_records,
    point_of,
)
from tests.rooms.reconcile_builders import Town, id_number, links, person, run_to_end, steward
from workflows.reconcile import engines, service, steps
from workflows.reconcile.errors import ReconciliationNoSnapshot


@pytest.fixture(autouse=True)
def _settings_of_the_next_test() -> Iterator[None]:
    yield
    get_settings.cache_clear()


@pytest.fixture
def town(session: Session, tmp_path: Path) -> Town:
    return Town(session, tmp_path).build()


def asked(session: Session, **more: Any) -> Reconciliation:
    return service.ask(session, caller=steward(session), **{"dataset": "population"} | more)


def found(session: Session, town: Town, run: Reconciliation) -> dict[str, tuple[LinkRule, list[str] | None]]:
    by_document = {link.document_id: (link.rule, link.differs) for link in links(session, run)}
    return {name: by_document[key] for name, key in town.documents.items() if key in by_document}


LINKED = {
    "exact": (LinkRule.KEY, []),
    "twice": (LinkRule.KEY, ["phone"]),
    "by_phone": (LinkRule.PHONE, ["name", "id_number"]),
    "probable": (LinkRule.PROBABLE, ["id_number", "phone"]),
    "moved": (LinkRule.PROBABLE, ["id_number", "phone"]),
}


def counts(session: Session, run: Reconciliation) -> dict[str, dict[str, int]]:
    rows = session.exec(select(ReconciliationGrid).where(ReconciliationGrid.run_id == run.id))
    return {row.grid_id: {k: v for k, v in row.model_dump().items() if v and isinstance(v, int)} for row in rows}


def test_each_record_is_linked_by_the_surest_rule_that_finds_it(session: Session, town: Town) -> None:
    run = asked(session)
    run_to_end(session, run)
    assert (run.state, run.failure) == (ReconciliationState.DONE, None)
    assert found(session, town, run) == LINKED
    assert counts(session, run) == {
        GRID: {
            "documents": 6,
            "by_key": 2,
            "by_phone": 1,
            "probable": 2,
            "conflicting": 4,
            "duplicates": 1,
            "records": 7,
            "records_linked": 3,
        },
        NEXT_GRID: {"records": 1, "records_linked": 1},
    }
    assert run.tally["fields"]["phone"] == {"compared": 5, "differs": 3}
    assert session.exec(select(ReconciliationRecord)).all() == []


def test_the_size_of_chunks_and_partitions_changes_nothing(
    session: Session, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asked(session)
    whole = run_to_end(session, first)
    monkeypatch.setattr(steps, "CHUNK", 2)
    monkeypatch.setattr(steps, "COMPARED", 2)
    second = asked(session)
    assert run_to_end(session, second) > whole + 5
    assert found(session, town, second) == LINKED
    assert (counts(session, second), second.tally) == (counts(session, first), first.tally)


@pytest.mark.parametrize("scope", [{"grids": [NEXT_GRID]}, {"territory": NEXT_GRID}])
def test_chosen_grids_or_one_territory_only(session: Session, town: Town, scope: dict[str, Any]) -> None:
    run = asked(session, **scope)
    run_to_end(session, run)
    assert (found(session, town, run), counts(session, run)) == ({}, {NEXT_GRID: {"records": 1}})


@pytest.mark.parametrize("scope", [{"grids": [GRID]}, {"territory": GRID[:6]}, {"territory": "44"}])
def test_nobody_asks_beyond_his_own_territory(session: Session, town: Town, scope: dict[str, Any]) -> None:
    with pytest.raises(NotFound):
        service.ask(session, caller=steward(session, NEXT_GRID), dataset="population", **scope)


def test_people_who_share_a_phone_and_a_birthday_are_not_taken_for_each_other(session: Session, tmp_path: Path) -> None:
    """Twins in one household, of whom the register knows the one and the other was collected."""
    known = person(77, name="赵一鸣")
    other = known | {"name": "赵双喜", "id_number": id_number(known["birth_date"], 191)}
    business_records(session, tmp_path, "population", known)
    entries = Entries(session)
    mine = entries.document(Kind.PERSON, known).id
    theirs = entries.document(Kind.PERSON, other).id
    run = asked(session)
    run_to_end(session, run)
    linked = {link.document_id: link.rule for link in links(session, run)}
    assert linked.get(mine) is LinkRule.KEY
    assert theirs not in linked


def test_houses_and_components_are_linked_by_their_keys_and_else_by_what_they_are(
    session: Session, tmp_path: Path
) -> None:
    entries = Entries(session)
    address = "坪山街道六联社区示例路1号1栋101"
    business_records(
        session, tmp_path, "houses", {"house_code": HOUSE_CODE, "address": address, "owner.name": "张三丰"}
    )
    exact = entries.document(Kind.HOUSE, {"house_code": HOUSE_CODE, "address": address}).id
    run = asked(session, dataset="houses")
    run_to_end(session, run)
    assert [(link.document_id, link.rule) for link in links(session, run)] == [(exact, LinkRule.KEY)]
    place = point_of(GRID)
    row = {"component_id": COMPONENT_ID, "class_code": "0101", "owner_unit": "water"}
    degrees = {"location.lat": place["lat"] / 1e7, "location.lon": place["lon"] / 1e7}
    business_records(session, tmp_path, "components", row | degrees)
    nearby = {"class_code": "0101", "owner_unit": "water", "location": place | {"datum": "wgs84"}}
    seen = entries.document(Kind.COMPONENT, nearby | {"component_id": "4403100101000091"}).id
    run = asked(session, dataset="components")
    run_to_end(session, run)
    assert [(link.document_id, link.rule, link.differs) for link in links(session, run)] == [
        (seen, LinkRule.PROBABLE, ["component_id"])
    ]
    assert OTHER_CODE != HOUSE_CODE


def test_a_step_that_dies_leaves_nothing_and_one_made_twice_counts_once(
    session: Session, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = asked(session)
    true = dict(steps.STEPS)
    for phase in ReconciliationPhase:

        def dies(work: steps.Work, made: steps.Step = true[phase]) -> str | None:
            made(work)
            raise ConnectionError

        while run.phase is phase and run.state is ReconciliationState.RUNNING:
            monkeypatch.setitem(steps.STEPS, phase, dies)
            with pytest.raises(ConnectionError), session.begin_nested():
                service.run_step(session, run_id=run.id, step=run.step)
            monkeypatch.setitem(steps.STEPS, phase, true[phase])
            session.refresh(run)
            step = run.step
            service.run_step(session, run_id=run.id, step=step)
            service.run_step(session, run_id=run.id, step=step)
            session.refresh(run)
            assert run.step == step + 1
    assert found(session, town, run) == LINKED
    assert counts(session, run)[GRID]["documents"] == 6
    assert run.tally["fields"]["phone"] == {"compared": 5, "differs": 3}


def test_each_step_asks_for_the_next_and_the_last_for_none(session: Session, town: Town) -> None:
    run = asked(session)
    made = run_to_end(session, run)
    query = select(Job.key).where(Job.name == service.JOB)
    assert set(session.exec(query)) == {service.key_of(run.id, step) for step in range(made)}
    with pytest.raises(jobs.Discard, match="reconciliation_unknown"):
        service.run_step(session, run_id=run.snapshot_id, step=0)


def test_a_run_keeps_to_its_snapshot_while_others_come_and_ends_where_that_is_gone(
    session: Session, town: Town, tmp_path: Path
) -> None:
    pinned, gone = asked(session), asked(session)
    for first in (101, 201, 301):
        # What is being checked again holds snapshots, too.
        session.connection().execute(text("UPDATE recheck SET state = 'done'"))
        business_records(session, tmp_path, "population", *(person(first + number) for number in range(8)))
    run_to_end(session, pinned)
    assert found(session, town, pinned) == LINKED, "of the snapshot that was in force when it was asked for"
    rows = "DELETE FROM business_record WHERE snapshot_id = :id"
    session.connection().execute(text(rows), {"id": gone.snapshot_id})
    run_to_end(session, gone)
    assert (gone.state, gone.failure) == (ReconciliationState.FAILED, "reconciliation_snapshot_gone")


def test_a_record_that_is_erased_in_the_middle_of_a_run_is_passed_over(session: Session, town: Town) -> None:
    run = asked(session)
    while run.phase is not ReconciliationPhase.FIELDS:
        service.run_step(session, run_id=run.id, step=run.step)
        session.refresh(run)
    linked = {link.document_id: link.record_id for link in links(session, run)}
    erased = "DELETE FROM business_record WHERE id = :id"
    session.connection().execute(text(erased), {"id": linked[town.documents["probable"]]})
    run_to_end(session, run)
    assert found(session, town, run) == LINKED | {"probable": (LinkRule.PROBABLE, [])}


def test_a_worker_without_the_engine_ends_the_run_with_its_code(
    session: Session, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = asked(session)
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    run_to_end(session, run)
    assert (run.state, run.failure) == (ReconciliationState.FAILED, "reconcile_engine_missing")
    assert {link.rule for link in links(session, run)} == {LinkRule.KEY, LinkRule.PHONE}
    with pytest.raises(engines.ReconcileEngineMissing):
        asked(session)


def test_a_partition_that_is_too_large_ends_the_run_with_its_code(
    session: Session, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILE_MEMORY", "1MB")
    get_settings.cache_clear()
    run = asked(session)
    run_to_end(session, run)
    assert (run.state, run.failure) == (ReconciliationState.FAILED, "reconcile_memory")


def test_a_dataset_without_a_snapshot_is_refused(session: Session) -> None:
    session.get_one(Dataset, "population").current_snapshot_id = None
    with pytest.raises(ReconciliationNoSnapshot):
        asked(session)
