"""Accounts, their postings, and which grids workers hold: what administrators and supervisors do."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from backend.api.deps import DbSession, allowed
from backend.api.fields import Moment, PlainText
from backend.api.sessions import SessionList, sessions_of
from backend.core.enums import Role
from backend.models import Membership, Posting
from backend.services import accounts, memberships
from backend.services.accounts import AccountView, Wanted
from backend.services.sessions import Caller

router = APIRouter(prefix="/accounts/v1", tags=["人员 people"])

Code = Annotated[str, Field(pattern=r"^[0-9]{0,12}$")]


class NewPosting(BaseModel):
    """Without `starts_at` it begins now; a posting that runs then ends. `territory_code` is a division prefix."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "supervisor", "territory_code": "440310"}]})

    role: Role
    territory_code: Code = ""
    department_code: Annotated[PlainText | None, Field(max_length=32)] = None
    starts_at: Moment | None = None
    ends_at: Moment | None = None


class NewAccount(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "login": "zhang-ping",
                    "display_name": "张平（合成）",
                    "posting": {"role": "grid_worker", "territory_code": "440310"},
                }
            ]
        }
    )

    login: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,63}$")]
    display_name: Annotated[PlainText, Field(min_length=1, max_length=64)]
    posting: NewPosting


class AccountMade(BaseModel):
    """`temporary_password` is shown this once; grid workers have none and enrol a handheld."""

    account_id: UUID
    temporary_password: str | None


class TemporaryPassword(BaseModel):
    temporary_password: str


class PostingShown(BaseModel):
    id: UUID
    role: Role
    territory_code: str
    department_code: str | None
    starts_at: datetime
    ends_at: datetime | None
    granted_by: str


class AccountShown(BaseModel):
    """`posting` is the one in force, else the newest one."""

    id: UUID
    login: str
    display_name: str
    active: bool
    second_factor: bool
    temporary_password: bool
    created_at: datetime
    posting: PostingShown


class AccountInFull(AccountShown):
    postings: list[PostingShown]


class AccountList(BaseModel):
    """`next` is the `after` of the following page, None on the last one."""

    accounts: list[AccountShown]
    next: str | None


class Ending(BaseModel):
    """Without `ends_at` it ends now."""

    ends_at: Moment | None = None


class NewMembership(Ending):
    model_config = ConfigDict(json_schema_extra={"examples": [{"grid_id": "440310001001001"}]})

    grid_id: Annotated[str, Field(pattern=r"^[0-9]{15}$")]
    starts_at: Moment | None = None


class MembershipShown(BaseModel):
    id: UUID
    account_id: UUID
    grid_id: str
    epoch: int
    starts_at: datetime
    ends_at: datetime | None


class MembershipList(BaseModel):
    memberships: list[MembershipShown]


class SessionsEnded(BaseModel):
    ended: int


@router.get("/accounts", summary="Accounts in reach 账号列表")
def list_accounts(
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("accounts.list"))],
    role: Role | None = None,
    text: Annotated[PlainText | None, Query(max_length=64, description="Part of a login or name")] = None,
    after: Annotated[PlainText | None, Query(max_length=64, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> AccountList:
    found = accounts.listed(session, caller=caller, role=role, text=text, after=after, limit=limit)
    return AccountList(
        accounts=[AccountShown(**_account(one)) for one in found],
        next=found[-1].account.login if len(found) == limit else None,
    )


@router.post("/accounts", status_code=201, summary="Make an account 新建账号")
def create_account(
    session: DbSession, caller: Annotated[Caller, Depends(allowed("accounts.create"))], body: NewAccount
) -> AccountMade:
    made = accounts.make(
        session, caller=caller, login=body.login, display_name=body.display_name, wanted=_wanted(body.posting)
    )
    return AccountMade(account_id=made.account_id, temporary_password=made.temporary_password)


@router.get("/accounts/{account_id}", summary="One account with all its postings 账号与任职记录")
def read_account(
    session: DbSession, caller: Annotated[Caller, Depends(allowed("accounts.read"))], account_id: UUID
) -> AccountInFull:
    found = accounts.view(session, caller=caller, account_id=account_id)
    history = accounts.postings_of(session, caller=caller, account_id=account_id)
    return AccountInFull(**_account(found), postings=[_posting(one) for one in history])


@router.post("/accounts/{account_id}/postings", status_code=201, summary="Post an account anew 任职")
def post_account(
    session: DbSession, caller: Annotated[Caller, Depends(allowed("accounts.post"))], account_id: UUID, body: NewPosting
) -> PostingShown:
    return _posting(accounts.post(session, caller=caller, account_id=account_id, wanted=_wanted(body)))


@router.post("/accounts/{account_id}/postings/{posting_id}/end", summary="End a posting 免职")
def end_posting(
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("accounts.end_posting"))],
    account_id: UUID,
    posting_id: UUID,
    body: Ending,
) -> PostingShown:
    ended = accounts.end_posting(
        session, caller=caller, account_id=account_id, posting_id=posting_id, ends_at=body.ends_at
    )
    return _posting(ended)


