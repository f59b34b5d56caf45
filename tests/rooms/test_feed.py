"""The feed: no change of a document without it, and no reader that passes a number still to come."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import create_engine, pool, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from backend.core.clock import now
from backend.core.db import dialect_url, engine_for, transaction
from backend.core.enums import Kind
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.core.statements import raw_connection
from backend.models import Document
from backend.services.feed import CHANNEL, Touch, touch
from tests.world import until

UNFED = "without a feed row"


@pytest.fixture
def grids(database: str) -> tuple[str, str]:
    with transaction(engine_for("zw_worker")) as session:
        found = session.connection().execute(text("SELECT id FROM grid ORDER BY id LIMIT 2")).scalars().all()
    return found[0], found[1]


def as_owner(*statements: str) -> None:
    """What only the owner of the tables may do."""
    owner = create_engine(dialect_url(get_settings().migration_url()), poolclass=pool.NullPool)
    with owner.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def last_number(grid_id: str) -> int:
    with transaction(engine_for("zw_worker")) as session:
        query = text("SELECT coalesce(max(seq), 0) FROM feed WHERE grid_id = :grid")
        return int(session.connection().execute(query, {"grid": grid_id}).scalar_one())


def new_document(session: Session, grid_id: str) -> UUID:
    moment = now()
    row = Document(
        id=new_id(),
        kind=Kind.EVENT,
        grid_id=grid_id,
        version=1,
        op=new_id(),
        body={"class_code": "0101"},
        created_at=moment,
        updated_at=moment,
    )
    session.add(row)
    session.flush()
    return row.id


@pytest.fixture
def stored(grids: tuple[str, str]) -> UUID:
    """A document of the first grid, with its feed row."""
    with transaction(engine_for("zw_worker")) as session:
        document_id = new_document(session, grids[0])
        touch(session, [(grids[0], document_id, Kind.EVENT)])
    return document_id


def change(document_id: UUID, assignment: str, touches: list[Touch] | None = None, **values: object) -> None:
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(
            text(f"UPDATE document SET {assignment} WHERE id = :id"), {"id": document_id, **values}
        )
        touch(session, touches or [])


def test_a_new_document_without_a_feed_row_of_its_own_is_not_committed(grids: tuple[str, str]) -> None:
    with Session(engine_for("zw_worker")) as session:
        document_id = new_document(session, grids[0])
        touch(session, [(grids[1], document_id, Kind.EVENT), (grids[0], new_id(), Kind.EVENT)])
        with pytest.raises(IntegrityError, match=UNFED):
            session.commit()


SEEN = (
    "version = version + 1",
    "op = gen_random_uuid()",
    "deleted = true",
    "kind = 'house'",
    """body = '{"class_code": "0102"}'""",
    r"sealed = '\x0102'",
)


def test_what_a_replica_would_see_does_not_change_without_a_feed_row(stored: UUID) -> None:
    for assignment in SEEN:
        with pytest.raises(IntegrityError, match=UNFED):
            change(stored, assignment)


def test_the_same_changes_go_through_with_one(stored: UUID, grids: tuple[str, str]) -> None:
    change(stored, "version = version + 1, deleted = true", [(grids[0], stored, Kind.EVENT)])


def test_what_no_replica_sees_may_change_by_itself(stored: UUID) -> None:
    for assignment in (r"id_index = '\x01'", "updated_at = now()", "natural_key = 'x'", "op = op"):
        change(stored, assignment)


def test_a_move_needs_the_feed_rows_of_both_grids(stored: UUID, grids: tuple[str, str]) -> None:
    old, new = ((grid, stored, Kind.EVENT) for grid in grids)
    for lacking in ([old], [new], []):
        with pytest.raises(IntegrityError, match="feed row"):
            change(stored, "grid_id = :grid", lacking, grid=grids[1])
    change(stored, "grid_id = :grid", [old, new], grid=grids[1])


def test_a_document_is_not_deleted_unheard_even_by_the_owner(stored: UUID, grids: tuple[str, str]) -> None:
    with pytest.raises(IntegrityError, match=UNFED):
        as_owner(f"DELETE FROM document WHERE id = '{stored}'")


def test_a_touch_of_an_earlier_transaction_does_not_count(stored: UUID, grids: tuple[str, str]) -> None:
    with transaction(engine_for("zw_worker")) as session:
        touch(session, [(grids[0], stored, Kind.EVENT)])
    with pytest.raises(IntegrityError, match=UNFED):
        change(stored, "version = version + 1")


def test_a_touch_inside_a_savepoint_counts(stored: UUID, grids: tuple[str, str]) -> None:
    with transaction(engine_for("zw_worker")) as session:
        with session.begin_nested():
            session.connection().execute(text("UPDATE document SET version = 2 WHERE id = :id"), {"id": stored})
        with session.begin_nested():
            touch(session, [(grids[0], stored, Kind.EVENT)])


def test_touches_are_numbered_in_their_order_without_gaps_and_the_latest_stands(grids: tuple[str, str]) -> None:
    ids = [new_id() for _ in range(3)]
    with transaction(engine_for("zw_worker")) as session:
        touch(session, [(grids[0], one, Kind.EVENT) for one in ids])
        touch(session, [(grids[1], ids[2], Kind.EVENT), (grids[0], ids[0], Kind.EVENT)])
        query = text("SELECT document_id, seq, first_seq FROM feed WHERE grid_id = :grid ORDER BY seq")
        rows = [tuple(row) for row in session.connection().execute(query, {"grid": grids[0]})]
        assert rows == [(ids[1], 2, 2), (ids[2], 3, 3), (ids[0], 4, 1)]
        (other,) = session.connection().execute(query, {"grid": grids[1]})
        assert tuple(other) == (ids[2], 1, 1)


# The race: writers and a reader that follows its cursor. A numbering is safe if the reader ends with every row.

WRITERS = 6
ROWS_TO_WRITE = 40
LOSS_WITHIN_S = 20.0

Numbering = Callable[[Session, str, UUID], None]


def by_counter(session: Session, grid_id: str, document_id: UUID) -> None:
    """The product's own way."""
    touch(session, [(grid_id, document_id, Kind.EVENT)])


