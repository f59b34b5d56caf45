"""The sealer of the audit trail, in a thread of each worker process, and the trail's retention.

An edge like `backend.tasks`: what is here opens its own transactions.
"""

import threading
import time
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.core.logging import get_logger
from backend.core.settings import get_settings
from backend.services import audit_chain, audit_sealing
from backend.services.audit_anchor import AuditBroken, Read
from backend.tasks import celery, once_per_slot

RETENTION_EVERY_S = 3600

log = get_logger(__name__)


@celery.task(name="zhiwang.audit_retention")  # type: ignore[untyped-decorator]
def audit_retention() -> None:
    """Drop the entries of batches older than `AUDIT_DAYS`, some batches an hour; their hashes stay."""
    if once_per_slot("audit_retention", RETENTION_EVERY_S):
        with transaction(engine_for("zw_worker")) as session:
            audit_sealing.retain(session, days=get_settings().audit_days)


celery.conf.beat_schedule["audit_retention"] = {
    "task": "zhiwang.audit_retention",
    "schedule": RETENTION_EVERY_S,
    "options": {"expires": RETENTION_EVERY_S},
}


class Sealer:
    """Seals the audit trail and anchors it, in a thread of each worker process, beside its jobs.

    It is no job, because sealing must not wait behind jobs, nor for the broker. It looks twice a second: what has
    waited for `AUDIT_SEAL_SECONDS` is sealed, and `SEALED_AT_ONCE` entries are sealed at once, so that fewer than a
    thousand wait. Each time it looks at the last seconds, now and then at what was written since the last sealing and
    the longest transaction before it, and when it starts and hourly at everything. Several sealers are harmless: one
    works at a time.
    """

    LOOK_SECONDS = 0.5
    SEALED_AT_ONCE = 200
    NEAR = timedelta(seconds=20)
    FAR_EVERY_SECONDS = 15.0
    EVERYTHING_EVERY_SECONDS = 3600.0

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="sealer", daemon=True)
        self._far = self._everything = -float("inf")
        self._seen: Read | None = None
        self._broken = ""

    def start(self) -> None:
        """Begin, and return at once."""
        self._thread.start()

    def close(self) -> None:
        """End after the present look."""
        self._stopped.set()
        self._thread.join(timeout=10)

    def look(self) -> int:
        """Seal and anchor what is due; gives how many entries were sealed."""
        since, total = self._since(), 0
        until = now() - timedelta(seconds=get_settings().audit_seal_seconds)
        while True:
            with transaction(engine_for("zw_worker")) as session:
                sealed = audit_sealing.seal_waiting(session, since=since, at_least=self.SEALED_AT_ONCE, until=until)
            self._anchor()
            total += sealed
            if sealed < audit_sealing.SEALED_AT_ONCE or self._stopped.is_set():
                return total

    def _since(self) -> datetime:
        """How far back to look this time."""
        moment = time.monotonic()
        since = now() - self.NEAR
        if moment - self._far >= self.FAR_EVERY_SECONDS:
            self._far = moment
            with Session(engine_for("zw_worker")) as session:
                since = min(since, audit_sealing.sealed_until(session))
        if moment - self._everything >= self.EVERYTHING_EVERY_SECONDS:
            self._everything = moment
            with Session(engine_for("zw_worker")) as session:
                since = min(since, audit_sealing.oldest_unsealed(session) or since)
        return since

    def _anchor(self) -> None:
        try:
            with transaction(engine_for("zw_worker")) as session:
                self._seen, written = audit_chain.anchor(session, seen=self._seen)
            if self._broken:
                log.warning("audit trail is anchored again", batches=written)
            self._broken = ""
        except (AuditBroken, OSError) as error:
            why = str(error) if isinstance(error, AuditBroken) else type(error).__name__
            if why != self._broken:
                log.error("audit trail is not anchored", why=why)
            self._broken = why

    def _work(self) -> None:
        sealed = 0
        while not self._stopped.wait(self.LOOK_SECONDS if sealed < self.SEALED_AT_ONCE else 0):
            sealed = 0
            try:
                sealed = self.look()
            except SQLAlchemyError as error:  # the database is away; entries wait, and so does the sealer
                log.warning("audit trail not sealed", exc_info=error)
            except Exception as error:  # a fault here must show in the log and in the metric, and not end the thread
                log.error("sealer failed", exc_info=error)
