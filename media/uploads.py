"""Uploads by tus 1.0: bytes count once they are on disk and their offset is committed.

The routes drive these steps, because each ends with a commit of theirs: `create`; `begin` an append, feed it, save it
now and then, and `settle` it. The last offset is committed only together with the whole photo, so a client that
finds its upload complete may delete its copy.
"""

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import BinaryIO
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.db import after_commit
from backend.core.errors import NotFound, ZhiwangError
from backend.core.ids import new_id
from backend.core.statements import execute
from backend.models import Upload
from backend.services import audit
from backend.services.photos import check_photo, check_size, receive_photo
from media.errors import (
    ChunkChecksumMismatch,
    OffsetMismatch,
    PhotoChecksumMismatch,
    UploadGone,
    UploadHeaderInvalid,
    UploadTooLong,
)
from media.partials import Partial, kept, remove_partial
from media.quotas import take_place
from media.rules import BadHeader, Checksum, Declared, parse_declared
from media.schemas import ReceivedView

LIFETIME = timedelta(hours=24)
"""How long an upload waits for its next bytes."""

SAVE_SECONDS = 2.0
"""How often the offset of a slow upload is made durable while bytes still come."""


@dataclass
class Append:
    """The bytes of one request on their way to disk. `position` is the next offset to be written."""

    upload: Upload
    file: Partial
    checksum: Checksum | None
    durable: int
    position: int
    digest: "hashlib._Hash | None" = None
    whole_digest: "hashlib._Hash | None" = None
    """Of all bytes so far, where they all came in this request."""
    saved_at: float = field(default_factory=time.monotonic)

    @property
    def whole(self) -> bool:
        """Whether the last declared byte has been written."""
        return self.position == self.upload.length

    def due(self) -> bool:
        """Whether it is time to save. Bytes under a checksum count all together or not at all."""
        return self.checksum is None and time.monotonic() - self.saved_at >= SAVE_SECONDS

    def write(self, block: bytes | bytearray) -> None:
        """Take the next bytes. `UploadTooLong` for more than declared: what was not saved does not count."""
        if self.position + len(block) > self.upload.length:
            raise UploadTooLong(length=self.upload.length)
        self.file.write(block, self.position)
        self.position += len(block)
        for digest in filter(None, (self.digest, self.whole_digest)):
            digest.update(block)

    def sha256(self) -> str:
        """The digest of all bytes; they are read again where a part of them came earlier."""
        return self.whole_digest.hexdigest() if self.whole_digest else self.file.sha256()

    def close(self) -> None:
        """Give the lock back; bytes that were not saved are cut off by whoever comes next."""
        self.file.close()


def create(session: Session, *, owner_id: UUID, declared: Declared, device_id: UUID | None = None) -> Upload:
    """A new upload of the caller's, detached. Raises as `receive_photo` and `take_place`, before the first byte comes.

    It takes the place of what the account had begun of the same photo: over a bad line the answer that named that one
    was lost, and nobody will go on with it.
    """
    check_size(declared.size)
    check_photo(session, photo_id=declared.photo_id, owner_id=owner_id, sha256=declared.sha256)
    for begun in take_place(session, owner_id=owner_id, declared=declared, only_begun=True):
        after_commit(session, partial(remove_partial, begun))
    return _insert(session, owner_id, device_id, declared)


def find(session: Session, *, owner_id: UUID, upload_id: UUID) -> Upload:
    """The caller's upload as it now is. `NotFound` for any other, `UploadGone` for one that expired."""
    upload = session.get(Upload, upload_id, populate_existing=True)
    if upload is None or upload.owner_id != owner_id:
        raise NotFound
    if upload.expires_at <= now():
        raise UploadGone
    return upload


def begin(
    session: Session,
    *,
    owner_id: UUID,
    upload_id: UUID,
    offset: int,
    checksum: Checksum | None,
    announced: int | None,
) -> Append:
    """Take the upload for writing at `offset`; `announced` is how many bytes will come, where the client says so.

    Raises as `find`, and `UploadBusy`, `OffsetMismatch` or `UploadTooLong`. The offset is read after the lock was
    taken: only then can nobody else move it.
    """
    find(session, owner_id=owner_id, upload_id=upload_id)
    file = Partial(upload_id)
    try:
        upload = find(session, owner_id=owner_id, upload_id=upload_id)
        if offset != upload.durable_offset:
            raise OffsetMismatch(offset=upload.durable_offset)
        if offset + (announced or 0) > upload.length:
            raise UploadTooLong(length=upload.length)
        if upload.finished:
            file.remove()
        else:
            file.rewind(offset)
    except (NotFound, UploadGone):
        file.remove()
        raise
    except BaseException:
        file.close()
        raise
    session.expunge(upload)
    return _append(upload, file, checksum, offset)


def begin_new(upload: Upload, *, checksum: Checksum | None, announced: int | None) -> Append:
    """As `begin`, for one that the same request has created: nobody else has heard of it."""
    if (announced or 0) > upload.length:
        raise UploadTooLong(length=upload.length)
    return _append(upload, Partial(upload.id), checksum, 0)


def _append(upload: Upload, file: Partial, checksum: Checksum | None, offset: int) -> Append:
    digest = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
    whole = hashlib.sha256() if offset == 0 else None
    return Append(upload, file, checksum, durable=offset, position=offset, digest=digest, whole_digest=whole)


