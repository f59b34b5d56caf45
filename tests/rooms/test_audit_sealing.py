"""The audit trail is sealed in chained batches, whoever commits when, and only as the roles allow."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlmodel import Session

from backend.core.clock import now
from backend.core.db import Role, engine_for, transaction
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.embedded.postgres import EmbeddedPostgres
from backend.services import audit, audit_sealing
from backend.services.audit_anchor import AuditBroken
from backend.services.audit_hashing import CANONICAL, canonical, fetch, microseconds
from backend.services.audit_locate import Finding, Wrong
from backend.services.audit_rows import entry_ids, rows_of
from backend.services.audit_tasks import Sealer, audit_retention
from tests.rooms.audit_builders import TrailOfTest, superuser_engine
from tests.world import until


@pytest.fixture
def trail(
    database: str, postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TrailOfTest]:
    monkeypatch.setenv("AUDIT_ANCHOR", str(tmp_path / "trust" / "anchor.jsonl"))
    get_settings.cache_clear()
    engine = superuser_engine(postgres.url(user="postgres", database=database))
    yield TrailOfTest(get_settings().anchor_path(), engine)
    engine.dispose()


def unsealed() -> int:
    with Session(engine_for("zw_worker")) as session:
        return audit_sealing.count_unsealed(session)


def test_what_waits_is_sealed_in_batches_of_a_thousand(trail: TrailOfTest) -> None:
    trail.write(2500)
    assert trail.seal() == 2500
    assert unsealed() == 0
    with Session(engine_for("zw_worker")) as session:
        heads = [(row.number, row.previous_head, row.head) for row in rows_of(session)]
        assert [row.entry_count for row in rows_of(session)] == [1000, 1000, 500]
    assert [number for number, _, _ in heads] == [1, 2, 3]
    assert heads[0][1] == bytes(32)
    assert [previous for _, previous, _ in heads[1:]] == [head for _, _, head in heads[:-1]]


def test_the_canonical_form_of_the_database_is_the_documented_one(trail: TrailOfTest) -> None:
    strange = ['a"b', "a\\b", "a b", "(a", "a,b", "\u5e97", "a\tb\nc", "x" * 64]
    trail.write(2)
    with trail.owner() as session:
        for value in strange:
            session.connection().execute(
                text("INSERT INTO audit_entry VALUES (:id, :at, :value, 'a', :empty, 'o', :value, :detail)"),
                {
                    "id": new_id(),
                    "at": now(),
                    "value": value,
                    "empty": "" if value == "(a" else "t",
                    "detail": '{"n": [1, "\u5e97"]}',
                },
            )
    columns = "e.id, e.at, e.actor, e.action, e.object_type, e.object_id, e.request_id, CAST(e.detail AS text)"
    with Session(engine_for("zw_worker")) as session:
        found = fetch(session, f"SELECT {CANONICAL}, {columns} FROM audit_entry e", {})
    assert len(found) > len(strange)
    assert [form for form, *_ in found] == [canonical(str(entry), *rest) for _, entry, *rest in found]


def test_an_entry_whose_transaction_commits_late_is_sealed_like_any_other(trail: TrailOfTest) -> None:
    with Session(engine_for("zw_api")) as late:
        audit.record(late, actor="tests", action="late", object_type="thing", object_id="late")
        trail.write(5)
        assert trail.seal() >= 5
        trail.write(1)
        assert trail.seal() == 1
        late.commit()
    assert unsealed() == 1
    assert trail.seal() == 1
    trail.anchor_all()
    assert trail.verify().finding is None


def test_concurrent_writers_are_sealed_to_the_last_entry_and_the_lag_stays_small(trail: TrailOfTest) -> None:
    """In each round four writers commit while the sealer looks, and one transaction stays open over all rounds."""
    trail.write(1)  # makes the engine, which threads would make several times
    sealer, lags = Sealer(), []
    with Session(engine_for("zw_api")) as late, ThreadPoolExecutor(4) as pool:
        audit.record(late, actor="tests", action="late", object_type="thing", object_id="late")
        for _ in range(12):
            writing = [pool.submit(trail.write, 150) for _ in range(4)]
            sealer.look()
            for written in writing:
                written.result()
            lags.append(unsealed())
        late.commit()
    assert max(lags) < Sealer.SEALED_AT_ONCE + 4 * 150 < 1000
    sealer.look()
    assert unsealed() < Sealer.SEALED_AT_ONCE
    trail.seal()
    trail.anchor_all()
    report = trail.verify()
    assert (report.finding, report.unsealed, report.unanchored) == (None, 0, 0)
    assert report.entries == 12 * 4 * 150 + 2


def test_two_sealers_at_once_are_one(trail: TrailOfTest) -> None:
    trail.write(10)
    with transaction(engine_for("zw_worker")) as first:
        assert audit_sealing.seal_waiting(first) >= 10
        with transaction(engine_for("zw_worker")) as second:
            assert audit_sealing.seal_waiting(second) == 0
    assert trail.seal() == 0
    trail.anchor_all()
    assert trail.verify().batches == 1


def test_writers_wait_for_no_sealer_and_for_no_other_writer(trail: TrailOfTest) -> None:
    trail.write(3)
    with Session(engine_for("zw_worker")) as sealing, Session(engine_for("zw_api")) as writing:
        audit.record(writing, actor="tests", action="open", object_type="thing", object_id="open")
        assert audit_sealing.seal_waiting(sealing) >= 3
        with transaction(engine_for("zw_api")) as other:
            other.connection().execute(text("SET LOCAL lock_timeout = '50ms'"))
            audit.record(other, actor="tests", action="other", object_type="thing", object_id="other")
        blocked = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        assert sealing.connection().execute(blocked).scalar_one() == 0


def test_few_entries_wait_until_one_is_old_enough(trail: TrailOfTest) -> None:
    while trail.seal():
        pass
    trail.write(3)
    with transaction(engine_for("zw_worker")) as session:
        young = now() - timedelta(seconds=5)
        assert audit_sealing.seal_waiting(session, at_least=10, until=young) == 0
        assert audit_sealing.seal_waiting(session, at_least=3, until=young) == 3
    trail.write(3)
    with transaction(engine_for("zw_worker")) as session:
        assert audit_sealing.seal_waiting(session, at_least=10, until=now()) == 3


@pytest.mark.parametrize("role", ["zw_api", "zw_worker"])
@pytest.mark.parametrize("table", ["audit_batch", "audit_seal", "audit_drop"])
def test_seals_and_batches_can_only_be_appended_and_only_by_the_worker(untouched: str, role: Role, table: str) -> None:
    rights = text(
        "SELECT p, has_table_privilege(:table, p) FROM unnest(ARRAY['INSERT','UPDATE','DELETE','TRUNCATE']) p"
    )
    with Session(engine_for(role)) as session:
        held = {row.p for row in session.connection().execute(rights, {"table": table}) if row[1]}
    assert held == ({"INSERT"} if role == "zw_worker" and table != "audit_drop" else set())


def age(trail: TrailOfTest, days: int) -> None:
    """Make all that is there older, as only an owner can."""
    trail.alter("UPDATE audit_entry SET at = at - make_interval(days => :days)", days=days)


def test_retention_drops_whole_old_batches_keeps_their_hashes_and_is_audited(
    trail: TrailOfTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(trail, 400)
    trail.write(3)
    age(trail, 400)
    with monkeypatch.context() as past:
        past.setattr(audit_sealing, "now", lambda: now() - timedelta(days=400))
        assert trail.seal() >= 3
    trail.grow(2)
    with Session(engine_for("zw_worker")) as session:
        dropped_ids = entry_ids(session, 1)
    audit_retention()
    report = trail.verify()
    assert (report.finding, report.dropped_batches, report.batches) == (None, 1, 3)
    with Session(engine_for("zw_worker")) as session:
        left = text("SELECT count(*) FROM audit_entry WHERE id = ANY (CAST(:ids AS uuid[]))")
        assert session.connection().execute(left, {"ids": dropped_ids}).scalar_one() == 0
        told = text("SELECT object_id, detail FROM audit_entry WHERE action = 'audit_batches_dropped'")
        assert [tuple(row) for row in session.connection().execute(told)] == [
            ("1", {"entries": len(dropped_ids), "days": 365})
        ]
    trail.alter("UPDATE audit_drop SET hashes = overlay(hashes placing '\\x00ff00ff' from 33)")
    assert trail.verify().finding is not None


def test_the_database_drops_nothing_younger_than_half_a_year_for_anybody(trail: TrailOfTest) -> None:
    trail.grow(1)
    for role in ("zw_worker", "zw_api"):
        with Session(engine_for(role)) as session, pytest.raises(ProgrammingError):
            audit_sealing.retain(session, days=182)
    with Session(engine_for("zw_api")) as session, pytest.raises(ProgrammingError, match="permission denied"):
        audit_sealing.retain(session, days=400)
    with transaction(engine_for("zw_worker")) as session:
        assert audit_sealing.retain(session, days=183) == 0


def backdate(entries: list[str], *, days: int) -> None:
    """As the worker's own role: seal entries as the next batch, rightly chained, said to be of days ago."""
    with transaction(engine_for("zw_worker")) as session:
        hold = text("SELECT pg_advisory_xact_lock(:key)")
        session.connection().execute(hold, {"key": audit_sealing._SEALER})
        query = f"SELECT {CANONICAL} FROM audit_entry e WHERE object_id = ANY (%(ids)s) ORDER BY at, id"
        forms = [form for (form,) in fetch(session, query, {"ids": entries})]
        last = list(rows_of(session))[-1]
        moment = now() - timedelta(days=days)
        with pytest.MonkeyPatch.context() as past:
            past.setattr(audit_sealing, "time_of", lambda _: microseconds(moment))
            audit_sealing._seal(session, last.number + 1, last.head, forms, moment)


