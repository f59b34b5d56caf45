"""Uploads by tus 1.0 (https://tus.io): creation, creation-with-upload, checksum, expiration, termination.

Who calls, and whether he may, is settled before the first byte of a body is read. No database connection is held while
a body comes in, and at most one block of it is in memory. `X-HTTP-Method-Override` serves clients without PATCH.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from sqlmodel import Session
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from backend.api.deps import DbSession, allowed, current_caller, public
from backend.api.fields import REQUIRED
from backend.core.errors import ZhiwangError
from backend.core.settings import get_settings
from backend.models import Upload
from backend.services.sessions import Caller
from media import uploads
from media.errors import TusVersionUnsupported, UploadHeaderInvalid, UploadStalled, UploadTypeInvalid
from media.partials import wait_for_writer
from media.rules import (
    CHECKSUM_ALGORITHMS,
    BadHeader,
    format_metadata,
    parse_checksum,
    parse_count,
    parse_declared,
    parse_metadata,
)

TUS_VERSION = "1.0.0"
CHUNK_TYPE = "application/offset+octet-stream"
BLOCK_BYTES = 256 * 1024
SETTLING_SECONDS = 1.0

NUMBER: dict[str, Any] = {"pattern": "^[0-9]{1,12}$"}
METHODS: dict[str, Any] = {"enum": ["PATCH", "HEAD", "DELETE"], REQUIRED: True}
NO_STORE = {"Cache-Control": "no-store"}
OFFERED = {
    "Tus-Version": TUS_VERSION,
    "Tus-Extension": "creation,creation-with-upload,checksum,expiration,termination",
    "Tus-Checksum-Algorithm": ",".join(CHECKSUM_ALGORITHMS),
}


class TusRoute(APIRoute):
    """Adds the protocol's headers to every answer, refusals included.

    Done on the way out: a handler that caught refusals would hide them from `DbSession`, which would then commit.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Tus-Resumable"] = TUS_VERSION
                if message["status"] == TusVersionUnsupported.status:
                    headers["Tus-Version"] = TUS_VERSION
            await send(message)

        await super().handle(scope, receive, send_with_version)


@contextmanager
def _headers() -> Iterator[None]:
    try:
        yield
    except BadHeader as error:
        raise UploadHeaderInvalid(str(error)) from error


async def tus_version(
    _: Annotated[Caller, Depends(current_caller)],
    version: Annotated[
        str, Header(alias="Tus-Resumable", json_schema_extra={"enum": [TUS_VERSION], REQUIRED: True})
    ] = "",
) -> None:
    """Refuse a client that speaks another version, as soon as it is known who calls.

    A coroutine, as `chunk_headers` is: what only looks at headers is not worth a thread.
    """
    if version != TUS_VERSION:
        raise TusVersionUnsupported


def _body_of(content_type: str) -> dict[str, Any]:
    schema = {"type": "string", "format": "binary"}
    return {"requestBody": {"content": {content_type: {"schema": schema}}}}


router = APIRouter(prefix="/uploads", route_class=TusRoute)
Tus = Depends(tus_version)
Creator = Annotated[Caller, Depends(allowed("media.create_upload"))]
Resumer = Annotated[Caller, Depends(allowed("media.upload_offset"))]
Sender = Annotated[Caller, Depends(allowed("media.append"))]
Terminator = Annotated[Caller, Depends(allowed("media.terminate"))]
Poster = Annotated[Caller, Depends(allowed("media.override"))]


@dataclass(frozen=True, slots=True)
class Chunk:
    """What the headers of a request say about its body."""

    offset: str | None
    checksum: str | None
    content_type: str
    length: str | None


async def chunk_headers(
    offset: Annotated[str | None, Header(alias="Upload-Offset", json_schema_extra=NUMBER)] = None,
    checksum: Annotated[str | None, Header(alias="Upload-Checksum")] = None,
    content_type: Annotated[str, Header(alias="Content-Type", include_in_schema=False)] = "",
    length: Annotated[str | None, Header(alias="Content-Length", include_in_schema=False)] = None,
) -> Chunk:
    return Chunk(offset, checksum, content_type, length)


ChunkDep = Annotated[Chunk, Depends(chunk_headers)]


@router.options(
    "", dependencies=[Depends(public("media.options"))], summary="What this tus server offers", status_code=204
)
def options() -> Response:
    return Response(status_code=204, headers={**OFFERED, "Tus-Max-Size": str(get_settings().max_photo_bytes)})


@router.post(
    "",
    status_code=201,
    dependencies=[Tus],
    response_class=Response,
    summary="Begin an upload; its metadata names photo_id, sha256 and mime",
    openapi_extra=_body_of(CHUNK_TYPE),
)
async def create(
    request: Request,
    session: DbSession,
    caller: Creator,
    chunk: ChunkDep,
    length: Annotated[str | None, Header(alias="Upload-Length", json_schema_extra={**NUMBER, REQUIRED: True})] = None,
    metadata: Annotated[str, Header(alias="Upload-Metadata", max_length=4096)] = "",
) -> Response:
    with _headers():
        declared = parse_declared(parse_metadata(metadata), size=parse_count(length, name="Upload-Length"))
    upload = await run_in_threadpool(
        _create, session, owner_id=caller.account_id, declared=declared, device_id=caller.device_id
    )
    headers = {"Location": f"{request.url.path}/{upload.id}", **_expiry(upload), **NO_STORE}
    if chunk.content_type == CHUNK_TYPE:
        append = await _append(request, session, upload, chunk, owner_id=caller.account_id, offset=0)
        headers["Upload-Offset"] = str(append.position)
    return Response(status_code=201, headers=headers)


