"""The sync protocol over HTTP: push, pull and outcomes (docs/sync-protocol.md)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response
from fastapi.security import HTTPAuthorizationCredentials
from sqlmodel import Session

from backend.api.deps import Credentials, DbSession, allowed, current_caller
from backend.api.event_stream import EVENT, EventStream
from backend.api.fields import ClockReading
from backend.api.json import json_response
from backend.core.clock import now
from backend.core.enums import Kind
from backend.core.errors import Forbidden
from backend.core.settings import get_settings
from backend.core.statements import together
from backend.services.epoch import ask_epoch
from backend.services.permissions import admit
from backend.services.sessions import Caller
from sync import answers, service
from sync import digest as digest_room
from sync import outcomes as outcomes_room
from sync import pull as pull_room
from sync import receipt as receipt_room
from sync.checkpoints import read_checkpoint
from sync.review_schemas import Answered, Contested
from sync.schemas import Claims, check_schema_version
from sync.streams import Follower

router = APIRouter(prefix="/sync/v1", tags=["同步 sync"])


async def claims(
    x_schema_version: Annotated[int | None, Header(ge=0, le=10_000)] = None,
    x_client_time: Annotated[ClockReading | None, Header()] = None,
    x_waiting: Annotated[int | None, Header(ge=0, le=1_000_000)] = None,
    x_push_number: Annotated[int | None, Header(ge=0, le=2**62)] = None,
) -> Claims:
    """`X-Client-Time` is the device's clock, `X-Waiting` the number of its unsent changes.

    `X-Push-Number` grows with each push of a collection, repeats of the same one excepted.
    """
    aware = x_client_time.replace(tzinfo=UTC) if x_client_time and x_client_time.tzinfo is None else x_client_time
    return Claims(check_schema_version(x_schema_version), aware, x_waiting, x_push_number)


ClaimsDep = Annotated[Claims, Depends(claims)]
EPOCH_HEADER = "X-Sync-Epoch"


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, and the headers of the answer, which tell the server's epoch."""

    caller: Caller
    headers: dict[str, str]


def syncing(operation: str) -> Callable[[Session, HTTPAuthorizationCredentials | None, str | None], Call]:
    """`allowed`, and 409 `epoch` where the client names another one than ours.

    In one dependency, because each takes a thread; the caller comes first, so that whoever is not logged in learns
    nothing of the epoch.
    """

    def check(
        session: DbSession,
        credentials: Credentials,
        x_sync_epoch: Annotated[str | None, Header(max_length=255)] = None,
    ) -> Call:
        caller = current_caller(session, credentials)
        with together(session):
            admitted = admit(session, caller, operation)
            current = ask_epoch(session, x_sync_epoch)
        return Call(admitted, {EPOCH_HEADER: current()})

    check.operation = operation  # type: ignore[attr-defined]
    return check


Push = Annotated[Call, Depends(syncing("sync.push"))]
Pull = Annotated[Call, Depends(syncing("sync.pull"))]
Digest = Annotated[Call, Depends(syncing("sync.digest"))]
Receipt = Annotated[Call, Depends(syncing("sync.receipt"))]
Outcomes = Annotated[Call, Depends(syncing("sync.outcomes"))]
Listen = Annotated[Call, Depends(syncing("sync.stream"))]

PUSH_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["rows"],
                    "properties": {
                        "rows": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["newDocumentState"],
                                "properties": {
                                    "assumedMasterState": {"type": ["object", "null"]},
                                    "newDocumentState": {"type": "object", "required": ["id", "op"]},
                                },
                            },
                        }
                    },
                },
                "example": {
                    "rows": [
                        {
                            "newDocumentState": {
                                "id": "01938f6e-7c00-7000-8000-000000000001",
                                "grid_id": "440310001001001",
                                "class_code": "0101",
                                "occurred_at": "2026-03-02T09:30:00+08:00",
                                "location": {"lat": 226900000, "lon": 1143400000},
                                "op": "01938f6e-7c00-7000-8000-0000000000a1",
                                "_deleted": False,
                            }
                        }
                    ]
                },
            }
        },
    }
}


_SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_UUID = {"type": "string", "format": "uuid"}


def _list_of(**properties: Any) -> dict[str, Any]:
    item = {"type": "object", "required": list(properties), "properties": properties}
    return {"type": "array", "maxItems": receipt_room.MAX_ITEMS, "items": item}


RECEIPT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "records": _list_of(kind={"enum": list(Kind)}, id=_UUID, op=_UUID, hash=_SHA256),
                        "photos": _list_of(photo_id=_UUID, sha256=_SHA256),
                    },
                }
            }
        },
    }
}


async def raw_body(request: Request) -> bytes:
    """The body as it came; `BodyLimit` bounds it."""
    return await request.body()