def add_to_batch(entry: str, batch: int) -> None:
    """As the worker's own role: a seal more at the end of a batch."""
    statement = text(
        "INSERT INTO audit_seal SELECT e.id, :batch, (SELECT max(position) + 1 FROM audit_seal WHERE batch = :batch), "
        "'\\x00' FROM audit_entry e WHERE object_id = :entry"
    )
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(statement, {"batch": batch, "entry": entry})


def drop(session: Session) -> int:
    call = text("SELECT audit_drop_batches(now() - interval '200 days', 100)")
    return int(session.connection().execute(call).scalar_one())


def is_there(entry: str) -> bool:
    with Session(engine_for("zw_worker")) as session:
        found = text("SELECT EXISTS (SELECT FROM audit_entry WHERE object_id = :entry)")
        return bool(session.connection().execute(found, {"entry": entry}).scalar_one())


def grow_long_ago(trail: TrailOfTest, *, days: int) -> None:
    """One batch that is truly old, anchored."""
    trail.write(3)
    age(trail, days)
    with pytest.MonkeyPatch.context() as past:
        past.setattr(audit_sealing, "now", lambda: now() - timedelta(days=days))
        assert trail.seal() >= 3
    trail.anchor_all()


def test_a_fresh_entry_in_a_batch_that_says_it_is_old_is_not_dropped_nor_signed(trail: TrailOfTest) -> None:
    trail.grow(1)
    [fresh] = trail.write(1)
    backdate([fresh], days=2000)
    with transaction(engine_for("zw_worker")) as session:
        assert drop(session) == 0
    assert is_there(fresh)
    with pytest.raises(AuditBroken, match="batch 2 says it was sealed before"):
        trail.anchor_all()
    assert trail.verify().finding == Finding(Wrong.BATCH_ALTERED, 2)