def save(session: Session, append: Append) -> None:
    """Make what was written so far count, once the caller's transaction has committed."""
    append.file.flush(new=append.durable == 0)
    _advance(session, append, to=append.position)
    append.durable, append.saved_at = append.position, time.monotonic()


def settle(session: Session, append: Append, *, cut: bool) -> ZhiwangError | None:
    """End an append: keep the bytes, and when the last one is here the photo. The caller commits in every case.

    `cut` says that the request ended early. A refusal that takes the upload with it is returned rather than raised, so
    that the removal is committed; others are raised.
    """
    if append.checksum and append.digest and (cut or append.digest.digest() != append.checksum.digest):
        raise ChunkChecksumMismatch
    if not append.whole:
        if append.position > append.durable:
            save(session, append)
        return None
    if append.upload.finished:
        return None
    return _finish(session, append)


def terminate(session: Session, *, owner_id: UUID, upload_id: UUID) -> None:
    """Forget an upload and its bytes; a finished one's photo stays. Raises as `find`, and `UploadBusy`."""
    upload = find(session, owner_id=owner_id, upload_id=upload_id)
    after_commit(session, Partial(upload_id).remove)
    _forget(session, upload, action="upload.terminated", code="client")


def receive_whole(
    session: Session, *, owner_id: UUID, fields: Mapping[str, str], file: BinaryIO, device_id: UUID | None = None
) -> ReceivedView:
    """A photo that came in one request: the same checks as an upload's. The file is read from its beginning."""
    size = file.seek(0, os.SEEK_END)
    try:
        declared = parse_declared(fields, size=size)
    except BadHeader as error:
        raise UploadHeaderInvalid(str(error)) from error
    check_size(size)
    for begun in take_place(session, owner_id=owner_id, declared=declared, only_begun=False):
        after_commit(session, partial(remove_partial, begun))
    with kept(file) as (path, sha256):
        if sha256 != declared.sha256:
            raise PhotoChecksumMismatch
        receive_photo(
            session,
            photo_id=declared.photo_id,
            owner_id=owner_id,
            content=path,
            mime=declared.mime,
            sha256=sha256,
            device_id=device_id,
        )
    _insert(session, owner_id, device_id, declared, finished=True)
    return ReceivedView(photo_id=declared.photo_id, sha256=sha256)


def _insert(
    session: Session, owner_id: UUID, device_id: UUID | None, declared: Declared, *, finished: bool = False
) -> Upload:
    """A new row, detached. Also a photo that came in one piece has one, so that quotas count it."""
    moment = now()
    upload = Upload(
        id=new_id(),
        photo_id=declared.photo_id,
        owner_id=owner_id,
        device_id=device_id,
        length=declared.size,
        durable_offset=declared.size if finished else 0,
        declared={"sha256": declared.sha256, "mime": declared.mime},
        finished=finished,
        created_at=moment,
        expires_at=moment + LIFETIME,
    )
    execute(session, _INSERT, {**upload.model_dump(), "declared": msgspec.json.encode(upload.declared).decode()})
    return upload


def _finish(session: Session, append: Append) -> ZhiwangError | None:
    """Turn all bytes into a photo, in the transaction that commits the last offset.

    The store flushes what it takes over to disk; the folder of uploads, which this file is about to leave, need not be.
    """
    upload, sha256 = append.upload, append.sha256()
    after_commit(session, append.file.remove)
    if sha256 != upload.declared["sha256"]:
        _forget(session, upload, action="upload.refused", code=PhotoChecksumMismatch.code)
        return PhotoChecksumMismatch()
    try:
        receive_photo(
            session,
            photo_id=upload.photo_id,
            owner_id=upload.owner_id,
            content=append.file.path,
            mime=upload.declared["mime"],
            sha256=sha256,
            device_id=upload.device_id,
        )
    except ZhiwangError as refusal:
        if refusal.status >= 500:
            raise
        _forget(session, upload, action="upload.refused", code=refusal.code)
        return refusal
    _advance(session, append, to=upload.length)
    return None


def _advance(session: Session, append: Append, *, to: int) -> None:
    """Move the durable offset from where this writer knows it to be, and nowhere else."""
    append.upload.expires_at = now() + LIFETIME
    moved = session.connection().execute(
        _ADVANCE,
        {
            "id": append.upload.id,
            "known": append.durable,
            "to": to,
            "finished": to == append.upload.length,
            "expires": append.upload.expires_at,
        },
    )
    if not moved.rowcount:
        raise OffsetMismatch


def _forget(session: Session, upload: Upload, *, action: str, code: str) -> None:
    session.connection().execute(_DELETE, {"id": upload.id})
    audit.record(
        session,
        actor=str(upload.owner_id),
        action=action,
        object_type="upload",
        object_id=str(upload.id),
        photo_id=str(upload.photo_id),
        code=code,
    )


_ADVANCE = text(
    """
    UPDATE upload SET durable_offset = :to, finished = :finished, expires_at = :expires
    WHERE id = :id AND durable_offset = :known AND NOT finished
    """
)
_INSERT = """
    INSERT INTO upload (id, photo_id, owner_id, device_id, length, durable_offset, declared, finished, created_at,
                        expires_at)
    VALUES (%(id)s, %(photo_id)s, %(owner_id)s, %(device_id)s, %(length)s, %(durable_offset)s, %(declared)s,
            %(finished)s, %(created_at)s, %(expires_at)s)
"""
_DELETE = text("DELETE FROM upload WHERE id = :id")
