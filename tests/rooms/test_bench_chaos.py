"""The judge of `make chaos` sees what is lost and what is stuck; otherwise its noughts would mean nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import text

from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.core.enums import ImportState
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import Dataset, Snapshot
from backend.services import rechecks
from bench.chaos import Outcome, _judge
from tests.world import World, document, drain_jobs


class _Stack:
    """The database of the test in the place of the benchmark's."""

    @contextmanager
    def superuser(self, _: str) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(get_settings().migration_url(), autocommit=True) as connection:
            yield connection


def judged(*acknowledged: str) -> Outcome:
    stack: Any = _Stack()
    return _judge(stack, "", 1.0, list(acknowledged))


def test_what_is_lost_or_stuck_is_seen(world: World) -> None:
    handheld = world.handheld()
    entry = document(handheld.grids()[0], name="合成")
    handheld.push("person", entry)
    waiting = judged(entry["id"])
    assert (waiting.entries, waiting.lost) == (1, 1), "no verdict yet"
    assert waiting.stuck > 0
    drain_jobs()
    done = judged(entry["id"])
    assert (done.entries, done.lost, done.doubled, done.stuck) == (1, 0, 0, 0)
    assert judged(entry["id"], str(new_id())).lost == 1, "acknowledged and not there"


def test_a_second_verdict_and_a_dead_job_are_seen(world: World) -> None:
    handheld = world.handheld()
    handheld.push("person", document(handheld.grids()[0], name="合成"))
    drain_jobs()
    owner = psycopg.connect(get_settings().migration_url(), autocommit=True)
    with owner:
        owner.execute("DROP INDEX uq_verdict_source")
        owner.execute(
            """
            INSERT INTO verdict (id, source_type, source_id, source_version, kind, rule_version, verdict, findings,
                                 snapshots, created_at)
            SELECT gen_random_uuid(), source_type, source_id, source_version, kind, rule_version, verdict, findings,
                   snapshots, created_at FROM verdict
            """
        )
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(text("UPDATE job SET state = 'dead' WHERE name = 'workflows.crosscheck'"))
    found = judged()
    assert (found.doubled, found.stuck) == (1, 1)


def test_a_verdict_that_the_records_in_force_contradict_is_seen(world: World) -> None:
    handheld = world.handheld()
    handheld.push("person", document(handheld.grids()[0], name="合成"))
    drain_jobs()
    assert judged().stale == 0, "without a population nothing is contradicted"
    with transaction(engine_for("zw_worker")) as session:
        snapshot = Snapshot(dataset_code="population", taken_at=now(), state=ImportState.CURRENT, sha256="")
        session.add(snapshot)
        session.flush()
        rechecks.ask_for_snapshot(session, snapshot, previous_id=None)
        session.get_one(Dataset, "population").current_snapshot_id = snapshot.id
    found = judged()
    assert (found.stale, found.stuck) == (1, 2), "and the run that would see to it has not begun"
    drain_jobs()
    found = judged()
    assert (found.stale, found.doubled, found.stuck) == (0, 0, 0)
