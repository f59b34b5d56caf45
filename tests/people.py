"""Accounts for tests of rooms, made straight in the tables: synthetic people, each with one posting in force."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import object_session
from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.enums import Role
from backend.core.ids import new_id
from backend.models import Account, Posting
from backend.services.sessions import Caller


def new_account(session: Session, role: Role, **scope: Any) -> Account:
    """An account posted since yesterday."""
    account = Account(login=f"t-{new_id()}", display_name="synthetic", created_at=now())
    session.add(account)
    session.flush()
    starts_at = now() - timedelta(days=1)
    session.add(Posting(account_id=account.id, role=role, starts_at=starts_at, granted_by="test", **scope))
    session.flush()
    return account


def posting_of(account: Account) -> Posting:
    """The one posting of such an account, or of a demo account."""
    session = object_session(account)
    assert session is not None
    return session.execute(select(Posting).where(Posting.account_id == account.id)).scalars().one()


def accounts_of(session: Session, role: Role) -> list[Account]:
    """Accounts that were posted with a role, by login."""
    query = select(Account).join(Posting).where(Posting.role == role).order_by(Account.login)
    return list(session.exec(query))


def caller_of(account: Account, device_id: UUID | None = None) -> Caller:
    """The caller such an account is."""
    posting = posting_of(account)
    return Caller(account.id, posting.role, device_id, posting.territory_code, posting.department_code)
