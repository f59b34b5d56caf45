"""The scheduled pull: a department's own PostgreSQL is read, whole or what changed, and loaded as a file would be.

Which databases there are is the operator's setting (`IMPORT_SOURCES`, with their passwords); which table and columns,
how often, and by which watermark is said of the dataset (`PullDefinition`). The session over there is read-only and
sees one state of the database. What it gives is sealed as it comes in; where it breaks off nothing was handed over, and
the watermark moves only with the swap of a load that read up to it. So a pull may run twice, and misses nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import ImportState, LoadMode
from backend.core.errors import Unavailable
from backend.models import Dataset, Snapshot
from backend.services import outbound, registry
from backend.services.registry_catalogue import spec_of
from backend.services.registry_changes import CHANGE
from backend.services.registry_rows import names_of
from backend.services.registry_schemas import PullDefinition
from backend.services.registry_sources import sources
from backend.services.registry_specs import DatasetSpec
from backend.services.registry_uploads import Upload

JOB = "registry.pull"
ACTOR = "scheduled_pull"
CONNECT_SECONDS = 10
STATEMENT_SECONDS = 400
"""Below the time a worker's task may take."""
POSTGRES_PORT = 5432
TIMES = frozenset({1082, 1114, 1184})
"""Type numbers of date, timestamp and timestamptz."""


class SourceUnavailable(Unavailable):
    """The department's database is not there, refuses, or went away in the middle; nothing was handed over."""

    code = "source_unavailable"
    title_zh = "部门数据库暂时不可用，原有数据保持不变，稍后自动重试"
    title_en = "The department's database is away; the present records stay, and it is tried again"


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is to be read: `last` is the watermark of the records there are, None for a whole load."""

    wanted: PullDefinition
    spec: DatasetSpec
    last: str | None


def ask_for_due(session: Session) -> None:
    """Ask for the pulls whose time has come. One that is being loaded is not read again before it has ended."""
    moment = now()
    loading = select(Snapshot.dataset_code).where(Snapshot.state == ImportState.LOADING)
    rows = session.exec(select(Dataset).where(col(Dataset.pull).is_not(None), col(Dataset.code).not_in(loading)))
    for dataset in rows:
        wanted = _wanted(dataset)
        if wanted is None or (
            dataset.pulled_at and moment < dataset.pulled_at + timedelta(minutes=wanted.every_minutes)
        ):
            continue
        asked = dataset.pulled_at.isoformat() if dataset.pulled_at else "first"
        jobs.enqueue(session, JOB, key=f"{dataset.code}:{asked}", dataset=dataset.code)


def pull(session: Session, code: str) -> Snapshot | None:
    """Read a dataset from its source and hand it over. None where nothing is new. `SourceUnavailable`."""
    dataset = session.exec(select(Dataset).where(Dataset.code == code).with_for_update()).first()
    wanted = _wanted(dataset) if dataset is not None else None
    if dataset is None or wanted is None:
        raise jobs.Discard("pull_unknown")
    last = dataset.watermark if wanted.watermark and dataset.current_snapshot_id else None
    snapshot = None
    with Upload() as upload:
        try:
            with _connected(wanted.source) as source:
                upto, taken_at = _bounds(source, wanted)
                if last is None or upto != last:
                    _read(source, _Reading(wanted, spec_of(dataset), last), upto, upload)
                    mode = LoadMode.FULL if last is None else LoadMode.INCREMENTAL
                    snapshot = registry.request_import(
                        session, code, upload=upload, taken_at=taken_at, actor=ACTOR, mode=mode
                    )
                    snapshot.watermark = upto
        except (psycopg.Error, outbound.OutboundRefused, OSError):
            # The driver's words name the host and the user.
            raise SourceUnavailable from None
    dataset.pulled_at = now()
    session.flush()
    return snapshot


def _wanted(dataset: Dataset) -> PullDefinition | None:
    return PullDefinition.model_validate(dataset.pull) if dataset.pull else None


@contextmanager
def _connected(name: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A read-only connection that sees one state, to the address that the gate gives."""
    named = sources().get(name)
    if named is None:
        raise SourceUnavailable
    options = " ".join(
        f"-c {setting}"
        for setting in (
            "default_transaction_read_only=on",
            f"statement_timeout={STATEMENT_SECONDS * 1000}",
            "datestyle=ISO",
            "timezone=UTC",
            "extra_float_digits=1",
        )
    )
    with psycopg.connect(named, **_way(named), connect_timeout=CONNECT_SECONDS, options=options) as connection:
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        yield connection


