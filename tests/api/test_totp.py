"""The second factor: enrolling, logging in with it, and what is never taken."""

from base64 import b32decode
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlalchemy import text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.db import engine_for
from backend.core.enums import Role
from backend.core.settings import get_settings
from backend.services import totp
from backend.services.login_limits import PER_CHANGE, PER_CODE
from tests.people import PASSPHRASE, Staff, bearer, code_of
from tests.world import Json, World

START = now()


class App:
    """An authenticator app, with a clock of the test's own that the server shares."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.secret, self.moment = b"", START
        monkeypatch.setattr(totp, "now", lambda: self.moment)

    def scan(self, secret: str) -> None:
        self.secret = b32decode(secret)

    def code(self, steps: int = 0) -> str:
        """The code of now, or of some steps from now."""
        made = TOTP(self.secret, 6, SHA1(), 30).generate(int(self.moment.timestamp()) + 30 * steps)
        return made.decode()

    def wait(self, steps: int = 1) -> None:
        self.moment += timedelta(seconds=30 * steps)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    return App(monkeypatch)


@pytest.fixture
def staff(world: World) -> Staff:
    return Staff(world)


def enrol(staff: Staff, app: App, headers: dict[str, str], code: str | None = None) -> Any:
    started = staff.client.post("/auth/v1/totp", json={"code": code}, headers=headers)
    assert started.status_code == 200, started.text
    app.scan(started.json()["secret"])
    return staff.client.post("/auth/v1/totp/confirm", json={"code": app.code()}, headers=headers)


@pytest.fixture
def person(staff: Staff, app: App) -> Json:
    """An operator with a second factor, its first code just used."""
    made = staff.ready(Role.OPERATOR)
    done = enrol(staff, app, staff.headers(made["login"], PASSPHRASE))
    assert done.status_code == 200, done.text
    return {**made, **done.json()}


def log_in(staff: Staff, person: Json, code: str | None = None, **more: Any) -> Any:
    return staff.log_in(person["login"], PASSPHRASE, code=code, **more)


def test_the_second_factor_is_asked_for_after_the_password_only(staff: Staff, app: App, person: Json) -> None:
    assert code_of(log_in(staff, person)) == (401, "totp_required")
    assert code_of(staff.log_in(person["login"], "wrong", code=app.code())) == (401, "login_refused")
    app.wait()
    answer = log_in(staff, person, app.code())
    assert answer.status_code == 200
    assert answer.json()["pending"] is None


@pytest.mark.parametrize(("steps", "taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_one_step_around_now_is_taken(staff: Staff, app: App, person: Json, steps: int, taken: bool) -> None:
    app.wait(5)
    assert log_in(staff, person, app.code(steps)).status_code == (200 if taken else 401)


def test_a_code_is_good_once_and_nothing_before_it_any_more(staff: Staff, app: App, person: Json) -> None:
    first = app.code()
    assert code_of(log_in(staff, person, first)) == (401, "totp_refused"), "it confirmed the enrolment"
    app.wait(2)
    assert log_in(staff, person, app.code()).status_code == 200
    assert code_of(log_in(staff, person, app.code())) == (401, "totp_refused")
    assert code_of(log_in(staff, person, app.code(-1))) == (401, "totp_refused")
    assert log_in(staff, person, app.code(1)).status_code == 200


def test_recovery_codes_open_once_each(staff: Staff, person: Json) -> None:
    codes = person["recovery_codes"]
    assert len(set(codes)) == 10
    assert log_in(staff, person, codes[0]).status_code == 200
    assert code_of(log_in(staff, person, codes[0])) == (401, "totp_refused")
    assert log_in(staff, person, codes[1].lower().replace("-", " ")).status_code == 200
    other = staff.ready(Role.OPERATOR)
    assert log_in(staff, other, codes[2]).status_code == 200, "an account without a second factor needs no code"


def test_wrong_codes_are_counted_and_a_known_client_still_gets_in(staff: Staff, app: App, person: Json) -> None:
    app.wait(5)
    known = log_in(staff, person, app.code()).json()["known_client"]
    app.wait(5)
    for _ in range(PER_CODE.failures):
        assert code_of(log_in(staff, person, "000000")) == (401, "totp_refused")
    assert code_of(log_in(staff, person, app.code())) == (429, "rate_limited")
    assert log_in(staff, person, app.code(), known_client=known).status_code == 200


def test_neither_secret_nor_recovery_codes_can_be_read_from_the_database(staff: Staff, app: App, person: Json) -> None:
    with Session(engine_for("zw_worker")) as session:
        stored = str(session.connection().execute(text("SELECT * FROM second_factor")).all())
        stored += str(session.connection().execute(text("SELECT * FROM recovery_code")).all())
    assert app.secret.hex() not in stored
    assert str(app.secret)[2:-1] not in stored
    for code in person["recovery_codes"]:
        assert code not in stored
        assert code.replace("-", "") not in stored


def test_switching_it_on_ends_the_sessions_opened_without_it(staff: Staff, app: App) -> None:
    made = staff.ready(Role.OPERATOR)
    here, elsewhere = (staff.headers(made["login"], PASSPHRASE) for _ in range(2))
    assert enrol(staff, app, here).status_code == 200
    assert staff.client.get("/auth/v1/me", headers=here).status_code == 200
    assert code_of(staff.client.get("/auth/v1/me", headers=elsewhere)) == (401, "unauthenticated")


def test_a_first_code_has_to_be_right_and_a_secret_asked_for(staff: Staff, app: App) -> None:
    headers = staff.headers(staff.ready(Role.OPERATOR)["login"], PASSPHRASE)
    confirm = "/auth/v1/totp/confirm"
    assert code_of(staff.client.post(confirm, json={"code": "123456"}, headers=headers)) == (409, "totp_not_started")
    started = staff.client.post("/auth/v1/totp", json={}, headers=headers).json()
    assert started["uri"].startswith("otpauth://totp/")
    app.scan(started["secret"])
    wrong = f"{(int(app.code()) + 1) % 1_000_000:06}"
    assert code_of(staff.client.post(confirm, json={"code": wrong}, headers=headers)) == (403, "totp_code_wrong")
    assert staff.client.get("/auth/v1/me", headers=headers).status_code == 200, "the login stands"


def test_a_new_secret_needs_a_code_of_the_old_one_which_counts_until_then(staff: Staff, app: App, person: Json) -> None:
    app.wait(5)
    headers = bearer(log_in(staff, person, app.code()).json())
    for code in (None, "000000", app.code()):
        answer = staff.client.post("/auth/v1/totp", json={"code": code}, headers=headers)
        assert code_of(answer) == (403, "totp_code_wrong"), "none, a wrong one, and a used one"
    app.wait(5)
    old = app.secret
    started = staff.client.post("/auth/v1/totp", json={"code": app.code()}, headers=headers)
    assert started.status_code == 200
    app.wait(5)
    assert log_in(staff, person, app.code()).status_code == 200, "the old one still counts"
    app.scan(started.json()["secret"])
    done = staff.client.post("/auth/v1/totp/confirm", json={"code": app.code()}, headers=headers)
    assert done.status_code == 200
    app.wait(5)
    assert log_in(staff, person, app.code()).status_code == 200
    app.secret = old
    assert code_of(log_in(staff, person, app.code())) == (401, "totp_refused")
    assert code_of(log_in(staff, person, person["recovery_codes"][0])) == (401, "totp_refused")


def test_where_it_is_required_a_login_without_is_good_for_enrolling_only(
    staff: Staff, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = staff.ready(Role.OPERATOR)
    monkeypatch.setenv("TOTP_REQUIRED", "true")
    get_settings.cache_clear()
    answer = staff.log_in(made["login"], PASSPHRASE)
    assert answer.json()["pending"] == "totp_enrolment"
    headers = bearer(answer.json())
    for path in ("/reference/v1/territory", "/auth/v1/sessions", "/cases/v1/queues"):
        assert code_of(staff.client.get(path, headers=headers)) == (403, "totp_enrolment_required")
    change = {"current": PASSPHRASE, "new": "another lantern 9 orchard"}
    refused = staff.client.post("/auth/v1/password", json=change, headers=headers)
    assert code_of(refused) == (403, "totp_enrolment_required")
    assert staff.client.get("/auth/v1/me", headers=headers).json()["pending"] == "totp_enrolment"
    assert enrol(staff, app, headers).status_code == 200
    assert staff.client.get("/reference/v1/territory", headers=headers).status_code == 200


def test_handhelds_need_no_second_factor(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    handheld = world.handheld()
    monkeypatch.setenv("TOTP_REQUIRED", "true")
    get_settings.cache_clear()
    assert world.client.get("/sync/v1/outcomes", headers=handheld.headers).status_code == 200


@pytest.mark.parametrize(
    ("environment", "setting", "needed"),
    [
        ("production", "auto", True),
        ("development", "auto", False),
        ("production", "false", False),
        ("test", "true", True),
    ],
)
def test_it_is_required_in_production_unless_said_otherwise(environment: str, setting: str, needed: bool) -> None:
    changed = get_settings().model_copy(update={"environment": environment, "totp_required": setting})
    assert changed.needs_totp() is needed


def test_a_lost_second_factor_is_taken_off_by_who_grants_the_role(staff: Staff, app: App, person: Json) -> None:
    app.wait(5)
    headers = bearer(log_in(staff, person, app.code()).json())
    path = f"/accounts/v1/accounts/{person['account_id']}/reset-totp"
    assert code_of(staff.client.post(path, headers=staff.world.office("security_admin"))) == (403, "grant_refused")
    assert staff.client.post(path, headers=staff.world.office("system_admin")).status_code == 204
    assert code_of(staff.client.get("/auth/v1/me", headers=headers)) == (401, "unauthenticated")
    assert log_in(staff, person).status_code == 200


def test_codes_can_not_be_tried_out_at_the_door_that_changes_the_factor(staff: Staff, app: App, person: Json) -> None:
    app.wait(5)
    headers = bearer(log_in(staff, person, app.code()).json())
    tries = [
        code_of(staff.client.post("/auth/v1/totp", json={"code": "000000"}, headers=headers))
        for _ in range(PER_CHANGE.failures + 1)
    ]
    assert tries[0] != (429, "rate_limited")
    assert tries[-1] == (429, "rate_limited")
    assert log_in(staff, person, app.code(1)).status_code == 200, "the count closes this door only"
