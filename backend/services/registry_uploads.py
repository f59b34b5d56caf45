"""A dataset's file while it comes in: sealed block by block, measured, and bounded."""

import hashlib
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

from sqlmodel import Session

from backend.core.crypto import key_ring
from backend.core.errors import TooLarge, ZhiwangError
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.services.registry_files import SealedWriter
from backend.services.sealing import Vault


class ImportCutOff(ZhiwangError):
    """The body stopped before its end; nothing of it was kept."""

    code = "import_cut_off"
    status = 400
    title_zh = "文件上传中断，未导入任何数据，请重新上传"
    title_en = "The upload broke off; nothing was imported, send the file again"


class Upload:
    """A sealed temporary file that is gone when the block ends: keep it in the object store before."""

    def __init__(self) -> None:
        self.id: UUID = new_id()
        self._file = tempfile.NamedTemporaryFile()  # noqa: SIM115  it is closed by __exit__
        self._key, self._wrapped = key_ring().new_wrapped_key(subject=self.id.bytes)
        self._writer = SealedWriter(self._file, context=upload_context(self.id), key=self._key)
        self._digest = hashlib.sha256()
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, content: bytes) -> None:
        """Append bytes. `TooLarge` past `max_import_bytes`."""
        self._size += len(content)
        limit = get_settings().max_import_bytes
        if self._size > limit:
            raise TooLarge(max_bytes=limit)
        self._digest.update(content)
        self._writer.write(content)

    def finish(self) -> None:
        """Seal the end; nothing may be written afterwards."""
        self._writer.close()
        self._file.flush()

    def keep_key(self, session: Session) -> None:
        """Write the key of the file, as that of the snapshot of this id; without it the file is noise."""
        Vault(session).adopt(self.id.bytes, self._key, self._wrapped)

    @property
    def size(self) -> int:
        """The bytes that came."""
        return self._size

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def path(self) -> Path:
        """The sealed file."""
        return Path(self._file.name)


def upload_context(upload_id: UUID) -> bytes:
    """What an upload's frames are bound to."""
    return b"upload" + upload_id.bytes