def _committed(session: Session, value: Any, call: Call) -> Response:
    """The answer, after a commit in the thread that did the work; another one would cost a tenth of a small call."""
    answer = json_response(value, headers=call.headers)
    session.commit()
    return answer


@router.post("/{kind}/push", summary="Push a batch of one kind", openapi_extra=PUSH_BODY)
def push(
    kind: Kind,
    body: Annotated[bytes, Depends(raw_body)],
    session: DbSession,
    call: Push,
    said: ClaimsDep,
) -> Response:
    """Answers with the authoritative documents that differ from the pushed ones; an empty list means all stand."""
    documents = service.push(session, caller=call.caller, kind=kind, body=body, claims=said)
    return _committed(session, documents, call)


@router.get("/{kind}/pull", summary="Documents since a checkpoint")
def pull(
    kind: Kind,
    session: DbSession,
    call: Pull,
    said: ClaimsDep,
    limit: Annotated[int, Query(ge=1, le=pull_room.MAX_LIMIT)] = 100,
    checkpoint: Annotated[str | None, Query(max_length=100_000)] = None,
) -> Response:
    page = pull_room.pull(
        session,
        caller=call.caller,
        kind=kind,
        checkpoint=read_checkpoint(checkpoint),
        limit=limit,
        claims=said,
    )
    return _committed(session, {"documents": page.documents, "checkpoint": page.checkpoint}, call)


@router.get("/{kind}/digest", summary="Count and hash of a collection, by grid")
def digest(
    kind: Kind,
    session: DbSession,
    call: Digest,
    said: ClaimsDep,
    grid_id: Annotated[str | None, Query(pattern="^[0-9]{15}$")] = None,
) -> Response:
    """What a replica of each held grid should hold (or of the one named), to be compared after a pull."""
    found = digest_room.digest(session, caller=call.caller, kind=kind, grid_id=grid_id, version=said.schema_version)
    return json_response(found, headers=call.headers)


@router.post("/receipt", summary="What of a device's holdings the server has", openapi_extra=RECEIPT_BODY)
def receipt(
    body: Annotated[bytes, Depends(raw_body)],
    session: DbSession,
    call: Receipt,
    said: ClaimsDep,
) -> Response:
    """The state of each item, in order, and whether the device is safe to wipe."""
    claimed = receipt_room.read_claims(body)
    found = receipt_room.receipt(session, caller=call.caller, claimed=claimed, version=said.schema_version)
    return json_response(found, headers=call.headers)


@router.get("/outcomes", summary="What became of this device's changes")
def outcomes(
    session: DbSession,
    call: Outcomes,
    since: Annotated[int, Query(ge=0, le=2**62)] = 0,
    limit: Annotated[int, Query(ge=1, le=outcomes_room.MAX_LIMIT)] = 100,
    held_since: UUID = outcomes_room.FIRST_ID,
    reviewed_since: Annotated[int, Query(ge=0, le=2**62)] = 0,
) -> Response:
    """`next` goes into the next `since`, `reviews_next` into the next `reviewed_since`, and `held_next`, where it is
    not null, into the next `held_since`."""
    page = outcomes_room.outcomes(
        session, caller=call.caller, since=since, limit=limit, held_since=held_since, reviewed_since=reviewed_since
    )
    return json_response(page, headers=call.headers)


@router.post("/outcomes/{conflict_id}/accept", summary="The collector agrees with the resolution of a conflict")
def accept(
    conflict_id: UUID, session: DbSession, caller: Annotated[Caller, Depends(allowed("sync.accept"))]
) -> Answered:
    return answers.accept(session, caller=caller, conflict_id=conflict_id)


@router.post("/outcomes/{conflict_id}/contest", summary="The collector does not agree: it is decided again, once")
def contest(
    conflict_id: UUID,
    body: Contested,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("sync.contest"))],
) -> Answered:
    return answers.contest(session, caller=caller, conflict_id=conflict_id, asked=body)


@router.get(
    "/stream",
    summary="Told when there is something to pull",
    status_code=200,
    response_class=EventStream,
    responses={200: {"content": {EventStream.media_type: {"schema": EVENT}}}},
)
async def stream(request: Request, call: Listen) -> Response:
    """Server-sent events: `resync` at once and after each change in a held grid, never documents; a heartbeat comment
    where nothing happens. Ends with the access token at the latest; the client opens it again with a fresh one."""
    caller = call.caller
    if caller.device_id is None or caller.session_id is None or caller.token_ends_at is None:
        raise Forbidden
    ends_at = min(caller.token_ends_at, now() + timedelta(seconds=get_settings().stream_seconds))
    follower = Follower(caller.session_id, caller.device_id, ends_at)
    return EventStream(request.app.state.streams, follower, headers=call.headers)
