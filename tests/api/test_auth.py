"""Logging in, enrolling, refreshing: who holds a token, and what ends a login."""

import json
import warnings
from base64 import b64encode
from datetime import timedelta
from typing import Any

import jwt
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from jwt.warnings import InsecureKeyLengthWarning
from sqlalchemy import text
from sqlalchemy.exc import DataError
from sqlmodel import Session

from backend.api import problems
from backend.api.deps import if_match
from backend.core.db import engine_for
from backend.core.errors import ZhiwangError
from backend.services.tokens import ACCESS_TYPE, AUDIENCE, token_key
from tests.world import DeviceKey, World


def _code(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"].startswith("application/problem+json")
    return answer.status_code, answer.json()["code"]


def _refresh(world: World, tokens: Any, key: DeviceKey | None) -> Any:
    token = tokens["refresh_token"]
    body = {"refresh_token": token, "proof": key.proof(token) if key else None}
    return world.client.post("/auth/v1/refresh", json=body)


def test_wrong_password_and_unknown_login_answer_alike(world: World) -> None:
    answers = [
        world.client.post("/auth/v1/login", json={"login": login, "password": "wrong"})
        for login in (next(iter(world.logins)), "nobody")
    ]
    assert [_code(answer) for answer in answers] == [(401, "login_refused")] * 2
    assert answers[0].json() == answers[1].json()


def test_grid_workers_log_in_by_an_enrolled_handheld_only(world: World) -> None:
    worker = world.logins[world.workers()[0]]
    answer = world.client.post("/auth/v1/login", json={"login": worker.login, "password": worker.password})
    assert _code(answer) == (401, "login_refused")


@pytest.mark.parametrize("odd", ["a\x00b", "a\nb", "\x7f", "\ud800"])
def test_text_that_can_not_be_stored_is_malformed(untouched_world: World, odd: str) -> None:
    office = untouched_world.office("supervisor")
    calls = [
        ("/auth/v1/login", {"login": odd, "password": "x"}),
        ("/auth/v1/enrolment-codes", {"login": odd}),
        ("/auth/v1/enrol", {"code": "AAAAAAAAAAAA", "device_name": odd, "public_key": DeviceKey().jwk()}),
    ]
    for path, body in calls:
        content = json.dumps(body)
        answer = untouched_world.client.post(
            path, content=content, headers={**office, "Content-Type": "application/json"}
        )
        assert _code(answer) == (422, "malformed"), path


@pytest.mark.parametrize("part", ["\x00", "汉", "", 5, None, [], "a" * 5000])
def test_a_public_key_of_odd_parts_is_malformed(untouched_world: World, part: Any) -> None:
    key = {**DeviceKey().jwk(), "x": part}
    answer = untouched_world.client.post(
        "/auth/v1/enrol", json={"code": "A" * 12, "device_name": "a", "public_key": key}
    )
    assert _code(answer) == (422, "malformed")


def test_what_the_database_can_not_hold_is_malformed_also_where_a_route_forgot_to_check() -> None:
    app = FastAPI()
    problems.install(app)

    @app.get("/{text}")
    def forgetful(text: str) -> None:
        raise DataError("SELECT :text", {"text": text}, ValueError("NUL"))

    assert _code(TestClient(app).get("/绝密")) == (422, "malformed")


@pytest.mark.parametrize(
    ("header", "code"), [("9" * 5000, "malformed"), ("x", "version_required"), ("²", "version_required")]
)
def test_a_version_that_can_not_be_one_is_refused(header: str, code: str) -> None:
    with pytest.raises(ZhiwangError) as refused:
        if_match(f'W/"{header}"')
    assert refused.value.code == code


def test_an_enrolment_code_works_once(world: World) -> None:
    issued = world.client.post(
        "/auth/v1/enrolment-codes", json={"login": world.workers()[0]}, headers=world.office("supervisor")
    ).json()
    body = {"code": issued["code"], "device_name": "a", "public_key": DeviceKey().jwk()}
    assert world.client.post("/auth/v1/enrol", json=body).status_code == 201
    assert _code(world.client.post("/auth/v1/enrol", json=body)) == (401, "enrolment_refused")


def test_an_enrolment_needs_a_real_public_key(world: World) -> None:
    for key in ({"kty": "RSA"}, {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {}):
        answer = world.client.post(
            "/auth/v1/enrol", json={"code": "AAAAAAAAAAAA", "device_name": "a", "public_key": key}
        )
        assert _code(answer) == (422, "malformed")


def test_only_supervisors_issue_codes(world: World) -> None:
    handheld = world.handheld()
    answer = world.client.post("/auth/v1/enrolment-codes", json={"login": world.workers()[0]}, headers=handheld.headers)
    assert _code(answer) == (403, "forbidden")


def test_refresh_rotates_and_a_lost_answer_gets_the_same_successor(world: World) -> None:
    handheld = world.handheld()
    first = _refresh(world, handheld.tokens, handheld.key)
    again = _refresh(world, handheld.tokens, handheld.key)
    assert first.status_code == again.status_code == 200
    assert first.json()["refresh_token"] == again.json()["refresh_token"] != handheld.tokens["refresh_token"]
    assert _refresh(world, first.json(), handheld.key).status_code == 200


def _pass_time_since_rotation(by: timedelta) -> None:
    with Session(engine_for("zw_api")) as session:
        session.connection().execute(text("UPDATE session_family SET rotated_at = rotated_at - :by"), {"by": by})
        session.commit()


def _office_tokens(world: World) -> Any:
    entry = world.logins["supervisor"]
    return world.client.post("/auth/v1/login", json={"login": entry.login, "password": entry.password}).json()


def test_without_a_device_a_lost_answer_is_given_again_for_a_minute_only(world: World) -> None:
    tokens = _office_tokens(world)
    first = _refresh(world, tokens, None).json()
    _pass_time_since_rotation(timedelta(seconds=50))
    again = _refresh(world, tokens, None)
    assert again.json()["refresh_token"] == first["refresh_token"]
    _pass_time_since_rotation(timedelta(seconds=15))
    assert _code(_refresh(world, tokens, None)) == (401, "token_reused"), "a repeat does not lengthen the minute"
    assert _code(_refresh(world, first, None)) == (401, "unauthenticated")


def test_with_a_device_a_lost_answer_is_given_again_days_later(world: World) -> None:
    handheld = world.handheld()
    first = _refresh(world, handheld.tokens, handheld.key).json()
    _pass_time_since_rotation(timedelta(days=9))
    again = _refresh(world, handheld.tokens, handheld.key)
    assert again.json()["refresh_token"] == first["refresh_token"]


def test_a_device_whose_clock_is_years_off_can_refresh(world: World) -> None:
    handheld = world.handheld()
    token = handheld.tokens["refresh_token"]
    for moment in (0, 4_000_000_000):
        claims = {"aud": AUDIENCE, "iat": moment, "exp": moment + 60, "rt": token}
        proof = jwt.encode(claims, handheld.key.private, algorithm="ES256")
        answer = world.client.post("/auth/v1/refresh", json={"refresh_token": token, "proof": proof})
        assert answer.status_code == 200, answer.text


def test_an_old_refresh_token_ends_the_login(world: World) -> None:
    handheld = world.handheld()
    first = _refresh(world, handheld.tokens, handheld.key).json()
    second = _refresh(world, first, handheld.key).json()
    assert _code(_refresh(world, handheld.tokens, handheld.key)) == (401, "token_reused")
    assert _code(_refresh(world, second, handheld.key)) == (401, "unauthenticated")
    answer = world.client.get("/sync/v1/outcomes", headers={"Authorization": f"Bearer {second['access_token']}"})
    assert _code(answer) == (401, "unauthenticated"), "the access token of an ended login is refused at once"


def test_a_stolen_refresh_token_is_worth_nothing_without_the_device_key(world: World) -> None:
    handheld = world.handheld()
    for key in (None, DeviceKey()):
        assert _code(_refresh(world, handheld.tokens, key)) == (401, "proof_required")
    stale = {"refresh_token": handheld.tokens["refresh_token"], "proof": handheld.key.proof("another token")}
    assert _code(world.client.post("/auth/v1/refresh", json=stale)) == (401, "proof_required")
    assert _refresh(world, handheld.tokens, handheld.key).status_code == 200


def test_a_proof_of_nothing_but_brackets_is_refused(world: World) -> None:
    """Rightly signed by the device, and deeper than JSON can be read."""
    handheld = world.handheld()
    deep = jwt.PyJWS().encode(b"[" * 2_500, handheld.key.private, algorithm="ES256")
    body = {"refresh_token": handheld.tokens["refresh_token"], "proof": deep}
    assert _code(world.client.post("/auth/v1/refresh", json=body)) == (401, "proof_required")


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "00000000000000000000000000000000.1.x"])
def test_a_made_up_refresh_token_is_refused(untouched_world: World, token: str) -> None:
    assert _code(_refresh(untouched_world, {"refresh_token": token}, None)) == (401, "unauthenticated")


