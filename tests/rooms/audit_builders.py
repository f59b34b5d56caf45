"""An audit trail in a database of the test's own, with an anchor of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine, create_engine, pool, text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.db import dialect_url, engine_for, transaction
from backend.core.ids import new_id
from backend.services import audit, audit_chain, audit_sealing
from backend.services.audit_anchor import Read, private_key
from backend.services.audit_verify import Report, verify


@dataclass
class TrailOfTest:
    """Writes, seals, anchors and verifies as the product does; `owner` alters as the product never could."""

    anchor: Path
    superuser: Engine

    def write(self, number: int = 1) -> list[str]:
        """Entries in one transaction of the API; gives their object ids."""
        ids = [str(new_id()) for _ in range(number)]
        with transaction(engine_for("zw_api")) as session:
            audit.record_many(
                session, actor="tests", action="written", object_type="thing", entries=[(thing, {}) for thing in ids]
            )
        return ids

    def seal(self) -> int:
        """One batch of what waits, whatever its age."""
        with transaction(engine_for("zw_worker")) as session:
            return audit_sealing.seal_waiting(session)

    def anchor_all(self, seen: Read | None = None) -> Read:
        with transaction(engine_for("zw_worker")) as session:
            return audit_chain.anchor(session, seen=seen)[0]

    def grow(self, batches: int, entries: int = 3) -> None:
        """Sealed and anchored batches; the first also takes what the seed wrote."""
        for _ in range(batches):
            self.write(entries)
            assert self.seal()
        self.anchor_all()

    def verify(self, *, expect_head: bytes | None = None) -> Report:
        key = private_key()
        assert key is not None
        with Session(engine_for("zw_worker")) as session:
            return verify(session, path=self.anchor, moment=now(), key=key.public_key(), expect_head=expect_head)

    @contextmanager
    def owner(self) -> Iterator[Session]:
        with transaction(self.superuser) as session:
            yield session

    def alter(self, statement: str, **values: object) -> None:
        with self.owner() as session:
            session.connection().execute(text(statement), values)

    def entry_at(self, batch: int, position: int) -> UUID:
        with Session(engine_for("zw_worker")) as session:
            found: UUID = (
                session.connection()
                .execute(
                    text("SELECT entry_id FROM audit_seal WHERE batch = :batch AND position = :position"),
                    {"batch": batch, "position": position},
                )
                .scalar_one()
            )
            return found

    def lines(self) -> list[bytes]:
        return self.anchor.read_bytes().splitlines(keepends=True)


def superuser_engine(address: str) -> Engine:
    """Somebody who owns the whole database server."""
    return create_engine(dialect_url(address), poolclass=pool.NullPool)
