"""SQL straight through the driver: in the session's transaction, its faults in SQLAlchemy's kinds."""

from contextlib import nullcontext
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlmodel import Session

from backend.core import statements
from backend.core.db import engine_for
from backend.core.statements import execute, together

STATE = "INSERT INTO server_state (name, value) VALUES (%(name)s, 'x')"


def test_lists_go_out_and_rows_come_back_as_they_are(session: Session) -> None:
    moment = datetime(2026, 11, 26, 8, 30, 15, 123456, tzinfo=UTC)
    given = [(uuid4(), b"\x00\xff'\\", "织网 \"'\\", 2**40, moment, True), (None,) * 6]
    query = """
        SELECT * FROM unnest(%(a)b::uuid[], %(b)b::bytea[], %(c)b::text[], %(d)b::bigint[], %(e)b::timestamptz[],
                             %(f)b::boolean[])
    """
    values = dict(zip("abcdef", map(list, zip(*given, strict=True)), strict=True))
    assert statements.rows(session, query, values) == given
    nothing: dict[str, list[None]] = {name: [None] for name in "abcdef"}
    assert statements.rows(session, query, nothing) == [(None,) * 6]


def test_they_are_in_the_transaction_of_the_session(session: Session) -> None:
    execute(session, STATE, {"name": "mine"})
    seen = "SELECT count(*) FROM server_state WHERE name = 'mine'"
    assert session.connection().execute(text(seen)).scalar_one() == 1
    session.rollback()
    assert statements.rows(session, seen) == [(0,)]


def test_answers_of_a_pipeline_are_there_at_its_end_each_after_the_one_before(session: Session) -> None:
    with together(session):
        answers = []
        for number in range(3):
            execute(session, STATE, {"name": f"piped {number}"})
            answers.append(execute(session, "SELECT count(*) FROM server_state WHERE name LIKE 'piped %%'"))
    assert [answer.rows() for answer in answers] == [[(1,)], [(2,)], [(3,)]]


def test_a_fault_is_one_of_sqlalchemys_and_hides_its_values(session: Session) -> None:
    execute(session, STATE, {"name": "twice"})
    with pytest.raises(IntegrityError) as alone:
        execute(session, STATE, {"name": "twice"})
    assert alone.value.params is None
    session.rollback()
    execute(session, STATE, {"name": "twice"})
    with pytest.raises(IntegrityError), together(session):
        execute(session, STATE, {"name": "twice"})
    session.rollback()
    assert statements.rows(session, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("piped", [False, True])
def test_a_connection_that_broke_goes_back_to_no_pool(database: str, piped: bool) -> None:
    with Session(engine_for("zw_worker")) as session, Session(engine_for("zw_worker")) as other:
        (pid,) = session.connection().execute(text("SELECT pg_backend_pid()")).one()
        with pytest.raises(OperationalError) as broken, together(session) if piped else nullcontext():
            execute(session, "SELECT pg_terminate_backend(pg_backend_pid())")
        assert broken.value.connection_invalidated
        session.rollback()
        (after,) = session.connection().execute(text("SELECT pg_backend_pid()")).one()
        assert after != pid
        assert other.connection().execute(text("SELECT 1")).scalar_one() == 1


def test_a_connection_that_broke_while_it_rested_is_not_handed_out(database: str) -> None:
    engine = engine_for("zw_api")
    with Session(engine) as other:
        other.connection()
        with Session(engine) as session:
            (pid,) = session.connection().execute(text("SELECT pg_backend_pid()")).one()
        ended = other.connection().execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        assert ended.scalar_one()
        with Session(engine) as session:
            (after,) = session.connection().execute(text("SELECT pg_backend_pid()")).one()
    assert after != pid
