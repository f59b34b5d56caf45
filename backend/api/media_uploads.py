"""Uploads by tus 1.0 (https://tus.io): creation, creation-with-upload, checksum, expiration, termination.

Who calls, and whether he may, is settled before the first byte of a body is read. No database connection is held while
a body comes in, and at most one block of it is in memory. `X-HTTP-Method-Override` serves clients without PATCH.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials
from sqlmodel import Session
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from backend.api.deps import Credentials, DbSession, allowed, public
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
    Checksum,
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


def speaking_tus(operation: str) -> Callable[[Session, HTTPAuthorizationCredentials | None, str], Caller]:
    """`allowed`, and a refusal of clients that speak another version, as soon as it is known who calls.

    In one dependency, because each takes a thread.
    """
    admitted = allowed(operation)

    def check(
        session: DbSession,
        credentials: Credentials,
        version: Annotated[
            str, Header(alias="Tus-Resumable", json_schema_extra={"enum": [TUS_VERSION], REQUIRED: True})
        ] = "",
    ) -> Caller:
        caller = admitted(session, credentials)
        if version != TUS_VERSION:
            raise TusVersionUnsupported
        return caller

    check.operation = operation  # type: ignore[attr-defined]
    return check


def _body_of(content_type: str) -> dict[str, Any]:
    schema = {"type": "string", "format": "binary"}
    return {"requestBody": {"content": {content_type: {"schema": schema}}}}


router = APIRouter(prefix="/uploads", route_class=TusRoute)
Creator = Annotated[Caller, Depends(speaking_tus("media.create_upload"))]
Resumer = Annotated[Caller, Depends(speaking_tus("media.upload_offset"))]
Sender = Annotated[Caller, Depends(speaking_tus("media.append"))]
Terminator = Annotated[Caller, Depends(speaking_tus("media.terminate"))]
Poster = Annotated[Caller, Depends(speaking_tus("media.override"))]


@dataclass(frozen=True, slots=True)
class Chunk:
    """What the headers of a request say about its body."""

    offset: str | None
    checksum: str | None
    content_type: str
    length: str | None

    def announced(self) -> tuple[Checksum | None, int | None]:
        """The checksum that the body must have, and how many bytes it will have, where the client says so."""
        length = parse_count(self.length, name="Content-Length") if self.length else None
        return parse_checksum(self.checksum), length


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
    values = {"owner_id": caller.account_id, "declared": declared, "device_id": caller.device_id}
    if chunk.content_type != CHUNK_TYPE:
        upload = await run_in_threadpool(_create, session, **values)
        return _created(request, upload)
    with _headers():
        checksum, announced = chunk.announced()
    append = await run_in_threadpool(_create_and_begin, session, checksum=checksum, announced=announced, **values)
    await _take(request, session, append)
    return _created(request, append.upload, position=append.position)


@router.head("/{upload_id}", response_class=Response, summary="Where to go on: bytes that are safe here")
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
    summary="Send the next bytes; 204 for the last ones means that the photo is safe here",
    openapi_extra=_body_of(CHUNK_TYPE),
)
async def patch(upload_id: UUID, request: Request, session: DbSession, caller: Sender, chunk: ChunkDep) -> Response:
    if chunk.content_type != CHUNK_TYPE:
        raise UploadTypeInvalid
    with _headers():
        offset = parse_count(chunk.offset, name="Upload-Offset")
        checksum, announced = chunk.announced()
    append = await run_in_threadpool(
        _begin,
        session,
        owner_id=caller.account_id,
        upload_id=upload_id,
        offset=offset,
        checksum=checksum,
        announced=announced,
    )
    await _take(request, session, append)
    headers = {"Upload-Offset": str(append.position), **_expiry(append.upload), **NO_STORE}
    return Response(status_code=204, headers=headers)


@router.delete("/{upload_id}", status_code=204, summary="Give an upload up")
def terminate(upload_id: UUID, session: DbSession, caller: Terminator) -> Response:
    uploads.terminate(session, owner_id=caller.account_id, upload_id=upload_id)
    return Response(status_code=204)


@router.post(
    "/{upload_id}",
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


async def _take(request: Request, session: Session, append: uploads.Append) -> None:
    """Take a body to its end; what is durable then is in `append`."""
    try:
        rest, whole = await _pump(request, session, append)
        refusal = await run_in_threadpool(_settle, session, append, rest, cut=not whole)
    finally:
        append.close()
    if refusal is not None:
        raise refusal
    if not whole:
        raise UploadStalled(offset=append.durable)


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


def _create_and_begin(
    session: Session, *, checksum: Checksum | None, announced: int | None, **values: Any
) -> uploads.Append:
    return uploads.begin_new(_create(session, **values), checksum=checksum, announced=announced)


def _created(request: Request, upload: Upload, *, position: int | None = None) -> Response:
    headers = {"Location": f"{request.url.path}/{upload.id}", **_expiry(upload), **NO_STORE}
    if position is not None:
        headers["Upload-Offset"] = str(position)
    return Response(status_code=201, headers=headers)


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