def by_sequence(session: Session, grid_id: str, document_id: UUID) -> None:
    """A plain sequence: numbers are given before commits, and commits may come in another order."""
    _write(session, "nextval('race_seq')", grid_id, document_id)


def by_clock(session: Session, grid_id: str, document_id: UUID) -> None:
    """The time of the transaction's beginning."""
    _write(session, "CAST(extract(epoch FROM now()) * 1e6 AS bigint)", grid_id, document_id)


def _write(session: Session, number: str, grid_id: str, document_id: UUID) -> None:
    statement = (
        f"INSERT INTO feed (grid_id, document_id, kind, seq, first_seq) VALUES (:grid, :id, 'event', {number}, 0)"
    )
    session.connection().execute(text(statement), {"grid": grid_id, "id": document_id})


@dataclass
class Race:
    """Writers that commit a moment after they have their number, as a real push does, and what a reader got."""

    numbering: Numbering
    grid_id: str
    written: set[UUID] = field(default_factory=set)
    read: set[UUID] = field(default_factory=set)
    cursor: int = 0
    failures: list[BaseException] = field(default_factory=list)

    def write(self, stop: threading.Event) -> None:
        try:
            for number in range(ROWS_TO_WRITE):
                if stop.is_set():
                    return
                document_id = new_id()
                with transaction(engine_for("zw_worker")) as session:
                    self.numbering(session, self.grid_id, document_id)
                    session.connection().execute(text(f"SELECT pg_sleep({number % 3 * 0.002})"))
                self.written.add(document_id)
        except BaseException as error:  # noqa: BLE001  a thread hands its failure to the test
            self.failures.append(error)

    def follow(self) -> None:
        """One page, as a pull asks for it."""
        query = text(
            "SELECT document_id, seq FROM feed WHERE grid_id = :grid AND kind = 'event' AND seq > :seq"
            " ORDER BY seq LIMIT 50"
        )
        with transaction(engine_for("zw_worker")) as session:
            for row in session.connection().execute(query, {"grid": self.grid_id, "seq": self.cursor}):
                self.read.add(row.document_id)
                self.cursor = row.seq

    def run(self) -> set[UUID]:
        """What was committed and never read."""
        stop = threading.Event()
        threads = [threading.Thread(target=self.write, args=(stop,)) for _ in range(WRITERS)]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                self.follow()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        before = -1
        while len(self.read) > before:
            before = len(self.read)
            self.follow()
        assert self.failures == []
        return self.written - self.read


def test_the_counter_loses_nothing_to_a_reader_that_follows(grids: tuple[str, str]) -> None:
    race = Race(by_counter, grids[0])
    assert race.run() == set()
    assert len(race.read) == WRITERS * ROWS_TO_WRITE
    assert race.cursor == WRITERS * ROWS_TO_WRITE, "without gaps"


@pytest.mark.parametrize("numbering", [by_sequence, by_clock])
def test_a_plain_sequence_and_the_clock_lose_rows_as_they_must(grids: tuple[str, str], numbering: Numbering) -> None:
    """The negative control: were these found safe, the race before would prove nothing."""
    as_owner("CREATE SEQUENCE race_seq", "GRANT USAGE ON SEQUENCE race_seq TO zw_worker")
    lost: set[UUID] = set()

    def loses() -> bool:
        race = Race(numbering, grids[0], cursor=last_number(grids[0]))
        lost.update(race.run())
        return bool(lost)

    until(loses, seconds=LOSS_WITHIN_S, what="a row that the reader passed")


def test_the_streams_are_told_of_each_grid_after_the_commit_and_of_nothing_that_was_rolled_back(
    grids: tuple[str, str],
) -> None:
    settings = get_settings()
    with psycopg.connect(settings.worker_url(), autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        with Session(engine_for("zw_worker")) as session:
            touch(session, [(grids[0], new_document(session, grids[0]), Kind.EVENT)])
        with Session(engine_for("zw_worker")) as session:
            touch(session, [(grid, new_document(session, grid), Kind.EVENT) for grid in grids])
            session.commit()
            assert not raw_connection(session).autocommit, "the pool gets it back as it was"
        told = [word.payload for word in listener.notifies(timeout=10, stop_after=2)]
        assert told == sorted(grids)