@router.post("/accounts/{account_id}/deactivate", status_code=204, summary="Lock an account out 停用")
def deactivate(
    session: DbSession, caller: Annotated[Caller, Depends(allowed("accounts.deactivate"))], account_id: UUID
) -> None:
    accounts.set_active(session, caller=caller, account_id=account_id, active=False)


@router.post("/accounts/{account_id}/activate", status_code=204, summary="Let an account in again 启用")
def activate(
    session: DbSession, caller: Annotated[Caller, Depends(allowed("accounts.activate"))], account_id: UUID
) -> None:
    accounts.set_active(session, caller=caller, account_id=account_id, active=True)


@router.post("/accounts/{account_id}/reset-password", summary="A temporary password 重置密码")
def reset_password(
    session: DbSession, caller: Annotated[Caller, Depends(allowed("accounts.reset_password"))], account_id: UUID
) -> TemporaryPassword:
    return TemporaryPassword(temporary_password=accounts.reset_password(session, caller=caller, account_id=account_id))


@router.post("/accounts/{account_id}/reset-totp", status_code=204, summary="Take the second factor off 解绑动态口令")
def reset_totp(
    session: DbSession, caller: Annotated[Caller, Depends(allowed("accounts.reset_totp"))], account_id: UUID
) -> None:
    accounts.reset_totp(session, caller=caller, account_id=account_id)


@router.get("/accounts/{account_id}/sessions", summary="Sessions of an account 登录会话")
def list_sessions(
    session: DbSession, caller: Annotated[Caller, Depends(allowed("accounts.sessions"))], account_id: UUID
) -> SessionList:
    return sessions_of(accounts.sessions_of(session, caller=caller, account_id=account_id))


@router.post("/accounts/{account_id}/end-sessions", summary="End sessions of an account 终止会话")
def end_sessions(
    session: DbSession, caller: Annotated[Caller, Depends(allowed("accounts.end_sessions"))], account_id: UUID
) -> SessionsEnded:
    return SessionsEnded(ended=accounts.end_sessions(session, caller=caller, account_id=account_id))


@router.get("/memberships", summary="Who holds which grid 网格任期")
def list_memberships(
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("memberships.list"))],
    grid_id: Annotated[str | None, Query(pattern=r"^[0-9]{15}$")] = None,
    account_id: UUID | None = None,
    past: Annotated[Literal["true", "false"], Query(description="Also terms that are over")] = "false",
) -> MembershipList:
    found = memberships.listed(session, caller=caller, grid_id=grid_id, account_id=account_id, past=past == "true")
    return MembershipList(memberships=[_membership(one) for one in found])


@router.post("/accounts/{account_id}/memberships", status_code=201, summary="Give a worker a grid 分配网格")
def open_membership(
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("memberships.open"))],
    account_id: UUID,
    body: NewMembership,
) -> MembershipShown:
    return _membership(memberships.open_membership(session, caller=caller, account_id=account_id, **body.model_dump()))


@router.post("/memberships/{membership_id}/end", summary="Take a grid back 收回网格")
def end_membership(
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("memberships.end"))],
    membership_id: UUID,
    body: Ending,
) -> MembershipShown:
    return _membership(
        memberships.end_membership(session, caller=caller, membership_id=membership_id, ends_at=body.ends_at)
    )


def _wanted(body: NewPosting) -> Wanted:
    return Wanted(**body.model_dump())


def _account(found: AccountView) -> dict[str, Any]:
    account = found.account
    return {
        "id": account.id,
        "login": account.login,
        "display_name": account.display_name,
        "active": account.active,
        "second_factor": found.has_totp,
        "temporary_password": account.password_temporary,
        "created_at": account.created_at,
        "posting": _posting(found.posting),
    }


def _posting(posting: Posting) -> PostingShown:
    return PostingShown.model_validate(posting, from_attributes=True)


def _membership(membership: Membership) -> MembershipShown:
    return MembershipShown.model_validate(membership, from_attributes=True)
