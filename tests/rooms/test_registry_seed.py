"""Seeding a database: repeatable, never over what has happened since, and through the product's own import."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from backend.core.db import engine_for
from backend.core.enums import Role
from backend.core.settings import get_settings
from backend.models import Account, FeedCounter, Grid, RuleSet, ServerState
from backend.seed import load, synthetic
from backend.seed.accounts import seed_accounts
from backend.seed.drops import bad_rows
from backend.seed.territory import DEMO_GRIDS
from backend.services import registry
from backend.services.registry_specs import SPECS
from tests.people import posting_of


def test_seeding_again_changes_nothing_that_lives(session: Session) -> None:
    epoch = session.get_one(ServerState, "epoch").value
    grid = session.get_one(Grid, DEMO_GRIDS[0])
    grid.ends_at = datetime(2026, 6, 1, tzinfo=UTC)
    session.get_one(FeedCounter, DEMO_GRIDS[0]).seq = 7
    session.get_one(RuleSet, 1).rules = {"changed": True}
    session.flush()
    load.seed_code_tables(session)
    session.expire_all()
    assert session.get_one(ServerState, "epoch").value == epoch
    assert session.get_one(Grid, DEMO_GRIDS[0]).ends_at == datetime(2026, 6, 1, tzinfo=UTC)
    assert session.get_one(FeedCounter, DEMO_GRIDS[0]).seq == 7
    assert session.get_one(RuleSet, 1).rules == {"changed": True}


def test_seeding_again_brings_wording_up_to_date(session: Session) -> None:
    session.connection().execute(text("UPDATE case_queue SET name = 'old' WHERE code = '12345-4403'"))
    load.seed_code_tables(session)
    name = session.connection().execute(text("SELECT name FROM case_queue WHERE code = '12345-4403'")).scalar_one()
    assert name == "12345 市级队列"


def test_every_grid_has_a_feed_counter(session: Session) -> None:
    missing = session.connection().execute(
        text("SELECT count(*) FROM grid WHERE id NOT IN (SELECT grid_id FROM feed_counter)")
    )
    assert missing.scalar_one() == 0


def test_every_demo_login_is_an_account_with_its_role(session: Session) -> None:
    accounts = {account.login: account for account in session.exec(select(Account))}
    for login in load.demo_logins():
        posting = posting_of(accounts[login.login])
        assert (posting.role, posting.territory_code, posting.department_code, posting.ends_at) == (
            login.role,
            login.territory_code,
            login.department_code,
            None,
        )
        assert accounts[login.login].password_hash
    assert {login.role for login in load.demo_logins()} == set(Role)


def test_seeding_accounts_again_keeps_them_and_their_memberships(session: Session) -> None:
    def count() -> tuple[int, ...]:
        row = session.connection().execute(
            text("SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM membership)")
        )
        return tuple(row.one())

    before = count()
    seed_accounts(session)
    assert count() == before


def test_there_are_no_demo_accounts_in_production(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    session.connection().execute(text("UPDATE account SET login = 'kept-' || login"))
    production = get_settings().model_copy(update={"environment": "production"})
    monkeypatch.setattr("backend.seed.accounts.get_settings", lambda: production)
    seed_accounts(session)
    logins = session.exec(select(Account.login)).all()
    assert all(login.startswith("kept-") for login in logins)


def test_seed_all_loads_every_dataset_once(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    get_settings.cache_clear()
    steps: list[tuple[str, int, int]] = []
    for _ in range(2):
        load.seed_all(engine_for("zw_worker"), scale=0.002, progress=lambda *step: steps.append(step))
    with Session(engine_for("zw_worker")) as session:
        loaded = {dataset.code: snapshot for dataset, snapshot in registry.datasets(session)}
        snapshots = session.connection().execute(text("SELECT count(*) FROM snapshot")).scalar_one()
    assert snapshots == len(SPECS)
    for code, spec in SPECS.items():
        snapshot = loaded[code]
        assert snapshot is not None
        total = synthetic.count_of(code, 0.002)
        assert (snapshot.accepted, snapshot.rejected) == (total, len(bad_rows(spec)))
        # The rows there are: a progress bar that stops short of its end looks like a fault.
        assert (f"import {code}", total + len(bad_rows(spec)), total + len(bad_rows(spec))) in steps
