"""Accounts of office staff and grid workers, as administrators make and keep them.

Who may do what to whom is in `posting_rules`: nobody changes his own account, and each of the administrators only
accounts whose role he grants. An account is in a caller's reach when its standing posting lies in his territory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, or_

from backend.core.clock import now
from backend.core.enums import Reach, Role
from backend.core.errors import NotFound, ZhiwangError
from backend.core.ids import new_id
from backend.models import Account, Department, Posting, SecondFactor
from backend.services import audit, passwords, posting_rules, postings, sessions, totp
from backend.services.passwords import check_policy, hash_password
from backend.services.scope import below, is_below, sees_whole_city
from backend.services.sessions import Caller, SessionView


class LoginTaken(ZhiwangError):
    code = "login_taken"
    status = 409
    title_zh = "该账号已存在"
    title_en = "An account with this login exists"


class GrantRefused(ZhiwangError):
    """`because`: `own_account`, `not_yours` (the role is another administrator's to give), `no_password` (a worker)."""

    code = "grant_refused"
    status = 403
    title_zh = "无权管理该角色的账号，也不能更改本人的账号"
    title_en = "This account's role is not yours to give, or the account is your own"


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account with its standing posting, by which it is administered whether or not that is in force."""

    account: Account
    posting: Posting
    has_totp: bool


@dataclass(frozen=True, slots=True)
class NewAccount:
    """`temporary_password` is shown this once, and has to be changed at the first login; workers get none."""

    account_id: UUID
    temporary_password: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a posting is to be."""

    role: Role
    territory_code: str = ""
    department_code: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None


def create_account(
    session: Session,
    *,
    actor: str,
    login: str,
    display_name: str,
    role: Role,
    password: str | None,
    territory_code: str = "",
    department_code: str | None = None,
) -> UUID:
    """A new account with its first posting, as the command line makes it: no question who asks.

    `territory_code` is a division prefix, empty for the whole city. `LoginTaken`, or what the password policy says.
    """
    if password is not None:
        check_policy(password, names=(login, display_name))
    account = _insert(session, login=login, display_name=display_name)
    if password is not None:
        account.password_hash, account.password_set_at = hash_password(password), account.created_at
    session.flush()
    _record(session, actor, "account_created", account.id, role=role.value)
    postings.add(
        session,
        actor=actor,
        account_id=account.id,
        role=role,
        territory_code=territory_code,
        department_code=department_code,
    )
    return account.id


def make(session: Session, *, caller: Caller, login: str, display_name: str, wanted: Wanted) -> NewAccount:
    """A new account by an administrator. `GrantRefused` for a role he does not give, `NotFound` for a foreign place."""
    _check_grant(session, caller, wanted, others=[])
    account = _insert(session, login=login, display_name=display_name)
    password = None
    if wanted.role is not Role.GRID_WORKER:
        with passwords.password_turn():
            password = passwords.give_temporary(session, account)
    session.flush()
    _record(session, str(caller.account_id), "account_created", account.id, role=wanted.role.value)
    _post(session, caller, account.id, wanted)
    return NewAccount(account.id, password)


def listed(
    session: Session, *, caller: Caller, role: Role | None, text: str | None, after: str | None, limit: int
) -> list[AccountView]:
    """Accounts in the caller's reach by login, from `after` on; `text` is part of a login or name."""
    posting: Any = aliased(Posting, postings.standing())
    query = _in_reach(caller, posting).order_by(col(Account.login)).limit(limit)
    if after is not None:
        query = query.where(col(Account.login) > after)
    if role is not None:
        query = query.where(posting.role == role)
    if text:
        parts = (col(Account.login), col(Account.display_name))
        query = query.where(or_(*(part.icontains(text, autoescape=True) for part in parts)))
    return [_view(row) for row in session.execute(query)]


def view(session: Session, *, caller: Caller, account_id: UUID) -> AccountView:
    """One account; `NotFound` outside the caller's reach."""
    posting: Any = aliased(Posting, postings.standing())
    row = session.execute(_in_reach(caller, posting).where(col(Account.id) == account_id)).first()
    if row is None:
        raise NotFound
    return _view(row)


def postings_of(session: Session, *, caller: Caller, account_id: UUID) -> Sequence[Posting]:
    """All postings of an account in reach, newest first."""
    return postings.history(session, view(session, caller=caller, account_id=account_id).account.id)


def post(session: Session, *, caller: Caller, account_id: UUID, wanted: Wanted) -> Posting:
    """Give an account another posting. Roles that run or are to come have to be the caller's to give, too."""
    found = _for_change(session, caller, account_id)
    _check_grant(session, caller, wanted, others=_roles_ahead(session, found))
    return _post(session, caller, account_id, wanted)


def end_posting(
    session: Session, *, caller: Caller, account_id: UUID, posting_id: UUID, ends_at: datetime | None
) -> Posting:
    """End a posting, now or at a moment to come."""
    _for_change(session, caller, account_id)
    posting = session.get(Posting, posting_id)
    if posting is None or posting.account_id != account_id:
        raise NotFound
    _check_roles(caller, [posting.role])
    postings.finish(session, posting, actor=str(caller.account_id), ends_at=ends_at)
    return posting


def set_active(session: Session, *, caller: Caller, account_id: UUID, active: bool) -> None:
    """Lock an account out, with all its sessions, or let it in again. Only who grants its role lets it in."""
    found = _for_change(session, caller, account_id)
    may = posting_rules.may_grant(caller.role, [found.posting.role])
    if not (may if active else posting_rules.may_lock(caller.role, found.posting.role)):
        raise GrantRefused(because="not_yours")
    found.account.active = active
    session.flush()
    if not active:
        sessions.end_all(session, actor=caller.account_id, account_id=account_id, reason="account_locked")
    _record(session, str(caller.account_id), "account_unlocked" if active else "account_locked", account_id)


def reset_password(session: Session, *, caller: Caller, account_id: UUID) -> str:
    """A temporary password for who forgot his; all sessions of the account end. The second factor stays."""
    found = _for_change(session, caller, account_id)
    _check_roles(caller, [found.posting.role])
    if found.posting.role is Role.GRID_WORKER:
        raise GrantRefused(because="no_password")
    with passwords.password_turn():
        password = passwords.give_temporary(session, found.account)
    session.flush()
    sessions.end_all(session, actor=caller.account_id, account_id=account_id, reason="password_reset")
    _record(session, str(caller.account_id), "password_reset", account_id)
    return password


def reset_totp(session: Session, *, caller: Caller, account_id: UUID) -> None:
    """Take the second factor off for who lost it; all sessions of the account end. The password stays."""
    found = _for_change(session, caller, account_id)
    _check_roles(caller, [found.posting.role])
    totp.reset(session, actor=caller.account_id, account_id=account_id)
    sessions.end_all(session, actor=caller.account_id, account_id=account_id, reason="totp_reset")


def sessions_of(session: Session, *, caller: Caller, account_id: UUID) -> list[SessionView]:
    """The running sessions of an account in reach."""
    return sessions.listed(session, account_id=view(session, caller=caller, account_id=account_id).account.id)


def end_sessions(session: Session, *, caller: Caller, account_id: UUID) -> int:
    """End all sessions of an account in reach; gives how many that were."""
    found = view(session, caller=caller, account_id=account_id)
    return sessions.end_all(session, actor=caller.account_id, account_id=found.account.id, reason="ended_by_security")


def in_territory(posting: Any, caller: Caller) -> Any:
    """A condition on a posting (or an alias of it): that it lies in the caller's territory."""
    return below(posting.territory_code, caller)


def _in_reach(caller: Caller, posting: Any) -> Select[Any]:
    """Supervisors see the grid workers of their territory; who reaches `any` sees all accounts."""
    query = (
        select(Account, posting, col(SecondFactor.confirmed_at))
        .join(posting, posting.account_id == Account.id)
        .join(SecondFactor, col(SecondFactor.account_id) == Account.id, isouter=True)
    )
    if caller.role is Role.SUPERVISOR:
        query = query.where(posting.role == Role.GRID_WORKER)
    return query if Reach.ANY in caller.reach else query.where(in_territory(posting, caller))


def _view(row: Any) -> AccountView:
    account, posting, confirmed_at = row
    return AccountView(account, posting, confirmed_at is not None)


def _for_change(session: Session, caller: Caller, account_id: UUID) -> AccountView:
    if account_id == caller.account_id:
        raise GrantRefused(because="own_account")
    return view(session, caller=caller, account_id=account_id)


def _roles_ahead(session: Session, found: AccountView) -> list[Role]:
    """The roles an account holds or is to hold."""
    moment = now()
    history = postings.history(session, found.account.id)
    return [one.role for one in history if one.ends_at is None or one.ends_at > max(moment, one.starts_at)]


def _check_roles(caller: Caller, roles: list[Role]) -> None:
    if not posting_rules.may_grant(caller.role, roles):
        raise GrantRefused(because="not_yours")


def _check_grant(session: Session, caller: Caller, wanted: Wanted, *, others: list[Role]) -> None:
    """Nobody gives a territory wider than his own, nor a department that works beyond it, unless his reach is `any`.

    A handler sees what was sent to his department wherever it lies, so the department counts like a territory.
    """
    _check_roles(caller, [wanted.role, *others])
    if Reach.ANY in caller.reach:
        return
    if not is_below(wanted.territory_code, caller):
        raise NotFound("territory_code")
    department = session.get(Department, wanted.department_code) if wanted.department_code else None
    if department is None or sees_whole_city(caller):
        return
    if not is_below(department.territory_code, caller):
        raise NotFound("department_code")


def _post(session: Session, caller: Caller, account_id: UUID, wanted: Wanted) -> Posting:
    return postings.add(
        session,
        actor=str(caller.account_id),
        account_id=account_id,
        role=wanted.role,
        territory_code=wanted.territory_code,
        department_code=wanted.department_code,
        starts_at=wanted.starts_at,
        ends_at=wanted.ends_at,
    )


def _insert(session: Session, *, login: str, display_name: str) -> Account:
    if session.execute(select(col(Account.id)).where(col(Account.login) == login)).first() is not None:
        raise LoginTaken
    account = Account(id=new_id(), login=login, display_name=display_name, created_at=now())
    session.add(account)
    return account


def _record(session: Session, actor: str, action: str, account_id: UUID, **detail: str) -> None:
    audit.record(session, actor=actor, action=action, object_type="account", object_id=str(account_id), **detail)
