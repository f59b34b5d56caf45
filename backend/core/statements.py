"""SQL straight through the driver, in the session's transaction: for what runs for every row that is synced.

Values travel in the binary format, in which lists of bytes and ids cost nothing to write: `%(name)b` for lists, so
that one statement takes a whole batch by `unnest`. Statements are prepared by the driver once they have run a few
times. Faults come as SQLAlchemy's errors, so that everybody above handles one kind.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

Row = tuple[Any, ...]


def raw_connection(session: Session) -> psycopg.Connection[Any]:
    """The driver's own connection, in the session's transaction."""
    raw = session.connection().connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    return raw


class Answer:
    """What a statement gave. Inside `together` it is there once the block has ended."""

    __slots__ = ("_cursor", "_query", "_session")

    def __init__(self, session: Session, cursor: psycopg.Cursor[Row], query: str) -> None:
        self._session = session
        self._cursor = cursor
        self._query = query

    def rows(self) -> list[Row]:
        """All rows, for a statement that gives rows."""
        with _as_sqlalchemy(self._session, self._query):
            return self._cursor.fetchall()


def execute(session: Session, query: str, values: Mapping[str, Any] | None = None) -> Answer:
    """Run one statement. The errors are `sqlalchemy.exc.DBAPIError` and its kinds."""
    with _as_sqlalchemy(session, query):
        cursor = raw_connection(session).cursor(binary=True)
        return Answer(session, cursor.execute(query, values), query)


def rows(session: Session, query: str, values: Mapping[str, Any] | None = None) -> list[Row]:
    """The rows of one statement."""
    return execute(session, query, values).rows()


@contextmanager
def together(session: Session) -> Iterator[None]:
    """Send the statements of the block one behind the other, without waiting for each one's answer.

    They run in order, each with a snapshot of its own. The first that fails is raised at the latest at the end of the
    block. Nothing inside may go through SQLAlchemy, which would take an answer that is still to come for an empty one.
    """
    with _as_sqlalchemy(session, "a pipeline"), raw_connection(session).pipeline():
        yield


@contextmanager
def _as_sqlalchemy(session: Session, query: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise _wrapped(session, query, error) from error


def _wrapped(session: Session, query: str, error: psycopg.Error) -> BaseException:
    """The error as SQLAlchemy would have raised it; a connection that broke goes back to no pool."""
    connection = session.connection()
    driver: Any = error
    broken = connection.dialect.is_disconnect(driver, connection.connection.dbapi_connection, None)
    if broken:
        connection.invalidate(error)
    return DBAPIError.instance(
        query,
        None,
        error,
        psycopg.Error,
        hide_parameters=True,
        connection_invalidated=broken,
        dialect=connection.dialect,
    )
