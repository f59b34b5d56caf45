"""Files that are handed out: named by us, never kept by a cache on the way."""

from collections.abc import Iterable
from uuid import UUID

from fastapi.responses import StreamingResponse


def download(content: Iterable[bytes], *, what: str, file_id: UUID, suffix: str, media_type: str) -> StreamingResponse:
    """A file to be stored by the one who asked, `WHAT-ID.SUFFIX`. No part of the name comes from a client."""
    headers = {
        "Content-Disposition": f'attachment; filename="{what}-{file_id}.{suffix}"',
        "Cache-Control": "no-store",
    }
    return StreamingResponse(content, media_type=media_type, headers=headers)
