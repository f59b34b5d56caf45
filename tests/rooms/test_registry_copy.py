"""Rows that are written beside whoever makes the next ones: all of them as they were, or a fault that is heard."""

from collections.abc import Sequence

import psycopg
import pytest
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.enums import ImportState
from backend.models import BusinessRecord, Snapshot
from backend.services.records import Blocks
from backend.services.registry_copy import Copier, packed
from backend.services.registry_sealing import RecordRow


@pytest.fixture
def snapshot(session: Session) -> Snapshot:
    made = Snapshot(dataset_code="components", taken_at=now(), state=ImportState.LOADING, sha256="")
    session.add(made)
    session.flush()
    return made


def row(key: str, *, sealed: bytes | None = b"x" * 10_000, index: bytes | None = None) -> RecordRow:
    return RecordRow(key, 7, b'{"name": "\xe5\xbc\xa0"}', sealed, Blocks(index), b"d" * 32)


def stored(session: Session, snapshot: Snapshot) -> Sequence[BusinessRecord]:
    query = select(BusinessRecord).where(BusinessRecord.snapshot_id == snapshot.id)
    return session.exec(query.order_by(col(BusinessRecord.record_key))).all()


def test_all_rows_arrive_as_they_were(session: Session, snapshot: Snapshot) -> None:
    with Copier(session) as copier:
        for number in range(3):
            with copier.paused():
                assert len(stored(session, snapshot)) == 2 * max(number - 1, 0)
            copier.add(packed(snapshot.id, [row(f"{number}-a"), row(f"{number}-b", sealed=None, index=b"i" * 16)]))
    found = stored(session, snapshot)
    assert [one.record_key for one in found] == ["0-a", "0-b", "1-a", "1-b", "2-a", "2-b"]
    first, second = found[:2]
    assert (first.line, first.body, first.sealed, first.phone_index) == (7, {"name": "张"}, b"x" * 10_000, None)
    assert (second.sealed, second.phone_index, second.content_digest) == (None, b"i" * 16, b"d" * 32)


@pytest.mark.parametrize("last", [True, False])
def test_a_fault_while_writing_is_heard(session: Session, snapshot: Snapshot, last: bool) -> None:
    def write() -> None:
        with Copier(session) as copier:
            copier.add(packed(snapshot.id, [row("a"), row("a")]))
            if not last:
                with copier.paused():
                    pass
                with copier.paused():
                    pass
                raise AssertionError("it went on")

    with pytest.raises(psycopg.errors.UniqueViolation), session.begin_nested():
        write()
    assert stored(session, snapshot) == []


def test_what_waits_when_the_reader_fails_is_not_written(session: Session, snapshot: Snapshot) -> None:
    def write() -> None:
        with Copier(session) as copier:
            copier.add(packed(snapshot.id, [row("a")]))
            raise ConnectionError

    with pytest.raises(ConnectionError):
        write()
    assert stored(session, snapshot) == []
