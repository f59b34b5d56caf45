"""Demo accounts: one of each office role, and twenty grid workers for the demo day.

Their password is public, so there are none in production, with `DEMO=false`, or where the API listens on more than
the loopback address.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.enums import Role
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import Account, Membership, Posting
from backend.seed.territory import DEMO_DISTRICT, DEMO_GRIDS
from backend.services.passwords import hash_password

DEMO_PASSWORD = "zhiwang-demo-2026"
"""Shown on the screen by `make run`. One for all, so that seeding hashes once."""

CITY = "4403"
WORKERS = 20
TERM_BEGAN = timedelta(days=30)
HAND_OVER = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class DemoLogin:
    """An account of the demo. `grid_id` is the grid a worker holds; `note` says in Chinese what to try with it."""

    login: str
    password: str
    role: Role
    display_name: str
    note: str
    territory_code: str = CITY
    department_code: str | None = None
    grid_id: str | None = None


def demo_logins() -> list[DemoLogin]:
    """All demo logins, office accounts first, as seeding makes them where it may. Names are synthetic."""
    return [*_office(), *_workers()]


def seed_accounts(session: Session) -> None:
    """Write the demo accounts, and who holds which grid, where the settings allow them. Safe to repeat.

    Repeating moves the end of the hand-over on, so that the demo day works on any day.
    """
    if not get_settings().demo_accounts():
        return
    moment, password_hash = now(), hash_password(DEMO_PASSWORD)
    logins = demo_logins()
    rows = [
        {
            "id": new_id(),
            "login": login.login,
            "display_name": login.display_name,
            "password_hash": password_hash,
            "password_temporary": False,
            "password_set_at": moment,
            "active": True,
            "created_at": moment,
        }
        for login in logins
    ]
    accounts: Table = Account.__table__  # type: ignore[attr-defined]
    session.connection().execute(insert(accounts).on_conflict_do_nothing(index_elements=["login"]), rows)
    found = session.exec(select(Account.login, Account.id).where(col(Account.login).in_([one.login for one in logins])))
    ids = dict(found.all())
    _seed_postings(session, logins, ids)
    _seed_memberships(session, [login for login in logins if login.grid_id], ids)


def _seed_postings(session: Session, logins: list[DemoLogin], ids: dict[str, UUID]) -> None:
    """A posting for each account that never had one: what an administrator changed since then stays."""
    posted = set(session.exec(select(Posting.account_id).distinct()))
    moment = now()
    session.add_all(
        Posting(
            account_id=ids[login.login],
            role=login.role,
            territory_code=login.territory_code,
            department_code=login.department_code,
            starts_at=moment - TERM_BEGAN,
            granted_by="seed",
        )
        for login in logins
        if ids[login.login] not in posted
    )
    session.flush()


def _seed_memberships(session: Session, workers: list[DemoLogin], ids: dict[str, UUID]) -> None:
    """The first ten workers hand their grids over to the next ten (交接班): for a while both hold them."""
    moment = now()
    rows: list[dict[str, Any]] = [
        {
            "id": new_id(),
            "account_id": ids[worker.login],
            "grid_id": worker.grid_id,
            "epoch": 1 + position // len(DEMO_GRIDS),
            "starts_at": moment - TERM_BEGAN,
            "ends_at": moment + HAND_OVER if position < len(DEMO_GRIDS) else None,
        }
        for position, worker in enumerate(workers)
    ]
    memberships: Table = Membership.__table__  # type: ignore[attr-defined]
    statement = insert(memberships)
    statement = statement.on_conflict_do_update(
        index_elements=["account_id", "grid_id", "epoch"], set_={"ends_at": statement.excluded.ends_at}
    )
    session.connection().execute(statement, rows)


def _office() -> Iterator[DemoLogin]:
    def login(name: str, role: Role, title: str, note: str, **scope: str) -> DemoLogin:
        return DemoLogin(name, DEMO_PASSWORD, role, title, note, **scope)

    yield login("supervisor", Role.SUPERVISOR, "市级督办员", "看全市 12345 队列：认领、派遣、结案；处理冲突与待审数据")
    yield login("supervisor-pingshan", Role.SUPERVISOR, "坪山区督办员", "只看坪山区队列", territory_code=DEMO_DISTRICT)
    yield login("operator", Role.OPERATOR, "12345 坐席员", "受理来件", department_code="hotline")
    yield login("dispatcher", Role.DISPATCHER, "派遣员", "把案件派给责任单位", department_code="hotline")
    yield login("handler-police", Role.HANDLER, "公安经办人", "核查人口信息", department_code="public-security")
    yield login("handler-urban", Role.HANDLER, "城管经办人", "处置市容事件", department_code="urban-management")
    yield login(
        "handler-street",
        Role.HANDLER,
        "坪山街道经办人",
        "处置街道案件",
        territory_code="440310001",
        department_code="street-440310001",
    )
    yield login("steward", Role.STEWARD, "数据管理员", "导入业务数据，查看被退回的行；核实部门字段，合并重复记录")
    yield login("portal", Role.DECLARATION_CHANNEL, "自主申报渠道", "市民服务平台的系统账号：提交、撤回、查询自主申报")
    yield login("auditor", Role.AUDITOR, "审计员", "本版本暂无界面")
    yield login("security", Role.SECURITY_ADMIN, "安全管理员", "管理三员账号，停用账号，终止会话，远程注销掌机")
    yield login("admin", Role.SYSTEM_ADMIN, "系统管理员", "建立账号与网格任期，为网格员签发掌机绑定码")


def _workers() -> Iterator[DemoLogin]:
    for number in range(WORKERS):
        grid_id = DEMO_GRIDS[number % len(DEMO_GRIDS)]
        yield DemoLogin(
            f"worker{number + 1:02d}",
            DEMO_PASSWORD,
            Role.GRID_WORKER,
            f"网格员{number + 1:02d}",
            "持掌机采集",
            territory_code=DEMO_DISTRICT,
            grid_id=grid_id,
        )
