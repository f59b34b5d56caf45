"""Photos: sending one in one piece, asking what became of it, and fetching cleaned copies. Uploads by tus join here."""

from collections.abc import AsyncGenerator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import RedirectResponse

from backend.api import media_lists, media_uploads
from backend.api.deps import DbSession, allowed
from backend.api.media_lists import NamedSource
from backend.core.settings import get_settings
from backend.services.photos import PhotoTooLarge
from backend.services.sessions import Caller
from backend.services.thumbnails import signed_address
from media import devices, service, uploads
from media.errors import UploadHeaderInvalid, UploadTypeInvalid
from media.rules import Variant
from media.schemas import CompletenessView, DeviceCompletenessView, PhotoView, ReceivedView

FORM_SLACK_BYTES = 64 * 1024
COPY_HEADERS = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "private, max-age=3600",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Vary": "Authorization",
    "X-Content-Type-Options": "nosniff",
}

router = APIRouter(prefix="/media/v1", tags=["照片 media"])
router.include_router(media_uploads.router)
router.include_router(media_lists.router)

Sender = Annotated[Caller, Depends(allowed("media.send_photo"))]
Reader = Annotated[Caller, Depends(allowed("media.read_photo"))]
Viewer = Annotated[Caller, Depends(allowed("media.read_copy"))]
Counter = Annotated[Caller, Depends(allowed("media.completeness"))]
DeviceCounter = Annotated[Caller, Depends(allowed("media.device_completeness"))]

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["photo_id", "sha256", "file"],
                    "properties": {
                        "photo_id": {"type": "string", "format": "uuid"},
                        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                        "mime": {"type": "string", "example": "image/jpeg"},
                        "file": {"type": "string", "format": "binary"},
                    },
                }
            }
        },
    }
}


@router.post(
    "/photos",
    status_code=201,
    summary="Send a photo in one piece (for wx.uploadFile); 201 means that it is safe here",
    openapi_extra=_FORM,
)
async def send_photo(request: Request, session: DbSession, caller: Sender) -> ReceivedView:
    await run_in_threadpool(session.commit)  # no connection is held while a slow client sends
    form = await _form(request)
    try:
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if not files:
            raise UploadHeaderInvalid("file: missing")
        return await run_in_threadpool(
            uploads.receive_whole,
            session,
            owner_id=caller.account_id,
            fields=fields,
            file=files[0].file,
            device_id=caller.device_id,
        )
    finally:
        await form.close()


@router.get("/photos/{photo_id}", summary="State of a photo, its claims, why it failed, and its copies")
def get_photo(photo_id: UUID, session: DbSession, caller: Reader) -> PhotoView:
    return service.photo_view(session, caller, photo_id=photo_id)


@router.get(
    "/photos/{photo_id}/{variant}",
    summary="A cleaned copy, without any metadata of the original",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {}, "image/webp": {}}},
        206: {"description": "The range asked for"},
        304: {"description": "The copy named by If-None-Match is current"},
        307: {"description": "Where to fetch it for some minutes: photos are kept in S3"},
    },
)
def get_copy(
    photo_id: UUID,
    variant: Variant,
    session: DbSession,
    caller: Viewer,
    if_none_match: Annotated[str, Header(alias="If-None-Match")] = "",
    if_range: Annotated[str, Header(alias="If-Range")] = "",
    range_header: Annotated[str | None, Header(alias="Range")] = None,
) -> Response:
    copy = service.variant_row(session, caller, photo_id=photo_id, variant=variant)
    etag = f'"{copy.sha256}"'
    headers = {**COPY_HEADERS, "ETag": etag}
    if etag in if_none_match or if_none_match.strip() == "*":
        return Response(status_code=304, headers=headers)
    if (address := signed_address(copy.storage_key)) is not None:
        return RedirectResponse(address, status_code=307, headers={**COPY_HEADERS, "Cache-Control": "no-store"})
    wanted = range_header if if_range in ("", etag) else None
    content, part = service.variant_bytes(copy, range_header=wanted)
    if part is not None:
        headers["Content-Range"] = f"bytes {part[0]}-{part[1] - 1}/{copy.size}"
    return Response(content, status_code=206 if part else 200, media_type=copy.mime, headers=headers)


@router.get("/completeness", summary="Photos a record or a report names: expected, received, processed, failed and why")
def get_completeness(session: DbSession, caller: Counter, source: NamedSource) -> CompletenessView:
    return service.record_completeness(session, caller, source_type=source.source_type, source_id=source.source_id)


@router.get(
    "/devices/{device_id}/completeness",
    summary="Photos a handheld named or brought: expected, received, processed, failed and why, and what is on its way",
)
def get_device_completeness(device_id: UUID, session: DbSession, caller: DeviceCounter) -> DeviceCompletenessView:
    return devices.device_completeness(session, caller, device_id=device_id)


async def _form(request: Request) -> FormData:
    """The form, read only after the caller is known, and never more of it than the largest photo.

    As a parameter of the route FastAPI would read it before it looks at the token.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise UploadTypeInvalid
    parser = MultiPartParser(request.headers, _bounded(request), max_files=1, max_fields=8, max_part_size=1024)
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise UploadHeaderInvalid("multipart/form-data that cannot be read") from error


async def _bounded(request: Request) -> AsyncGenerator[bytes, None]:
    left = get_settings().max_photo_bytes + FORM_SLACK_BYTES
    async for chunk in request.stream():
        left -= len(chunk)
        if left < 0:
            raise PhotoTooLarge(max_bytes=get_settings().max_photo_bytes)
        yield chunk