def test_a_fresh_entry_is_not_dropped_where_the_batch_before_is_truly_old(trail: TrailOfTest) -> None:
    grow_long_ago(trail, days=500)
    [fresh] = trail.write(1)
    backdate([fresh], days=400)
    with transaction(engine_for("zw_worker")) as session:
        assert drop(session) == 3
    assert is_there(fresh)


def test_a_batch_with_another_seal_than_it_was_sealed_with_is_not_dropped(trail: TrailOfTest) -> None:
    grow_long_ago(trail, days=500)
    [fresh] = trail.write(1)
    add_to_batch(fresh, 1)
    with transaction(engine_for("zw_worker")) as session:
        assert drop(session) == 0
    assert is_there(fresh)


def test_a_seal_that_is_added_while_a_batch_is_dropped_takes_no_entry_with_it(trail: TrailOfTest) -> None:
    """One drop waits for another, which is undone after a seal was added."""
    grow_long_ago(trail, days=500)
    [fresh] = trail.write(1)
    waits = text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")

    def second() -> int:
        with transaction(engine_for("zw_worker")) as session:
            return drop(session)

    def is_waiting() -> bool:
        with Session(engine_for("zw_worker")) as session:
            return bool(session.connection().execute(waits).scalar_one())

    with Session(engine_for("zw_worker")) as first, ThreadPoolExecutor(1) as pool:
        assert drop(first) == 3
        dropping = pool.submit(second)
        until(is_waiting, what="the second drop waits for the first")
        add_to_batch(fresh, 1)
        first.rollback()
        assert dropping.result() == 3
    assert is_there(fresh)


def test_a_clock_that_is_set_back_puts_no_batch_out_of_order(
    trail: TrailOfTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail.grow(1)
    monkeypatch.setattr(audit_sealing, "now", lambda: now() - timedelta(minutes=5))
    trail.grow(1)
    assert trail.verify().finding is None


def test_a_function_of_the_callers_own_cannot_take_the_place_of_one_the_drop_uses(trail: TrailOfTest) -> None:
    with Session(engine_for("zw_worker")) as session:
        settings = text("SELECT proconfig FROM pg_proc WHERE proname = 'audit_drop_batches' AND prosecdef")
        assert session.connection().execute(settings).scalar_one() == ["search_path=pg_catalog, pg_temp"]


def test_trail_tells_how_much_waits(trail: TrailOfTest) -> None:
    trail.grow(1)
    trail.write(7)
    with Session(engine_for("zw_api")) as session:
        seen = audit_sealing.trail(session)
    assert (seen.batches, seen.unsealed) == (1, 7)


def test_what_waits_is_seen_also_after_a_clock_that_ran_ahead(trail: TrailOfTest) -> None:
    with pytest.MonkeyPatch.context() as ahead:
        ahead.setattr(audit_sealing, "now", lambda: now() + timedelta(days=1))
        trail.grow(1)
    trail.write(7)
    with Session(engine_for("zw_worker")) as session:
        assert audit_sealing.trail(session).unsealed == 7
        assert audit_sealing.sealed_until(session) < now()
