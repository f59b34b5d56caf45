"""Logging in, enrolling handhelds, and refreshing tokens."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from backend.api.deps import DbSession, allowed, public
from backend.api.fields import PlainText
from backend.services import devices, sessions
from backend.services.sessions import Caller

router = APIRouter(prefix="/auth/v1", tags=["登录 auth"])

Issuer = Annotated[Caller, Depends(allowed("auth.issue_code"))]


class Login(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"login": "supervisor", "password": "…"}]})

    login: Annotated[PlainText, Field(max_length=64)]
    password: Annotated[str, Field(max_length=256)]


class TokenPair(BaseModel):
    """`expires_in` counts seconds of the access token."""

    access_token: str
    refresh_token: str
    token_type: str = "Bearer"
    expires_in: int


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
def log_in(body: Login, session: DbSession, request: Request) -> TokenPair:
    address = request.client.host if request.client else ""
    return _pair(sessions.log_in(session, login=body.login, password=body.password, address=address))


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


def _pair(tokens: sessions.Tokens) -> TokenPair:
    return TokenPair(access_token=tokens.access_token, refresh_token=tokens.refresh_token, expires_in=tokens.expires_in)