@router.head(
    "/{upload_id}", dependencies=[Tus], response_class=Response, summary="Where to go on: bytes that are safe here"
)
def head(upload_id: UUID, session: DbSession, caller: Resumer) -> Response:
    """A client that asks has lost its connection, and what it sent is still being counted: it is waited for.

    No database connection is held meanwhile.
    """
    uploads.find(session, owner_id=caller.account_id, upload_id=upload_id)
    session.commit()
    wait_for_writer(upload_id, seconds=SETTLING_SECONDS)
    return _state(uploads.find(session, owner_id=caller.account_id, upload_id=upload_id))


@router.patch(
    "/{upload_id}",
    status_code=204,
    dependencies=[Tus],
    summary="Send the next bytes; 204 for the last ones means that the photo is safe here",
    openapi_extra=_body_of(CHUNK_TYPE),
)
async def patch(upload_id: UUID, request: Request, session: DbSession, caller: Sender, chunk: ChunkDep) -> Response:
    if chunk.content_type != CHUNK_TYPE:
        raise UploadTypeInvalid
    with _headers():
        offset = parse_count(chunk.offset, name="Upload-Offset")
    append = await _append(request, session, upload_id, chunk, owner_id=caller.account_id, offset=offset)
    headers = {"Upload-Offset": str(append.position), **_expiry(append.upload), **NO_STORE}
    return Response(status_code=204, headers=headers)


@router.delete("/{upload_id}", status_code=204, dependencies=[Tus], summary="Give an upload up")
def terminate(upload_id: UUID, session: DbSession, caller: Terminator) -> Response:
    uploads.terminate(session, owner_id=caller.account_id, upload_id=upload_id)
    return Response(status_code=204)


@router.post(
    "/{upload_id}",
    dependencies=[Tus],
    response_class=Response,
    responses={204: {"description": "What PATCH or DELETE answers"}},
    summary="PATCH, HEAD or DELETE for clients that can only POST",
    openapi_extra=_body_of(CHUNK_TYPE),
)
async def override(
    upload_id: UUID,
    request: Request,
    session: DbSession,
    caller: Poster,
    chunk: ChunkDep,
    method: Annotated[str, Header(alias="X-HTTP-Method-Override", json_schema_extra=METHODS)] = "",
) -> Response:
    if method.upper() == "PATCH":
        return await patch(upload_id, request, session, caller, chunk)
    if method.upper() == "HEAD":
        return await run_in_threadpool(head, upload_id, session, caller)
    if method.upper() == "DELETE":
        return await run_in_threadpool(terminate, upload_id, session, caller)
    raise UploadHeaderInvalid("X-HTTP-Method-Override: PATCH, HEAD or DELETE")


async def _append(
    request: Request, session: Session, upload: UUID | Upload, chunk: Chunk, *, owner_id: UUID, offset: int
) -> uploads.Append:
    """Take a body for an upload, or for one that was begun by this very request; gives what is durable now."""
    with _headers():
        checksum = parse_checksum(chunk.checksum)
        announced = parse_count(chunk.length, name="Content-Length") if chunk.length else None
    if isinstance(upload, Upload):
        append = await run_in_threadpool(uploads.begin_new, upload, checksum=checksum, announced=announced)
    else:
        append = await run_in_threadpool(
            _begin,
            session,
            owner_id=owner_id,
            upload_id=upload,
            offset=offset,
            checksum=checksum,
            announced=announced,
        )
    try:
        rest, whole = await _pump(request, session, append)
        refusal = await run_in_threadpool(_settle, session, append, rest, cut=not whole)
    finally:
        append.close()
    if refusal is not None:
        raise refusal
    if not whole:
        raise UploadStalled(offset=append.durable)
    return append


async def _pump(request: Request, session: Session, append: uploads.Append) -> tuple[bytearray, bool]:
    """Write a body to disk block by block; gives what is left to be written, and False where it stopped before its end.

    The sender is waited for as long as the settings say, and not for longer because our disk is slow meanwhile.
    """
    loop, patience_s = asyncio.get_running_loop(), get_settings().body_stall_seconds
    block, whole = bytearray(), True
    try:
        async with asyncio.timeout(patience_s) as patience:
            async for part in request.stream():
                block += part
                due = append.due()
                if due or len(block) >= BLOCK_BYTES:
                    patience.reschedule(None)
                    await run_in_threadpool(append.write, block)
                    block = bytearray()
                    if due and not append.whole:
                        await run_in_threadpool(_save, session, append)
                patience.reschedule(loop.time() + patience_s)
    except (ClientDisconnect, TimeoutError):
        whole = False
    return block, whole


def _create(session: Session, **values: Any) -> Upload:
    upload = uploads.create(session, **values)
    session.commit()
    return upload


def _begin(session: Session, **values: Any) -> uploads.Append:
    append = uploads.begin(session, **values)
    try:
        session.commit()
    except BaseException:
        append.close()
        raise
    return append


def _save(session: Session, append: uploads.Append) -> None:
    uploads.save(session, append)
    session.commit()


def _settle(session: Session, append: uploads.Append, rest: bytearray, *, cut: bool) -> ZhiwangError | None:
    append.write(rest)
    refusal = uploads.settle(session, append, cut=cut)
    session.commit()
    return refusal


def _state(upload: Upload) -> Response:
    headers = {
        "Upload-Offset": str(upload.durable_offset),
        "Upload-Length": str(upload.length),
        "Upload-Metadata": format_metadata({"photo_id": str(upload.photo_id), **upload.declared}),
        **_expiry(upload),
        **NO_STORE,
    }
    return Response(headers=headers)


def _expiry(upload: Upload) -> dict[str, str]:
    return {"Upload-Expires": format_datetime(upload.expires_at, usegmt=True)}
