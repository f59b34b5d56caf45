"""What people do about their own login: sessions, password, second factor."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from backend.api.deps import DbSession, allowed
from backend.core.enums import Role
from backend.services import logins, sessions
from backend.services.sessions import Caller, Pending, SessionView

router = APIRouter(prefix="/auth/v1", tags=["登录 auth"])

Password = Annotated[str, Field(min_length=1, max_length=256)]


class Me(BaseModel):
    """Who this login is, by the posting in force; `pending` has to be done before anything else."""

    account_id: UUID
    role: Role
    territory_code: str
    department_code: str | None
    device_id: UUID | None
    session_id: UUID
    pending: Pending | None


class SessionShown(BaseModel):
    id: UUID
    device_id: UUID | None
    device_name: str | None
    created_at: datetime
    last_refreshed_at: datetime | None
    expires_at: datetime
    current: bool


class SessionList(BaseModel):
    """Sessions that have not ended, newest first."""

    sessions: list[SessionShown]


class Ended(BaseModel):
    ended: int


class PasswordChange(BaseModel):
    current: Password
    new: Password


class TotpStart(BaseModel):
    """`code`: of the second factor in use, or a recovery code, where there is one already."""

    code: Annotated[str | None, Field(max_length=32)] = None


class TotpSecret(BaseModel):
    """Shown this once. `uri` is for a QR code, `secret` (Base32) for typing."""

    secret: str
    uri: str


class TotpCode(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "123456"}]})

    code: Annotated[str, Field(pattern=r"^[0-9]{6}$")]


class RecoveryCodes(BaseModel):
    """Each opens the account once instead of a code of the app. Shown this once."""

    recovery_codes: list[str]


@router.get("/me", summary="Who am I 当前登录")
def me(caller: Annotated[Caller, Depends(allowed("auth.me"))]) -> Me:
    return Me.model_validate(caller, from_attributes=True)


@router.get("/sessions", summary="My sessions 我的会话")
def list_own(session: DbSession, caller: Annotated[Caller, Depends(allowed("auth.sessions"))]) -> SessionList:
    return sessions_of(sessions.listed(session, account_id=caller.account_id, current=caller.session_id))


@router.delete("/sessions/{session_id}", status_code=204, summary="End one of my sessions; this one: log out 退出")
def end_own(
    session: DbSession, caller: Annotated[Caller, Depends(allowed("auth.end_session"))], session_id: UUID
) -> None:
    sessions.end(session, actor=caller.account_id, account_id=caller.account_id, session_id=session_id)


@router.post("/sessions/end-others", summary="End all my sessions but this one 退出其他会话")
def end_others(session: DbSession, caller: Annotated[Caller, Depends(allowed("auth.end_others"))]) -> Ended:
    account_id = caller.account_id
    return Ended(ended=sessions.end_all(session, actor=account_id, account_id=account_id, sparing=caller.session_id))


@router.post("/password", status_code=204, summary="Change my password 修改密码")
def change_password(
    session: DbSession, caller: Annotated[Caller, Depends(allowed("auth.change_password"))], body: PasswordChange
) -> None:
    logins.change_password(session, caller=caller, current=body.current, new=body.new)


@router.post("/totp", summary="A secret for my authenticator app 申请绑定动态口令")
def start_totp(
    session: DbSession, caller: Annotated[Caller, Depends(allowed("auth.totp_enrol"))], body: TotpStart
) -> TotpSecret:
    started = logins.start_totp(session, caller=caller, code=body.code)
    return TotpSecret(secret=started.secret, uri=started.uri)


@router.post("/totp/confirm", summary="Switch the second factor on with a first code 启用动态口令")
def confirm_totp(
    session: DbSession, caller: Annotated[Caller, Depends(allowed("auth.totp_confirm"))], body: TotpCode
) -> RecoveryCodes:
    return RecoveryCodes(recovery_codes=logins.confirm_totp(session, caller=caller, code=body.code))


def sessions_of(found: Sequence[SessionView]) -> SessionList:
    """Sessions as they are shown, here and to security administrators."""
    return SessionList(sessions=[SessionShown.model_validate(one, from_attributes=True) for one in found])
