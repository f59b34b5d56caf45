"""Logging in, enrolling handhelds, and refreshing tokens."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from backend.api.deps import DbSession, allowed, public
from backend.api.fields import PlainText
from backend.api.limits import address_of
from backend.services import devices, logins, sessions
from backend.services.sessions import Caller, Pending

router = APIRouter(prefix="/auth/v1", tags=["登录 auth"])

Issuer = Annotated[Caller, Depends(allowed("auth.issue_code"))]


class Login(BaseModel):
    """`code`: of the authenticator app, or a recovery code, where the account has a second factor. `known_client`: what
    the last login of this account on this client gave; it keeps wrong passwords of others from slowing this one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"login": "supervisor", "password": "…"}]})

    login: Annotated[PlainText, Field(max_length=64)]
    password: Annotated[str, Field(max_length=256)]
    code: Annotated[str | None, Field(max_length=32)] = None
    known_client: Annotated[str | None, Field(max_length=256)] = None


class TokenPair(BaseModel):
    """`expires_in` counts seconds of the access token."""

    access_token: str
    refresh_token: str
    token_type: str = "Bearer"
    expires_in: int


class LoggedIn(TokenPair):
    """`pending`: what this login is good for until it is done: `password_change` or `totp_enrolment`."""

    pending: Pending | None
    known_client: str


class WipeConfirmation(BaseModel):
    """`proof`: a JWT signed with the device key (ES256) with `aud` zhiwang and `wipe`, the device's id."""

    device_id: UUID
    proof: Annotated[str, Field(max_length=4096)]


class CodeRequest(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"login": "worker-01"}]})

    login: Annotated[PlainText, Field(max_length=64)]


class Code(BaseModel):
    code: str
    expires_at: datetime


class Enrolment(BaseModel):
    """`public_key` is the device's ES256 key as JWK; the private half never leaves the device."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": "7KQ2M9XTPA4C",
                    "device_name": "网格终端 07",
                    "public_key": {"kty": "EC", "crv": "P-256", "x": "…", "y": "…"},
                }
            ]
        }
    )

    code: Annotated[str, Field(max_length=32)]
    device_name: Annotated[PlainText, Field(min_length=1, max_length=64)]
    public_key: dict[str, Any]


class Enrolled(TokenPair):
    device_id: UUID
    account_id: UUID


class Refresh(BaseModel):
    """`proof`: for handhelds, a JWT signed with the device key (ES256) with `aud` zhiwang and `rt`, the refresh token
    itself. Its times are not looked at: a handheld's clock may be wrong."""

    refresh_token: Annotated[str, Field(max_length=512)]
    proof: Annotated[str | None, Field(max_length=4096)] = None


@router.post("/login", dependencies=[Depends(public("auth.login"))], summary="Office login by password")
def log_in(body: Login, session: DbSession, request: Request) -> LoggedIn:
    attempt = logins.Attempt(address=address_of(request.scope), **body.model_dump())
    done = logins.log_in(session, attempt)
    return LoggedIn(**_pair(done.tokens).model_dump(), pending=done.pending, known_client=done.known_client)


@router.post("/enrolment-codes", status_code=201, summary="A one-time code for a worker's handheld")
def issue_code(body: CodeRequest, session: DbSession, caller: Issuer) -> Code:
    issued = devices.issue_code(session, caller=caller, login=body.login)
    return Code(code=issued.code, expires_at=issued.expires_at)


@router.post(
    "/enrol",
    status_code=201,
    dependencies=[Depends(public("auth.enrol"))],
    summary="Bind a handheld with a one-time code",
)
def enrol(body: Enrolment, session: DbSession) -> Enrolled:
    device, tokens = devices.enrol(session, code=body.code, name=body.device_name, public_key=body.public_key)
    return Enrolled(**_pair(tokens).model_dump(), device_id=device.id, account_id=device.account_id)


@router.post("/refresh", dependencies=[Depends(public("auth.refresh"))], summary="The next pair of tokens")
def refresh(body: Refresh, session: DbSession) -> TokenPair:
    return _pair(sessions.refresh(session, refresh_token=body.refresh_token, proof=body.proof))


@router.post(
    "/wipe-confirmed",
    dependencies=[Depends(public("auth.wipe_confirmed"))],
    status_code=204,
    summary="A handheld says that it has erased its local store",
)
def confirm_wipe(body: WipeConfirmation, session: DbSession) -> None:
    devices.confirm_wipe(session, device_id=body.device_id, proof=body.proof)


def _pair(tokens: sessions.Tokens) -> TokenPair:
    return TokenPair(access_token=tokens.access_token, refresh_token=tokens.refresh_token, expires_in=tokens.expires_in)
