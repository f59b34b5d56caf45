"""A new master key takes over: every data key is wrapped anew, and what release 0.1.0 sealed by the ring is resealed.

A rotation is a chain of jobs, each one batch in one transaction that asks for the next. Its place is in the payload,
so it goes on where it stopped, and running a batch twice rewrites nothing twice. The data stay as they are: only the
wrapping of their keys changes, and each key keeps its cipher. What cannot be opened is counted and passed over.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.crypto import Undecipherable, key_ring, version_of
from backend.core.enums import Kind
from backend.core.errors import ZhiwangError
from backend.core.logging import get_logger
from backend.models import Snapshot
from backend.services import audit
from backend.services.objects import ObjectMissing, object_store
from backend.services.quarantined import CONTEXT as QUARANTINE_CONTEXT
from backend.services.quarantined import NOTHING, QuarantinedRow, seal_all
from backend.services.registry_files import MAGIC, SealedReader, SealedWriter
from backend.services.registry_rejects import rejects_context
from backend.services.registry_sealing import BulkVault
from backend.services.sealing import Part, Vault

ROTATE_JOB = "trust.rotate_keys"
KEYS_A_BATCH = 2_000
ROWS_A_BATCH = 500
FILES_A_BATCH = 5
BEGINNING = ""

log = get_logger(__name__)


class MasterKeyMissing(ZhiwangError):
    """This worker's newest master key is another than the rotation's: its settings were not brought up to date."""

    code = "master_key_missing"
    status = 503
    title_zh = "该进程的主密钥不是最新版本，请更新配置并重启"
    title_en = "This process has not the newest master key"


@dataclass(frozen=True, slots=True)
class Step:
    """What one batch did: how many it rewrote, how many would not open, and where the next begins; None at the end."""

    rewritten: int
    unreadable: int
    after: str | None


def request_rotation(session: Session, *, actor: str) -> int:
    """Ask for a rotation to the newest master key of this process, and give its version."""
    version = key_ring().newest
    run = now().strftime("%Y%m%dT%H%M%S%f")
    _ask(session, version=version, run=run, stage=next(iter(STAGES)), after=BEGINNING)
    audit.record(
        session, actor=actor, action="key_rotation_requested", object_type="master_key", object_id=str(version), run=run
    )
    return version


def rotate(session: Session, *, version: int, run: str, stage: str, after: str) -> None:
    """One batch of one stage. `MasterKeyMissing` where this worker's newest master is not the one rotated to."""
    if key_ring().newest != version:
        raise MasterKeyMissing
    step = STAGES[stage](session, after)
    if step.rewritten or step.unreadable:
        audit.record(
            session,
            actor=ROTATE_JOB,
            action="keys_rotated",
            object_type="master_key",
            object_id=str(version),
            run=run,
            stage=stage,
            rewritten=step.rewritten,
            unreadable=step.unreadable,
        )
    stages = list(STAGES)
    if step.after is not None:
        _ask(session, version=version, run=run, stage=stage, after=step.after)
    elif stage != stages[-1]:
        _ask(session, version=version, run=run, stage=stages[stages.index(stage) + 1], after=BEGINNING)


def _ask(session: Session, *, version: int, run: str, stage: str, after: str) -> None:
    key = f"{run}:{version}:{stage}:{after}"
    jobs.enqueue(session, ROTATE_JOB, key=key, version=version, run=run, stage=stage, after=after)


def _keys(session: Session, after: str) -> Step:
    """Rewrap data keys in the order of their subjects. One that changed or went meanwhile is left alone."""
    ring = key_ring()
    given = {"after": bytes.fromhex(after), "newest": ring.newest, "limit": KEYS_A_BATCH}
    rows = [(bytes(row.subject_id), bytes(row.wrapped)) for row in session.connection().execute(_STALE_KEYS, given)]
    found = []
    for subject, wrapped in rows:
        try:
            found.append((subject, wrapped, ring.rewrap(wrapped, subject=subject)))
        except Undecipherable:
            log.warning("a data key does not open", version=version_of(wrapped[0]))
    if found:
        subjects, old, new = zip(*found, strict=True)
        session.connection().execute(_REWRAP, {"subjects": list(subjects), "old": list(old), "new": list(new)})
    more = len(rows) == KEYS_A_BATCH
    return Step(len(found), len(rows) - len(found), rows[-1][0].hex() if more else None)


def _quarantine(session: Session, after: str) -> Step:
    """Quarantined rows of release 0.1.0: under the keys of the humans they name."""
    rows = list(session.connection().execute(_OLD_QUARANTINE, {"after": _place(after), "limit": ROWS_A_BATCH}))
    opened = [(row, _opened(row.payload, QUARANTINE_CONTEXT)) for row in rows]
    kept = [QuarantinedRow(row.id, Kind(row.kind), row.document_id, content) for row, content in opened if content]
    payloads = seal_all(Vault(session), kept)
    given = {"ids": [row.id for row in kept], "payloads": payloads}
    session.connection().execute(_RESEAL_QUARANTINE, given)
    return _step(rows, len(kept))