def _signed(claims: Any, key: bytes | str | None = None, algorithm: str = "HS256", **header: Any) -> str:
    chosen = token_key() if key is None else key
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureKeyLengthWarning)
        return jwt.encode(claims, chosen, algorithm=algorithm, headers={"typ": ACCESS_TYPE, **header})


def test_stale_forged_and_foreign_access_tokens_are_refused(world: World) -> None:
    """Each differs from a good one in one thing, and the good one, signed the same way, is taken."""
    handheld = world.handheld()
    claims = jwt.decode(handheld.tokens["access_token"], token_key(), algorithms=["HS256"], audience=AUDIENCE)

    def outcome(token: str) -> Any:
        return world.client.get("/sync/v1/outcomes", headers={"Authorization": f"Bearer {token}"})

    assert outcome(_signed(claims)).status_code == 200
    other = world.handheld(world.workers()[1])
    foreign = jwt.decode(other.tokens["access_token"], token_key(), algorithms=["HS256"], audience=AUDIENCE)
    deep = b64encode(b'{"alg":"HS256","typ":' + b"[" * 5_000).decode()
    forged = [
        _signed({**claims, "exp": 1}),
        *(_signed({name: value for name, value in claims.items() if name != missing}) for missing in claims),
        _signed({**claims, "aud": "elsewhere"}),
        _signed({**claims, "aud": [AUDIENCE, "elsewhere"]}),
        _signed({**claims, "iss": "elsewhere"}),
        _signed({**claims, "token_use": "refresh"}),
        _signed({**claims, "sub": foreign["sub"]}),
        _signed({**claims, "sid": 5}),
        _signed(claims, b"another key that is long enough ...."),
        _signed(claims, algorithm="HS512"),
        _signed(claims, "", algorithm="none"),
        _signed(claims, typ="JWT"),
        _signed(claims, kid="1"),
        _signed(claims, crit=["exp"]),
        _signed(claims, jku="https://elsewhere.example"),
        handheld.key.proof(handheld.tokens["refresh_token"]),
        handheld.tokens["refresh_token"],
        f"{deep}.e30.AAAA",
        "not a token",
    ]
    for token in forged:
        answer = outcome(token)
        assert _code(answer) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_revoked_device_is_out_at_its_next_request(world: World) -> None:
    handheld = world.handheld()
    with Session(engine_for("zw_api")) as session:
        session.connection().execute(
            text("UPDATE device SET revoked_at = now() WHERE id = :id"), {"id": handheld.tokens["device_id"]}
        )
        session.commit()
    answer = world.client.get("/sync/v1/outcomes", headers=handheld.headers)
    assert _code(answer) == (401, "unauthenticated")


def test_every_login_and_enrolment_leaves_one_audit_entry(world: World, api: TestClient) -> None:
    world.handheld()
    with Session(engine_for("zw_api")) as session:
        rows = session.connection().execute(text("SELECT action, count(*) AS number FROM audit_entry GROUP BY action"))
        found = {row.action: row.number for row in rows}
    assert found == {"login": 1, "enrolment_code_issued": 1, "device_enrolled": 1}
