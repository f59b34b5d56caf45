"""Sessions and passwords as their owners handle them, and what ends a login."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session

from backend.core.db import engine_for
from backend.core.enums import Role
from backend.core.settings import get_settings
from backend.services.login_limits import PER_CHANGE, PER_LOGIN
from tests.people import PASSPHRASE, Staff, bearer, code_of
from tests.world import Json, World

NEW = "another river 8 orchard"


@pytest.fixture
def staff(world: World) -> Staff:
    return Staff(world)


@pytest.fixture
def person(staff: Staff) -> Json:
    return staff.ready(Role.OPERATOR)


def change(staff: Staff, headers: dict[str, str], current: str, new: str) -> Any:
    return staff.client.post("/auth/v1/password", json={"current": current, "new": new}, headers=headers)


def is_in(staff: Staff, headers: dict[str, str]) -> bool:
    answer = staff.client.get("/auth/v1/me", headers=headers)
    return answer.status_code == 200 or code_of(answer) != (401, "unauthenticated")


def pass_time(statement: str, by: timedelta) -> None:
    with Session(engine_for("zw_api")) as session:
        session.connection().execute(text(statement), {"by": by})
        session.commit()


def test_ones_own_sessions_are_listed_and_ended_one_by_one(staff: Staff, person: Json) -> None:
    here, there = (staff.headers(person["login"], PASSPHRASE) for _ in range(2))
    listed = staff.client.get("/auth/v1/sessions", headers=here).json()["sessions"]
    assert [one["current"] for one in listed] == [False, True, False], "newest first; the first changed the password"
    assert staff.client.delete(f"/auth/v1/sessions/{listed[0]['id']}", headers=here).status_code == 204
    assert not is_in(staff, there)
    assert is_in(staff, here)
    again = staff.client.delete(f"/auth/v1/sessions/{listed[0]['id']}", headers=here)
    assert code_of(again) == (404, "not_found")


def test_nobody_ends_another_persons_session(staff: Staff, person: Json) -> None:
    mine = staff.headers(person["login"], PASSPHRASE)
    session_id = staff.client.get("/auth/v1/me", headers=mine).json()["session_id"]
    other = staff.headers(staff.ready(Role.OPERATOR)["login"], PASSPHRASE)
    assert code_of(staff.client.delete(f"/auth/v1/sessions/{session_id}", headers=other)) == (404, "not_found")
    assert is_in(staff, mine)


def test_all_others_end_at_once(staff: Staff, person: Json) -> None:
    here, *others = (staff.headers(person["login"], PASSPHRASE) for _ in range(3))
    assert staff.client.post("/auth/v1/sessions/end-others", headers=here).json() == {"ended": 3}
    assert is_in(staff, here)
    assert not any(is_in(staff, other) for other in others)


def test_logging_out_ends_the_refresh_token_too(staff: Staff, person: Json) -> None:
    tokens = staff.log_in(person["login"], PASSPHRASE).json()
    session_id = staff.client.get("/auth/v1/me", headers=bearer(tokens)).json()["session_id"]
    assert staff.client.delete(f"/auth/v1/sessions/{session_id}", headers=bearer(tokens)).status_code == 204
    answer = staff.client.post("/auth/v1/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert code_of(answer) == (401, "unauthenticated")


def test_the_security_administrator_ends_the_sessions_of_anyone(staff: Staff, person: Json) -> None:
    mine = staff.headers(person["login"], PASSPHRASE)
    security = staff.world.office("security_admin")
    path = f"/accounts/v1/accounts/{person['account_id']}"
    assert len(staff.client.get(f"{path}/sessions", headers=security).json()["sessions"]) == 2
    assert staff.client.post(f"{path}/end-sessions", headers=security).json() == {"ended": 2}
    assert not is_in(staff, mine)
    assert staff.client.get(f"{path}/sessions", headers=security).json() == {"sessions": []}


def test_an_office_login_ends_at_its_hour_however_often_it_is_refreshed(staff: Staff, person: Json) -> None:
    tokens = staff.log_in(person["login"], PASSPHRASE).json()
    refreshed = staff.client.post("/auth/v1/refresh", json={"refresh_token": tokens["refresh_token"]}).json()
    hours = timedelta(hours=get_settings().office_session_hours)
    pass_time("UPDATE session_family SET expires_at = expires_at - :by", hours)
    assert not is_in(staff, bearer(refreshed))
    answer = staff.client.post("/auth/v1/refresh", json={"refresh_token": refreshed["refresh_token"]})
    assert code_of(answer) == (401, "unauthenticated")


def test_a_handheld_that_refreshes_in_time_stays_enrolled(world: World) -> None:
    handheld = world.handheld()
    days = get_settings().refresh_token_days

    def refreshed(tokens: Json) -> Any:
        token = tokens["refresh_token"]
        body = {"refresh_token": token, "proof": handheld.key.proof(token)}
        return world.client.post("/auth/v1/refresh", json=body)

    tokens = handheld.tokens
    for _ in range(3):
        pass_time("UPDATE session_family SET expires_at = expires_at - :by", timedelta(days=days - 1))
        answer = refreshed(tokens)
        assert answer.status_code == 200, answer.text
        tokens = answer.json()
    pass_time("UPDATE session_family SET expires_at = expires_at - :by", timedelta(days=days))
    assert code_of(refreshed(tokens)) == (401, "unauthenticated")


def test_a_locked_account_gets_in_by_no_door(staff: Staff, person: Json) -> None:
    """Also where somebody locks it in the table and forgets its sessions."""
    tokens = staff.log_in(person["login"], PASSPHRASE).json()
    with Session(engine_for("zw_api")) as session:
        lock = text("UPDATE account SET active = false WHERE login = :login")
        session.connection().execute(lock, {"login": person["login"]})
        session.commit()
    assert not is_in(staff, bearer(tokens))
    answer = staff.client.post("/auth/v1/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert code_of(answer) == (401, "unauthenticated")
    assert code_of(staff.log_in(person["login"], PASSPHRASE)) == (401, "login_refused")


def test_a_new_password_ends_the_other_sessions_and_the_old_password(staff: Staff, person: Json) -> None:
    here, there = (staff.headers(person["login"], PASSPHRASE) for _ in range(2))
    assert change(staff, here, PASSPHRASE, NEW).status_code == 204
    assert is_in(staff, here)
    assert not is_in(staff, there)
    assert code_of(staff.log_in(person["login"], PASSPHRASE)) == (401, "login_refused")
    assert staff.log_in(person["login"], NEW).status_code == 200


def test_a_password_is_changed_by_who_knows_the_current_one_and_follows_the_policy(staff: Staff, person: Json) -> None:
    here = staff.headers(person["login"], PASSPHRASE)
    assert code_of(change(staff, here, "wrong", NEW)) == (403, "password_wrong")
    assert is_in(staff, here), "the login stands"
    assert code_of(change(staff, here, PASSPHRASE, "short")) == (422, "password_too_short")
    for weak, because in (("password-2026", "too_common"), (PASSPHRASE, "used_before")):
        refused = change(staff, here, PASSPHRASE, weak)
        assert code_of(refused) == (422, "password_refused")
        assert refused.json()["because"] == because


def test_who_found_an_open_browser_can_not_try_out_passwords(staff: Staff, person: Json) -> None:
    here = staff.headers(person["login"], PASSPHRASE)
    for _ in range(PER_CHANGE.failures):
        assert code_of(change(staff, here, "wrong", NEW)) == (403, "password_wrong")
    assert code_of(change(staff, here, PASSPHRASE, NEW)) == (429, "rate_limited")
    assert staff.log_in(person["login"], PASSPHRASE).status_code == 200, "logging in is another door"


def test_a_temporary_password_is_good_for_changing_it_only(staff: Staff) -> None:
    made = staff.make(Role.SUPERVISOR)
    answer = staff.log_in(made["login"], made["temporary_password"])
    assert answer.json()["pending"] == "password_change"
    headers = bearer(answer.json())
    for method, path in (("GET", "/cases/v1/queues"), ("POST", "/auth/v1/totp"), ("GET", "/auth/v1/sessions")):
        refused = staff.client.request(method, path, headers=headers, json={} if method == "POST" else None)
        assert code_of(refused) == (403, "password_change_required")
    assert change(staff, headers, made["temporary_password"], PASSPHRASE).status_code == 204
    assert staff.client.get("/cases/v1/queues", headers=headers).status_code == 200


def test_an_old_password_has_to_be_changed_first(staff: Staff, person: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = staff.headers(person["login"], PASSPHRASE)
    monkeypatch.setenv("PASSWORD_MAX_AGE_DAYS", "90")
    get_settings.cache_clear()
    assert staff.client.get("/cases/v1/queues", headers=headers).status_code == 200
    pass_time("UPDATE account SET password_set_at = password_set_at - :by", timedelta(days=91))
    assert code_of(staff.client.get("/cases/v1/queues", headers=headers)) == (403, "password_change_required")


def test_many_wrong_passwords_are_refused_before_they_are_checked(staff: Staff) -> None:
    wrong = [code_of(staff.log_in("flooded", "wrong")) for _ in range(PER_LOGIN.failures)]
    assert wrong == [(401, "login_refused")] * PER_LOGIN.failures
    refused = staff.log_in("flooded", "wrong")
    assert code_of(refused) == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert staff.world.office("supervisor"), "others at the same address log in"


def test_a_flood_on_ones_login_from_ones_own_address_does_not_stop_a_known_client(staff: Staff, person: Json) -> None:
    known = staff.log_in(person["login"], PASSPHRASE).json()["known_client"]
    for _ in range(PER_LOGIN.failures):
        staff.log_in(person["login"], "wrong")
    assert code_of(staff.log_in(person["login"], PASSPHRASE)) == (429, "rate_limited")
    answer = staff.log_in(person["login"], PASSPHRASE, known_client=known)
    assert answer.status_code == 200
    assert answer.json()["known_client"] == known


def test_right_passwords_are_not_counted(staff: Staff, person: Json) -> None:
    answers = {staff.log_in(person["login"], PASSPHRASE).status_code for _ in range(PER_LOGIN.failures + 2)}
    assert answers == {200}
