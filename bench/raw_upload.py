"""The bare endpoint that `bench.media_uploads` measures against: it writes a body to a new file and flushes it to disk.

No login, no offset, no checksum, no database: ASGI by hand, in blocks of the product's size, under the same server.
"""

import asyncio
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from backend.api.media_uploads import BLOCK_BYTES

FOLDER = Path(os.environ.get("RAW_FOLDER", "."))


async def app(scope: Any, receive: Any, send: Any) -> None:
    """201 once the body is on disk, under a name in a folder that is flushed too; 200 for whoever asks if it runs."""
    if scope["type"] != "http":
        return
    if scope["method"] == "GET":
        await _answer(send, 200)
        return
    descriptor = await asyncio.to_thread(os.open, FOLDER / uuid4().hex, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    block, more = bytearray(), True
    while more:
        message = await receive()
        block += message.get("body", b"")
        more = message.get("more_body", False)
        if block and (len(block) >= BLOCK_BYTES or not more):
            await asyncio.to_thread(os.write, descriptor, bytes(block))
            block.clear()
    await asyncio.to_thread(_flush, descriptor)
    await _answer(send, 201)


async def _answer(send: Any, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def _flush(descriptor: int) -> None:
    os.fsync(descriptor)
    os.close(descriptor)
    folder = os.open(FOLDER, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
