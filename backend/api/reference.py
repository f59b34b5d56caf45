"""Code tables, territory and forms, for any caller who is logged in. Answers carry an ETag; unchanged ones are 304."""

from hashlib import sha256
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Header, Response

from backend import __version__
from backend.api.deps import DbSession, allowed
from backend.services import purposes, reference
from backend.services.epoch import current_epoch
from backend.services.sessions import Caller
from sync.schemas import CURRENT_SCHEMA, OLDEST_SCHEMA

router = APIRouter(
    prefix="/reference/v1", tags=["参考数据 reference"], responses={304: {"description": "Unchanged (If-None-Match)"}}
)

IfNoneMatch = Annotated[str, Header(alias="If-None-Match")]
GridReader = Annotated[Caller, Depends(allowed("reference.grids"))]


@router.get(
    "/server",
    dependencies=[Depends(allowed("reference.server"))],
    summary="The server's version, sync epoch and document forms",
)
def server(session: DbSession, known: IfNoneMatch = "") -> Response:
    """`epoch` changes when the server was restored to an earlier point; then handhelds start their sync anew."""
    forms = {"current": CURRENT_SCHEMA, "oldest": OLDEST_SCHEMA}
    return _answer({"server": {"version": __version__, "epoch": current_epoch(session), "schema": forms}}, known)


@router.get(
    "/territory",
    dependencies=[Depends(allowed("reference.territory"))],
    summary="City, districts, streets and communities",
)
def territory(session: DbSession, known: IfNoneMatch = "") -> Response:
    return _answer({"territory": reference.territory_units(session)}, known)


@router.get("/grids", summary="A worker's own grids with polygons; for others those of their territory")
def grids(session: DbSession, caller: GridReader, known: IfNoneMatch = "") -> Response:
    return _answer({"grids": reference.grids(session, caller)}, known)


@router.get(
    "/event-classes",
    dependencies=[Depends(allowed("reference.event_classes"))],
    summary="Classes and subclasses of events and components",
)
def event_classes(session: DbSession, known: IfNoneMatch = "") -> Response:
    return _answer({"event_classes": reference.event_classes(session)}, known)


@router.get(
    "/standards",
    dependencies=[Depends(allowed("reference.standards"))],
    summary="When a case is registered, its limit, and what closes it",
)
def standards(session: DbSession, known: IfNoneMatch = "") -> Response:
    return _answer({"standards": reference.standards(session)}, known)


@router.get("/queues", dependencies=[Depends(allowed("reference.queues"))], summary="12345 queues")
def queues(session: DbSession, known: IfNoneMatch = "") -> Response:
    return _answer({"queues": reference.queues(session)}, known)


@router.get(
    "/departments",
    dependencies=[Depends(allowed("reference.departments"))],
    summary="Units that own data or handle cases",
)
def departments(session: DbSession, known: IfNoneMatch = "") -> Response:
    return _answer({"departments": reference.departments(session)}, known)


@router.get(
    "/calendar",
    dependencies=[Depends(allowed("reference.calendar"))],
    summary="Working days and holidays as far as they are known",
)
def calendar(session: DbSession, known: IfNoneMatch = "") -> Response:
    return _answer({"calendar": reference.calendar(session)}, known)


@router.get(
    "/kinds", dependencies=[Depends(allowed("reference.kinds"))], summary="The form of each kind as JSON Schema"
)
def kinds(known: IfNoneMatch = "") -> Response:
    return _answer({"kinds": reference.kinds()}, known)


@router.get(
    "/purposes",
    dependencies=[Depends(allowed("reference.purposes"))],
    summary="Why each personal field is kept, on which legal ground, and until when",
)
def all_purposes(known: IfNoneMatch = "") -> Response:
    return _answer({"purposes": purposes.as_rows()}, known)


def _answer(value: Any, known: str) -> Response:
    """The value, or 304 where the caller has it. Grids differ by caller, so nothing is shared between callers."""
    body = msgspec.json.encode(value)
    tag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    if known.strip() == "*" or tag in {part.strip().removeprefix("W/") for part in known.split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
