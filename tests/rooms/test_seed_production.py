"""What a production deployment is seeded with: code tables and territory, and nothing synthetic about people."""

import pytest
from sqlalchemy import text
from sqlmodel import Session
from typer.testing import CliRunner

from backend.cli import app
from backend.core.db import engine_for
from backend.core.enums import Role
from backend.core.settings import get_settings
from backend.seed.accounts import DEMO_PASSWORD
from backend.seed.load import demo_logins, seed_accounts, seed_all
from backend.services.accounts import LoginTaken, create_account
from backend.services.logins import Attempt, log_in
from backend.services.passwords import PasswordTooShort


def _count(table: str) -> int:
    with Session(engine_for("zw_worker")) as session:
        return int(session.connection().execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


@pytest.mark.parametrize(("environment", "loaded"), [("production", False), ("development", True)])
def test_only_outside_production_synthetic_records_are_loaded(
    database: str, monkeypatch: pytest.MonkeyPatch, environment: str, loaded: bool
) -> None:
    monkeypatch.setenv("ENVIRONMENT", environment)
    get_settings.cache_clear()
    accounts = _count("account")
    seed_all(engine_for("zw_worker"), scale=0.001, progress=lambda *_: None)
    assert (_count("business_record") > 0) is loaded
    assert _count("territory_unit") == 877
    assert _count("account") == accounts == len(demo_logins()), "the template had them; production adds none"


DEVELOPMENT = {"ENVIRONMENT": "development"}


@pytest.mark.parametrize(
    ("settings", "made"),
    [
        (DEVELOPMENT, True),
        (DEVELOPMENT | {"HOST": "::1"}, True),
        (DEVELOPMENT | {"HOST": "localhost"}, True),
        (DEVELOPMENT | {"DEMO": "false"}, False),
        (DEVELOPMENT | {"HOST": "0.0.0.0"}, False),
        (DEVELOPMENT | {"HOST": "grid.example.org"}, False),
        ({"ENVIRONMENT": "production"}, False),
        ({"HOST": "0.0.0.0"}, True),
    ],
)
def test_accounts_with_the_public_password_are_made_only_where_nobody_else_can_reach_them(
    session: Session, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], made: bool
) -> None:
    session.connection().execute(text("UPDATE account SET login = 'before-' || login"))
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    seed_accounts(session)
    found = session.connection().execute(text("SELECT count(*) FROM account WHERE login NOT LIKE 'before-%'"))
    assert found.scalar_one() == (len(demo_logins()) if made else 0)
    said = CliRunner().invoke(app, ["demo-logins"]).output
    assert (DEMO_PASSWORD in said) is made
    assert ("没有演示账号" in said) is not made


def test_an_account_made_by_hand_logs_in_and_its_name_is_taken(database: str) -> None:
    def make(password: str) -> None:
        with Session(engine_for("zw_worker")) as session:
            create_account(
                session, actor="test", login="first", display_name="x", role=Role.SYSTEM_ADMIN, password=password
            )
            session.commit()

    with pytest.raises(PasswordTooShort):
        make("short")
    make("long enough for this")
    with Session(engine_for("zw_api")) as session:
        assert log_in(session, Attempt("first", "long enough for this", "127.0.0.1")).tokens.access_token
    with pytest.raises(LoginTaken):
        make("long enough for this")
