"""Synthetic people for tests: of rooms, made straight in the tables, and of routes, made by the administrators."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import object_session
from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.enums import Role
from backend.core.ids import new_id
from backend.models import Account, Posting
from backend.services.posting_rules import SEPARATE
from backend.services.sessions import Caller
from tests.world import Json, World


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


class Staff:
    """Office accounts as administrators make and use them, through the API."""

    def __init__(self, world: World) -> None:
        self.world, self.client = world, world.client

    def log_in(self, login: str, password: str, **more: Any) -> Any:
        return self.client.post("/auth/v1/login", json={"login": login, "password": password, **more})

    def headers(self, login: str, password: str, **more: Any) -> dict[str, str]:
        answer = self.log_in(login, password, **more)
        assert answer.status_code == 200, answer.text
        return bearer(answer.json())

    def make(self, role: Role, *, by: str | None = None, **posting: Any) -> Json:
        """A new account with `login` and, for an office, its `temporary_password`."""
        login = f"t-{new_id()}"
        by = by or ("security_admin" if role in SEPARATE else "system_admin")
        body = {
            "login": login,
            "display_name": "合成人员",
            "posting": {"role": role, "territory_code": "440310", **posting},
        }
        answer = self.client.post("/accounts/v1/accounts", json=body, headers=self.world.office(by))
        assert answer.status_code == 201, answer.text
        return {"login": login, **answer.json()}

    def ready(self, role: Role, **posting: Any) -> Json:
        """The same with a `password` of its own."""
        made = self.make(role, **posting)
        headers = self.headers(made["login"], made["temporary_password"])
        body = {"current": made["temporary_password"], "new": PASSPHRASE}
        assert self.client.post("/auth/v1/password", json=body, headers=headers).status_code == 204
        return {**made, "password": PASSPHRASE}


PASSPHRASE = "bridge lantern 7 orchard"


def bearer(tokens: Json) -> dict[str, str]:
    """The header of an access token."""
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def code_of(answer: Any) -> tuple[int, str]:
    """Status and code of a refusal."""
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
    return answer.status_code, answer.json()["code"]
