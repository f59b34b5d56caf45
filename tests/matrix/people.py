"""The people of the matrix: accounts with logins in every state, handhelds, postings and terms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy import update
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.enums import (
    Role,
)
from backend.core.ids import new_id
from backend.models import (
    Account,
    Device,
    Membership,
    Posting,
    SessionFamily,
)
from backend.seed.territory import DEMO_GRIDS
from backend.services.accounts import create_account
from backend.services.sessions import open_family
from tests.matrix.cells import Place, State
from tests.world import DeviceKey

STREET = DEMO_GRIDS[0][:9]
DEPARTMENT = "urban-management"
PASSWORD = "matrix-only-2026-passphrase"


@dataclass(frozen=True, slots=True)
class Person:
    """A caller: the account, the handheld if any, and a bearer token for each state of the login."""

    role: Role | None
    account_id: UUID = field(default_factory=new_id)
    login: str = ""
    device_id: UUID | None = None
    key: DeviceKey = field(default_factory=DeviceKey)
    tokens: Mapping[State, str] = field(default_factory=dict)
    refresh_token: str = ""

    def headers(self, state: State) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[state]}"} if self.tokens else {}

    def states(self) -> list[State]:
        return list(self.tokens) or [State.LIVE]


def person_of(session: Session, role: Role, *, territory: str = STREET, login: str = "") -> Person:
    login = login or f"matrix-{role.value}"
    account_id = _account(session, role, login, territory)
    inactive_id = _account(session, role, f"{login}-inactive", territory)
    key = DeviceKey()
    device_id = _device(session, account_id, key) if role is Role.GRID_WORKER else None
    live = open_family(session, account_id=account_id, device_id=device_id)
    tokens = {State.LIVE: live.access_token}
    tokens[State.ENDED] = open_family(session, account_id=account_id, device_id=device_id).access_token
    _end_newest(session, account_id)
    if device_id is not None:
        lost = _device(session, account_id, DeviceKey(), revoked=True)
        tokens[State.REVOKED] = open_family(session, account_id=account_id, device_id=lost).access_token
    tokens[State.INACTIVE] = open_family(session, account_id=inactive_id, device_id=None).access_token
    session.connection().execute(update(Account).where(col(Account.id) == inactive_id).values(active=False))
    return Person(role, account_id, login, device_id, key, tokens, live.refresh_token)


def _account(session: Session, role: Role, login: str, territory: str) -> UUID:
    department = DEPARTMENT if role is Role.HANDLER else None
    return create_account(
        session,
        actor="matrix",
        login=login,
        display_name="合成账号",
        role=role,
        password=PASSWORD,
        territory_code=territory,
        department_code=department,
    )


def _device(session: Session, account_id: UUID, key: DeviceKey, *, revoked: bool = False) -> UUID:
    moment = now()
    device = Device(
        id=new_id(),
        account_id=account_id,
        name="synthetic",
        public_key=key.jwk(),
        enrolled_at=moment,
        revoked_at=moment if revoked else None,
    )
    session.add(device)
    session.flush()
    return device.id


def _end_newest(session: Session, account_id: UUID) -> None:
    newest = select(SessionFamily).where(SessionFamily.account_id == account_id)
    family = session.exec(newest.order_by(col(SessionFamily.id).desc())).first()
    assert family is not None
    family.revoked_at = now()
    session.add(family)
    session.flush()


def terms(session: Session, worker: Person, grids: Mapping[Place, str]) -> None:
    """The worker holds one grid today and held another until yesterday."""
    moment = now()
    began = moment - timedelta(days=9)
    for place, ended in ((Place.HELD, None), (Place.PAST, moment - timedelta(days=1))):
        session.add(
            Membership(account_id=worker.account_id, grid_id=grids[place], epoch=1, starts_at=began, ends_at=ended)
        )
    session.flush()


def worker_of(session: Session, grid_id: str) -> Person:
    """A worker of the street or district that a place lies in, as an object for those who manage workers."""
    return person_of(session, Role.GRID_WORKER, territory=grid_id[:12], login=f"matrix-worker-{grid_id}")


def posting_of(session: Session, worker: Person) -> UUID:
    return session.exec(select(Posting.id).where(Posting.account_id == worker.account_id)).one()


def membership(session: Session, worker: Person, grid_id: str) -> UUID:
    """Beside the one of the scene's own worker."""
    term = Membership(account_id=worker.account_id, grid_id=grid_id, epoch=2, starts_at=now() - timedelta(days=1))
    session.add(term)
    session.flush()
    return term.id
