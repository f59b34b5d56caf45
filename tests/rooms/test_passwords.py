"""Passwords as accounts keep them: history, age, temporary ones, hashes that follow the parameters."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlmodel import Session, col, func, select

from backend.core.clock import now
from backend.core.db import engine_for
from backend.core.enums import Role
from backend.core.errors import TooManyRequests
from backend.core.settings import get_settings
from backend.models import Account, PastPassword
from backend.services import logins, passwords
from backend.services.accounts import create_account
from backend.services.logins import Attempt, LoginRefused
from backend.services.passwords import PasswordRefused, PasswordTooShort
from tests.people import PASSPHRASE, new_account

OTHERS = [f"orchard {number} bridge lantern" for number in range(9)]


def settings(monkeypatch: pytest.MonkeyPatch, **values: int) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name.upper(), str(value))
    get_settings.cache_clear()


@pytest.fixture
def person(api_session: Session) -> Account:
    account = new_account(api_session, Role.OPERATOR)
    passwords.set_password(api_session, account, PASSPHRASE)
    api_session.flush()
    return account


@pytest.fixture
def api_session(database: str) -> Iterator[Session]:
    """As the API's role, which changes passwords; rolled back."""
    with Session(engine_for("zw_api")) as session:
        yield session


def past(session: Session, person: Account) -> int:
    query = select(func.count()).select_from(PastPassword).where(col(PastPassword.account_id) == person.id)
    return session.exec(query).one()


def test_the_last_passwords_are_not_taken_again(
    api_session: Session, person: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings(monkeypatch, password_history=3)
    with pytest.raises(PasswordRefused) as refused:
        passwords.set_password(api_session, person, PASSPHRASE)
    assert refused.value.extra == {"because": "used_before"}
    for other in OTHERS[:2]:
        passwords.set_password(api_session, person, other)
        with pytest.raises(PasswordRefused):
            passwords.set_password(api_session, person, PASSPHRASE)
    passwords.set_password(api_session, person, OTHERS[2])
    assert past(api_session, person) == 2, "no more are kept than are compared"
    passwords.set_password(api_session, person, PASSPHRASE)


def test_the_shortest_length_is_a_setting(
    api_session: Session, person: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings(monkeypatch, password_min_length=20)
    with pytest.raises(PasswordTooShort) as refused:
        passwords.set_password(api_session, person, "quiet river 8 stone")
    assert refused.value.extra == {"min_length": 20}
    settings(monkeypatch, password_min_length=19)
    passwords.set_password(api_session, person, "quiet river 8 stone")


def test_a_password_with_the_login_or_the_name_is_refused(api_session: Session, person: Account) -> None:
    for name in (person.login, person.display_name):
        with pytest.raises(PasswordRefused) as refused:
            passwords.set_password(api_session, person, f"{name.upper()} by the river 88")
        assert refused.value.extra == {"because": "contains_name"}


def test_passwords_of_the_command_line_follow_the_policy(session: Session) -> None:
    with pytest.raises(PasswordRefused):
        create_account(session, actor="test", login="a", display_name="b", role=Role.OPERATOR, password="password-2026")


def test_an_old_password_is_due_by_setting_only(monkeypatch: pytest.MonkeyPatch) -> None:
    set_at = now() - timedelta(days=91)
    assert not passwords.is_due(set_at)
    settings(monkeypatch, password_max_age_days=90)
    assert passwords.is_due(set_at)
    assert not passwords.is_due(now() - timedelta(days=89))


def test_a_temporary_password_opens_nothing_after_its_time(api_session: Session, person: Account) -> None:
    given = passwords.give_temporary(api_session, person)
    attempt = Attempt(person.login, given, "192.0.2.1")
    assert logins.log_in(api_session, attempt).pending == "password_change"
    hours = get_settings().temporary_password_hours
    person.password_set_at = now() - timedelta(hours=hours, seconds=1)
    api_session.flush()
    with pytest.raises(LoginRefused):
        logins.log_in(api_session, attempt)


@pytest.mark.usefixtures("tuned_passwords")
def test_a_login_renews_a_hash_of_other_parameters(api_session: Session, person: Account) -> None:
    weak = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=1024, parallelism=1),)).hash(PASSPHRASE)
    person.password_hash = weak
    api_session.flush()
    logins.log_in(api_session, Attempt(person.login, PASSPHRASE, "192.0.2.1"))
    renewed = person.password_hash
    assert renewed != weak
    assert "m=19456,t=2" in str(renewed)
    logins.log_in(api_session, Attempt(person.login, PASSPHRASE, "192.0.2.1"))
    assert person.password_hash == renewed


def test_passwords_are_checked_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "LONGEST_WAIT_S", 0.01)
    with (
        passwords.password_turn(),
        passwords.password_turn(),
        pytest.raises(TooManyRequests),
        passwords.password_turn(),
    ):
        pass
    with passwords.password_turn():
        pass
