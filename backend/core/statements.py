"""SQL straight through the driver, in the session's transaction: for what runs for every row that is synced.

Values travel in the binary format, in which lists of bytes and ids cost nothing to write: `%(name)b` for lists, so
that one statement takes a whole batch by `unnest`. Statements are prepared by the driver once they have run a few
times. Faults come as SQLAlchemy's errors, so that everybody above handles one kind.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

Row = tuple[Any, ...]


def raw_connection(session: Session) -> psycopg.Connection[Any]:
    """The driver's own connection, in the session's transaction."""
    return _driver(session.connection())


class Answer:
    """What a statement gave. Inside `together` it is there once the block has ended."""

    __slots__ = ("_connection", "_cursor", "_query")

    def __init__(self, connection: Connection, cursor: psycopg.Cursor[Row], query: str) -> None:
        self._connection = connection
        self._cursor = cursor
        self._query = query

    def rows(self) -> list[Row]:
        """All rows, for a statement that gives rows."""
        try:
            return self._cursor.fetchall()
        except psycopg.Error as error:
            raise _wrapped(self._connection, self._query, error) from error


def execute(session: Session, query: str, values: Mapping[str, Any] | None = None) -> Answer:
    """Run one statement. The errors are `sqlalchemy.exc.DBAPIError` and its kinds."""
    return execute_on(session.connection(), query, values)


def execute_on(connection: Connection, query: str, values: Mapping[str, Any] | None = None) -> Answer:
    """The same where there is no session at hand."""
    try:
        cursor = _driver(connection).cursor(binary=True)
        return Answer(connection, cursor.execute(query, values), query)
    except psycopg.Error as error:
        raise _wrapped(connection, query, error) from error


def rows(session: Session, query: str, values: Mapping[str, Any] | None = None) -> list[Row]:
    """The rows of one statement."""
    return execute(session, query, values).rows()


@contextmanager
def together(session: Session) -> Iterator[None]:
    """Send the statements of the block one behind the other, without waiting for each one's answer.

    They run in order, each with a snapshot of its own. The first that fails is raised at the latest at the end of the
    block. Nothing inside may go through SQLAlchemy, which would take an answer that is still to come for an empty one.
    """
    connection = session.connection()
    try:
        with _driver(connection).pipeline():
            yield
    except psycopg.Error as error:
        raise _wrapped(connection, "a pipeline", error) from error


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    return raw


def _wrapped(connection: Connection, query: str, error: psycopg.Error) -> BaseException:
    """The error as SQLAlchemy would have raised it; a connection that broke goes back to no pool."""
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