def _messages(session: Session, after: str) -> Step:
    """WeChat messages of release 0.1.0: under their senders' keys; of an erased sender nothing is left."""
    rows = list(session.connection().execute(_OLD_MESSAGES, {"after": _place(after), "limit": ROWS_A_BATCH}))
    vault = Vault(session)
    senders = {bytes(row.sender_index) for row in rows}
    gone = vault.erased(senders)
    vault.provide(senders - gone)
    resealed: dict[UUID, bytes] = {}
    for row in rows:
        xml, sender = _opened(row.raw, row.id.bytes), bytes(row.sender_index)
        if xml:
            parts = [] if sender in gone else [Part(sender, ("value",), xml)]
            resealed[row.id] = vault.seal(parts, context=row.id.bytes) or NOTHING
    session.connection().execute(_RESEAL_MESSAGES, {"ids": list(resealed), "raws": list(resealed.values())})
    return _step(rows, len(resealed))


def _step(rows: Sequence[Row[Any]], rewritten: int) -> Step:
    return Step(rewritten, len(rows) - rewritten, str(rows[-1].id) if len(rows) == ROWS_A_BATCH else None)


def _files(session: Session, after: str) -> Step:
    """Reject files of release 0.1.0: under a key of their snapshot. Uploads are gone once they are loaded."""
    query = select(Snapshot).where(col(Snapshot.reject_key).is_not(None), col(Snapshot.id) > _place(after))
    snapshots = session.exec(query.order_by(col(Snapshot.id)).limit(FILES_A_BATCH)).all()
    rewritten = unreadable = 0
    for snapshot in snapshots:
        assert snapshot.reject_key is not None
        try:
            rewritten += _reseal_file(session, snapshot.id, snapshot.reject_key)
        except (Undecipherable, ObjectMissing):
            unreadable += 1
    more = len(snapshots) == FILES_A_BATCH
    return Step(rewritten, unreadable, str(snapshots[-1].id) if more else None)


def _reseal_file(session: Session, snapshot_id: UUID, key: str) -> bool:
    """Whether the file was one of release 0.1.0. Its new key is committed before the file is replaced."""
    store, context = object_store(), rejects_context(snapshot_id)
    if store.get_range(key, 0, len(MAGIC)) == MAGIC:
        return False
    vault = BulkVault(session)
    if vault.erased([snapshot_id.bytes]):
        return False
    vault.provide([snapshot_id.bytes])
    data_key = vault.key_of(snapshot_id.bytes)
    assert data_key is not None
    with tempfile.NamedTemporaryFile() as file:
        writer = SealedWriter(file, context=context, key=data_key)
        shutil.copyfileobj(BufferedReader(SealedReader(store.stream(key), context=context, key=None)), writer)
        writer.close()
        file.flush()
        store.put(key, Path(file.name))
    return True


def _opened(sealed: bytes, context: bytes) -> bytes | None:
    try:
        return key_ring().open_system(bytes(sealed), context=context)
    except Undecipherable:
        return None


def _place(after: str) -> UUID:
    return UUID(after) if after else UUID(int=0)


STAGES: Mapping[str, Callable[[Session, str], Step]] = {
    "keys": _keys,
    "quarantine": _quarantine,
    "messages": _messages,
    "files": _files,
}
"""In the order in which they run."""

_STALE_KEYS = text(
    """
    SELECT subject_id, wrapped FROM subject_key
    WHERE subject_id > :after AND get_byte(wrapped, 0) & 127 <> :newest
    ORDER BY subject_id LIMIT :limit FOR UPDATE
    """
)
_REWRAP = text(
    """
    UPDATE subject_key SET wrapped = made.new
    FROM unnest(CAST(:subjects AS bytea[]), CAST(:old AS bytea[]), CAST(:new AS bytea[])) AS made (subject, old, new)
    WHERE subject_id = made.subject AND wrapped = made.old
    """
)
_OLD_QUARANTINE = text(
    """
    SELECT id, kind, document_id, payload FROM quarantine
    WHERE get_byte(payload, 0) < 128 AND id > :after ORDER BY id LIMIT :limit FOR UPDATE
    """
)
_RESEAL_QUARANTINE = text(
    """
    UPDATE quarantine SET payload = made.payload
    FROM unnest(CAST(:ids AS uuid[]), CAST(:payloads AS bytea[])) AS made (id, payload)
    WHERE quarantine.id = made.id
    """
)
_OLD_MESSAGES = text(
    """
    SELECT id, sender_index, raw FROM wechat_message
    WHERE get_byte(raw, 0) < 128 AND id > :after ORDER BY id LIMIT :limit FOR UPDATE
    """
)
_RESEAL_MESSAGES = text(
    """
    UPDATE wechat_message SET raw = made.raw
    FROM unnest(CAST(:ids AS uuid[]), CAST(:raws AS bytea[])) AS made (id, raw)
    WHERE wechat_message.id = made.id
    """
)
