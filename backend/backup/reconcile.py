"""Stored files after a restore: what the database names and the store lacks, and what the store has unnamed.

The store is not taken back in time with the database: it may hold more, and after the loss of a disk less. What a
backup kept is put back. Of a photo whose original is gone for good the state says so: `expected` again where a
handheld may still have it, `failed` where nobody has. An unnamed original came after the backup, and its handheld may
have deleted its copy when the server said that it had it: so it is taken into the database again, where the records
that name it, pushed once more, find it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, select

from backend import jobs
from backend.backup.manifest import MEDIA_FOLDER, Backup, hash_file
from backend.backup.media import MediaLine, named_objects, read_media
from backend.core.enums import PhotoState
from backend.core.errors import ZhiwangError
from backend.models import Photo
from backend.services import audit
from backend.services.objects import ObjectStore
from backend.services.photos import PROCESS_JOB, receive_photo

ACTOR = "restore"
ORIGINAL_LOST = "original_lost"
NOBODY = UUID(int=0)
ORIGINAL = re.compile(r"originals/[0-9a-f]{2}/(?P<id>[0-9a-f-]{36})-(?P<sha256>[0-9a-f]{16})")


@dataclass(slots=True)
class Reconciled:
    """What was done, each list by key of the store."""

    put_back: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    made_anew: list[str] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)

    def by_name(self) -> dict[str, list[str]]:
        """The lists by the names of their fields."""
        return {found.name: getattr(self, found.name) for found in fields(self)}


def reconcile(session: Session, *, store: ObjectStore, backup: Backup | None, run: str) -> Reconciled:
    """Bring rows and store together; `run` names this restore. Done again it finds nothing more to do."""
    report = Reconciled()
    stored = dict(store.entries())
    kept = {line.key: line for line in read_media(backup.folder)} if backup else {}
    session.flush()
    driver: Any = session.connection().connection.driver_connection
    named = named_objects(driver)
    for key, row in named.items():
        if key in stored and row.size in (None, stored[key]):
            continue
        if backup is not None and _put_back(store, backup, kept.get(key), key):
            report.put_back.append(key)
        else:
            _LOST.get(row.of, _lost_file)(_Loss(session, row.id or NOBODY, key, run), report)
    for key in sorted(stored.keys() - named.keys()):
        (report.adopted if _adopt(session, store, key) else report.orphans).append(key)
    return report


@dataclass(frozen=True, slots=True)
class _Loss:
    """A file that is gone for good: of which photo or snapshot, and which restore found it."""

    session: Session
    id: UUID
    key: str
    run: str


def _put_back(store: ObjectStore, backup: Backup, line: MediaLine | None, key: str) -> bool:
    path = backup.folder / MEDIA_FOLDER / key
    if line is None or line.fault or not path.is_file() or hash_file(path).sha256 != line.sha256:
        return False
    store.put(key, Path(path))
    return True


def _lost_original(loss: _Loss, report: Reconciled) -> None:
    """Copies that are still there stay: they are all that is left to look at."""
    photo = loss.session.get_one(Photo, loss.id)
    if photo.state is PhotoState.FAILED:
        report.lost.append(loss.key)
        return
    if photo.owner_id is not None:
        photo.state, photo.original_key = PhotoState.EXPECTED, None
        report.expected.append(loss.key)
    else:
        photo.state, photo.failure = PhotoState.FAILED, ORIGINAL_LOST
        report.failed.append(loss.key)
    loss.session.add(photo)
    audit.record(
        loss.session,
        actor=ACTOR,
        action="photo.original_lost",
        object_type="photo",
        object_id=str(loss.id),
        state=photo.state.value,
    )


def _lost_derivative(loss: _Loss, report: Reconciled) -> None:
    """The copies are made anew from the original, where that is there."""
    photo = loss.session.get_one(Photo, loss.id)
    if photo.state not in (PhotoState.PROCESSED, PhotoState.RECEIVED):
        report.lost.append(loss.key)
        return
    photo.state = PhotoState.RECEIVED
    loss.session.add(photo)
    loss.session.connection().execute(_FORGET_COPY, {"photo": loss.id, "key": loss.key})
    jobs.enqueue(loss.session, PROCESS_JOB, key=f"{loss.id}:{loss.run}", photo_id=str(loss.id))
    report.made_anew.append(loss.key)


def _lost_file(loss: _Loss, report: Reconciled) -> None:
    """Refused rows, a dataset's upload, or a file made for somebody to fetch: a person has to send or ask again."""
    report.lost.append(loss.key)


_LOST: dict[str, Callable[[_Loss, Reconciled], None]] = {
    "photo": _lost_original,
    "derivative": _lost_derivative,
}


def _adopt(session: Session, store: ObjectStore, key: str) -> bool:
    """Take an original into the database that no row names. False for anything else."""
    found = ORIGINAL.fullmatch(key)
    if found is None:
        return False
    content = store.get(key)
    digest = sha256(content).hexdigest()
    if not digest.startswith(found["sha256"]):
        return False
    taken_as = UUID(found["id"])
    photo = session.exec(select(Photo).where(Photo.taken_as == taken_as, Photo.sha256 == digest)).first()
    owner = photo.owner_id if photo else None
    try:
        receive_photo(
            session,
            photo_id=taken_as,
            owner_id=owner,
            content=content,
            mime=photo.mime if photo else "application/octet-stream",
            sha256=digest,
            actor=ACTOR,
        )
    except (ZhiwangError, ValueError):
        return False
    return session.exec(select(Photo.id).where(Photo.original_key == key)).first() is not None


_FORGET_COPY = text("DELETE FROM derivative WHERE photo_id = :photo AND storage_key = :key")
