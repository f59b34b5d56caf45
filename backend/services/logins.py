"""Office logins: password, second factor, and what a person does about both."""

from dataclasses import dataclass

from sqlmodel import Session, select

from backend.core.enums import Role
from backend.core.errors import Unauthenticated, ZhiwangError
from backend.models import Account
from backend.services import audit, login_limits, passwords, postings, sessions, totp
from backend.services.sessions import Caller, Pending, Tokens


class LoginRefused(Unauthenticated):
    """Wrong login or password; which of the two is not told."""

    code = "login_refused"
    title_zh = "账号或密码不正确"
    title_en = "Wrong login or password"


class PasswordWrong(ZhiwangError):
    """Not a 401: the login stands, only the password that was typed does not."""

    code = "password_wrong"
    status = 403
    title_zh = "当前密码不正确"
    title_en = "The current password is wrong"


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """`pending` is what this login is good for until it is done; `known_client` comes along with the next login."""

    tokens: Tokens
    pending: Pending | None
    known_client: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a person typed, and where it came from."""

    login: str
    password: str
    address: str
    code: str | None = None
    known_client: str | None = None


def log_in(session: Session, attempt: Attempt) -> LoggedIn:
    """Start a session of an office account. `LoginRefused` otherwise, also for grid workers; `TotpRequired` and
    `TotpRefused` where the account has a second factor; `TooManyRequests` where too many failed (`login_limits`).
    """
    with passwords.password_turn():
        account = session.exec(select(Account).where(Account.login == attempt.login)).first()
        client = _known_client(account, attempt)
        counts = login_limits.of_login(address=attempt.address, login=attempt.login, client=client)
        login_limits.check(session, counts)
        right = passwords.password_matches(attempt.password, account.password_hash if account else None)
        role = _office_role(session, account)
        if account is None or not right or role is None:
            login_limits.note(session, counts)
            raise LoginRefused
        _still_stands(session, account)
        has_factor = totp.is_on(session, account.id)
        if has_factor:
            _check_code(
                session, account, attempt, [*counts, *login_limits.of_code(account_id=account.id, client=client)]
            )
        if newer := passwords.rehashed(attempt.password, account.password_hash or ""):
            account.password_hash = newer
    audit.record(session, actor=str(account.id), action="login", object_type="account", object_id=str(account.id))
    return LoggedIn(
        tokens=sessions.open_family(session, account_id=account.id, device_id=None),
        pending=sessions.pending(
            role, temporary=account.password_temporary, set_at=account.password_set_at, has_factor=has_factor
        ),
        known_client=client or login_limits.known_client(account.id),
    )


def change_password(session: Session, *, caller: Caller, current: str, new: str) -> None:
    """The caller's own new password; all other sessions of the account end. `PasswordWrong`, or what the policy says.

    Wrong ones are counted by account: who gets here holds an access token, and the count closes this door only.
    """
    counts = [login_limits.counted(login_limits.PER_CHANGE, caller.account_id.hex)]
    with passwords.password_turn():
        login_limits.check(session, counts)
        account = session.exec(select(Account).where(Account.id == caller.account_id).with_for_update()).one()
        if not passwords.password_matches(current, account.password_hash):
            login_limits.note(session, counts)
            raise PasswordWrong
        passwords.set_password(session, account, new)
    session.flush()
    audit.record(
        session, actor=str(account.id), action="password_changed", object_type="account", object_id=str(account.id)
    )
    _end_others(session, caller, reason="password_changed")


def start_totp(session: Session, *, caller: Caller, code: str | None) -> totp.Enrolment:
    """A secret for the caller's authenticator app; `code` of the one in use, where there is one.

    Wrong ones are counted as in `change_password`: six digits could be tried out by who finds an open browser.
    """
    counts = [login_limits.counted(login_limits.PER_CHANGE, "totp", caller.account_id.hex)]
    login_limits.check(session, counts)
    try:
        return totp.start(session, account=session.get_one(Account, caller.account_id), code=code)
    except totp.CodeWrong:
        login_limits.note(session, counts)
        raise


def confirm_totp(session: Session, *, caller: Caller, code: str) -> list[str]:
    """Switch the second factor on; sessions opened without it end. Gives the recovery codes."""
    codes = totp.confirm(session, account_id=caller.account_id, code=code)
    _end_others(session, caller, reason="totp_on")
    return codes


def _end_others(session: Session, caller: Caller, *, reason: str) -> None:
    sessions.end_all(
        session, actor=caller.account_id, account_id=caller.account_id, reason=reason, sparing=caller.session_id
    )


def _still_stands(session: Session, account: Account) -> None:
    """Keep the account as it is until the end of the login; a password changed while it was checked is the wrong one.

    Else a login with the old password would outlive the change that ends all others.
    """
    checked = account.password_hash
    session.refresh(account, with_for_update=True)
    if account.password_hash != checked:
        raise LoginRefused


def _known_client(account: Account | None, attempt: Attempt) -> str | None:
    if account is None or attempt.known_client is None:
        return None
    return attempt.known_client if login_limits.knows(attempt.known_client, account.id) else None


def _office_role(session: Session, account: Account | None) -> Role | None:
    """The role of an account that may log in by password: active, posted, no grid worker, its password not stale."""
    posting = postings.current(session, account.id) if account else None
    if account is None or posting is None or posting.role is Role.GRID_WORKER:
        return None
    return posting.role if account.active and not passwords.is_stale(account) else None


def _check_code(session: Session, account: Account, attempt: Attempt, counts: list[login_limits.Counted]) -> None:
    if not attempt.code:
        raise totp.TotpRequired
    login_limits.check(session, counts)
    if not totp.accept(session, account_id=account.id, code=attempt.code):
        login_limits.note(session, counts)
        raise totp.TotpRefused
