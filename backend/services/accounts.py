"""Accounts of office staff and grid workers, as an administrator makes them."""

from uuid import UUID

from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.enums import Role
from backend.core.errors import ZhiwangError
from backend.core.ids import new_id
from backend.models import Account
from backend.services import audit
from backend.services.passwords import hash_password

SHORTEST_PASSWORD = 12


class LoginTaken(ZhiwangError):
    code = "login_taken"
    status = 409
    title_zh = "该账号已存在"
    title_en = "An account with this login exists"


class PasswordTooShort(ZhiwangError):
    code = "password_too_short"
    status = 422
    title_zh = f"密码至少需要 {SHORTEST_PASSWORD} 个字符"
    title_en = f"A password needs at least {SHORTEST_PASSWORD} characters"


def create_account(
    session: Session,
    *,
    actor: str,
    login: str,
    display_name: str,
    role: Role,
    password: str,
    territory_code: str = "",
    department_code: str | None = None,
) -> UUID:
    """A new account. `territory_code` is a division prefix, empty for the whole city."""
    if len(password) < SHORTEST_PASSWORD:
        raise PasswordTooShort
    if session.exec(select(Account.id).where(Account.login == login)).first() is not None:
        raise LoginTaken
    account = Account(
        id=new_id(),
        login=login,
        display_name=display_name,
        role=role,
        password_hash=hash_password(password),
        territory_code=territory_code,
        department_code=department_code,
        created_at=now(),
    )
    session.add(account)
    session.flush()
    audit.record(
        session,
        actor=actor,
        action="account_created",
        object_type="account",
        object_id=str(account.id),
        role=role.value,
    )
    return account.id