def _way(named: str) -> dict[str, Any]:
    """Where to connect to. A socket of this machine needs no gate; a name is checked against its certificate."""
    given = conninfo_to_dict(named)
    host, port = str(given.get("host") or ""), int(given.get("port") or POSTGRES_PORT)
    if host.startswith("/"):
        return {}
    mode = str(given.get("sslmode") or "verify-full")
    encrypted = mode == "verify-full"
    return {"hostaddr": outbound.address_of(host, port, encrypted=encrypted), "sslmode": mode}


def _bounds(source: psycopg.Connection[tuple[Any, ...]], wanted: PullDefinition) -> tuple[str | None, datetime]:
    """The highest watermark there is, as text, and when this is: both of the state that will be read."""
    query: sql.SQL | sql.Composed = sql.SQL("SELECT NULL::text, now()")
    if wanted.watermark:
        mark = sql.Identifier(wanted.watermark)
        query = sql.SQL("SELECT max({})::text, now() FROM {}").format(mark, _table(wanted))
    row = source.execute(query).fetchone()
    assert row is not None
    return row[0], row[1]


def _read(source: psycopg.Connection[tuple[Any, ...]], reading: _Reading, upto: str | None, upload: Upload) -> None:
    """Copy the columns that the dataset knows, and no other, into the upload."""
    with source.cursor().copy(_query(source, reading, upto)) as rows:
        for block in rows:
            upload.write(bytes(block))
    upload.finish()


def _query(source: psycopg.Connection[tuple[Any, ...]], reading: _Reading, upto: str | None) -> sql.Composed:
    wanted = reading.wanted
    described = source.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(_table(wanted))).description or []
    ignored = reading.spec.ignored
    known = {name for names in names_of(reading.spec) for name in names} - ignored
    columns: list[sql.Composable] = [sql.Identifier(column.name) for column in described if column.name in known]
    if wanted.deleted and reading.last is not None:
        flag = sql.SQL("CASE WHEN {} THEN '删除' END AS {}")
        columns.append(flag.format(sql.Identifier(wanted.deleted), sql.Identifier(CHANGE.title)))
    times = {column.name for column in described if column.type_code in TIMES}
    return sql.SQL("COPY (SELECT {} FROM {} WHERE {}) TO STDOUT (FORMAT CSV, HEADER, ENCODING 'UTF8')").format(
        sql.SQL(", ").join(columns), _table(wanted), sql.SQL(" AND ").join(_conditions(reading, upto, times))
    )


def _conditions(reading: _Reading, upto: str | None, times: set[str]) -> Iterator[sql.Composable]:
    wanted = reading.wanted
    yield sql.SQL("true")
    if wanted.deleted and reading.last is None:
        yield sql.SQL("{} IS NOT TRUE").format(sql.Identifier(wanted.deleted))
    if wanted.watermark and upto is not None and reading.last is not None:
        mark = sql.Identifier(wanted.watermark)
        yield sql.SQL("{} <= {}").format(mark, sql.Literal(upto))
        # Who began before and commits later has an older time: such rows are found by reading a little twice.
        overlap = timedelta(minutes=wanted.overlap_minutes) if wanted.watermark in times else None
        later = sql.SQL("{} + {} > {}").format(mark, sql.Literal(overlap), sql.Literal(reading.last))
        yield later if overlap else sql.SQL("{} > {}").format(mark, sql.Literal(reading.last))


def _table(wanted: PullDefinition) -> sql.Identifier:
    return sql.Identifier(*wanted.table.split("."))
