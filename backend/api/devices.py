"""Handhelds in reach: which there are, what waits on them, and the end of a lost one."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from backend.api.deps import DbSession, allowed
from backend.api.fields import After, Moment
from backend.services import devices
from backend.services.devices import DeviceState, DeviceView
from backend.services.sessions import Caller

router = APIRouter(prefix="/devices/v1", tags=["掌机 devices"])


class DeviceShown(BaseModel):
    """`waiting`: changes not sent yet, as the device last said. `wiping`: told to erase its store, not confirmed."""

    id: UUID
    account_id: UUID
    login: str
    name: str
    state: DeviceState
    enrolled_at: datetime
    last_seen_at: datetime | None
    waiting: int
    schema_version: int
    skew_ms: int
    revoked_at: datetime | None
    wipe_requested_at: datetime | None
    wipe_confirmed_at: datetime | None


class DeviceList(BaseModel):
    """`next` is the `before` of the following page, None on the last one."""

    devices: list[DeviceShown]
    next: UUID | None


@router.get("/devices", summary="Handhelds in reach 掌机列表")
def list_devices(
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("devices.list"))],
    account_id: UUID | None = None,
    state: DeviceState | None = None,
    waiting: Annotated[bool, Query(description="Only those with changes not sent yet")] = False,
    silent_since: Annotated[Moment | None, Query(description="Only those not heard of since then")] = None,
    before: After = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> DeviceList:
    found = devices.listed(
        session,
        caller=caller,
        account_id=account_id,
        state=state,
        waiting=waiting,
        silent_since=silent_since,
        before=before,
        limit=limit,
    )
    return DeviceList(devices=[_shown(one) for one in found], next=found[-1].device.id if len(found) == limit else None)


@router.post("/devices/{device_id}/revoke", summary="End a handheld for good 注销掌机")
def revoke_device(
    session: DbSession, caller: Annotated[Caller, Depends(allowed("devices.revoke"))], device_id: UUID
) -> DeviceShown:
    return _shown(devices.revoke(session, caller=caller, device_id=device_id, wipe=False))


@router.post("/devices/{device_id}/wipe", summary="End a handheld and have it erase its store 远程清除")
def wipe_device(
    session: DbSession, caller: Annotated[Caller, Depends(allowed("devices.wipe"))], device_id: UUID
) -> DeviceShown:
    return _shown(devices.revoke(session, caller=caller, device_id=device_id, wipe=True))


def _shown(found: DeviceView) -> DeviceShown:
    told = found.device.model_dump(include=set(DeviceShown.model_fields))
    return DeviceShown(**told, login=found.login, state=found.state)
