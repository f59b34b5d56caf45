"""Handhelds in reach, and the end of a lost one: revoked at once, erased when it calls, and known whether it was."""

from datetime import timedelta
from typing import Any

import jwt
import pytest
from sqlalchemy import text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.db import engine_for
from backend.core.enums import Role
from backend.services.tokens import AUDIENCE
from tests.people import PASSPHRASE, Staff, code_of
from tests.world import DeviceKey, Handheld, World


@pytest.fixture
def handheld(world: World) -> Handheld:
    return world.handheld()


@pytest.fixture
def supervisor(world: World) -> dict[str, str]:
    return world.office("supervisor")


def listed(world: World, headers: dict[str, str], **query: Any) -> list[str]:
    answer = world.client.get("/devices/v1/devices", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["devices"]]


def end(world: World, headers: dict[str, str], handheld: Handheld, action: str) -> Any:
    return world.client.post(f"/devices/v1/devices/{handheld.tokens['device_id']}/{action}", headers=headers)


def call(world: World, handheld: Handheld) -> Any:
    return world.client.get("/sync/v1/outcomes", headers=handheld.headers)


def refresh(world: World, handheld: Handheld, key: DeviceKey | None = None) -> Any:
    token = handheld.tokens["refresh_token"]
    body = {"refresh_token": token, "proof": (key or handheld.key).proof(token)}
    return world.client.post("/auth/v1/refresh", json=body)


def confirm(world: World, device_id: str, key: DeviceKey, **claims: Any) -> Any:
    proof = jwt.encode({"aud": AUDIENCE, "wipe": device_id, **claims}, key.private, algorithm="ES256")
    return world.client.post("/auth/v1/wipe-confirmed", json={"device_id": device_id, "proof": proof})


def test_handhelds_are_found_by_worker_state_and_silence(world: World, supervisor: dict[str, str]) -> None:
    first, second, third = (world.handheld(login) for login in world.workers()[:3])
    ids = [one.tokens["device_id"] for one in (first, second, third)]
    assert listed(world, supervisor) == ids[::-1]
    assert listed(world, supervisor, limit=2) == ids[:0:-1]
    assert listed(world, supervisor, limit=2, before=ids[1]) == ids[:1]
    assert listed(world, supervisor, account_id=second.tokens["account_id"]) == [ids[1]]
    assert listed(world, supervisor, silent_since=(now() + timedelta(minutes=1)).isoformat()) == ids[::-1]
    assert listed(world, supervisor, silent_since=(now() - timedelta(hours=1)).isoformat()) == []
    assert end(world, supervisor, second, "revoke").json()["state"] == "revoked"
    assert end(world, supervisor, third, "wipe").json()["state"] == "wiping"
    by_state = {state: listed(world, supervisor, state=state) for state in ("active", "revoked", "wiping", "wiped")}
    assert by_state == {"active": [ids[0]], "revoked": [ids[1]], "wiping": [ids[2]], "wiped": []}


def test_a_backlog_is_shown_as_the_device_last_said(world: World, handheld: Handheld, supervisor: Any) -> None:
    assert listed(world, supervisor, waiting=True) == []
    header = {**handheld.headers, "X-Waiting": "7"}
    assert world.client.get("/sync/v1/event/pull", params={"limit": 1}, headers=header).status_code == 200
    assert listed(world, supervisor, waiting=True) == [handheld.tokens["device_id"]]


def test_a_revoked_handheld_is_out_at_its_next_request_and_told_to_erase_nothing(
    world: World, handheld: Handheld, supervisor: dict[str, str]
) -> None:
    assert end(world, supervisor, handheld, "revoke").status_code == 200
    assert code_of(call(world, handheld)) == (401, "unauthenticated")
    assert code_of(refresh(world, handheld)) == (401, "proof_required")
    assert code_of(confirm(world, handheld.tokens["device_id"], handheld.key)) == (401, "proof_required")


def test_a_wiped_handheld_is_told_so_wherever_it_knocks_until_it_confirms(
    world: World, handheld: Handheld, supervisor: dict[str, str]
) -> None:
    device_id = handheld.tokens["device_id"]
    assert end(world, supervisor, handheld, "wipe").json()["state"] == "wiping"
    for answer in (call(world, handheld), refresh(world, handheld), call(world, handheld)):
        assert code_of(answer) == (401, "device_wiped")
        assert answer.json()["device_id"] == device_id
    assert confirm(world, device_id, handheld.key).status_code == 204
    assert confirm(world, device_id, handheld.key).status_code == 204, "a lost answer is asked for again"
    assert code_of(call(world, handheld)) == (401, "unauthenticated"), "erase once"
    assert code_of(refresh(world, handheld)) == (401, "proof_required")
    shown = world.client.get("/devices/v1/devices", params={"state": "wiped"}, headers=supervisor).json()["devices"]
    assert [one["id"] for one in shown] == [device_id]
    assert shown[0]["wipe_confirmed_at"] is not None


def test_a_handheld_silent_for_months_is_told_at_its_first_refresh(
    world: World, handheld: Handheld, supervisor: dict[str, str]
) -> None:
    """Its session ran out long ago; its key still says who it is."""
    assert end(world, supervisor, handheld, "wipe").status_code == 200
    with Session(engine_for("zw_api")) as session:
        session.connection().execute(text("UPDATE session_family SET expires_at = now() - interval '90 days'"))
        session.commit()
    assert code_of(refresh(world, handheld)) == (401, "device_wiped")


def test_only_the_device_itself_learns_of_the_wipe_and_confirms_it(
    world: World, handheld: Handheld, supervisor: dict[str, str]
) -> None:
    device_id, other = handheld.tokens["device_id"], world.handheld(world.workers()[1])
    end(world, supervisor, handheld, "wipe")
    assert code_of(refresh(world, handheld, DeviceKey())) == (401, "proof_required")
    forged = [
        confirm(world, device_id, DeviceKey()),
        confirm(world, device_id, other.key),
        confirm(world, device_id, handheld.key, wipe=other.tokens["device_id"]),
        confirm(world, device_id, handheld.key, aud="elsewhere"),
        confirm(world, other.tokens["device_id"], other.key),
        confirm(world, "00000000-0000-0000-0000-000000000000", handheld.key),
        world.client.post(
            "/auth/v1/wipe-confirmed", json={"device_id": device_id, "proof": handheld.key.proof(device_id)}
        ),
    ]
    assert {code_of(answer) for answer in forged} == {(401, "proof_required")}
    assert listed(world, supervisor, state="wiping") == [device_id]
    assert call(world, other).status_code == 200


def test_a_revoked_handheld_can_still_be_wiped_and_a_wipe_stays(
    world: World, handheld: Handheld, supervisor: dict[str, str]
) -> None:
    assert end(world, supervisor, handheld, "revoke").json()["state"] == "revoked"
    first = end(world, supervisor, handheld, "wipe").json()
    assert first["state"] == "wiping"
    assert end(world, supervisor, handheld, "revoke").json() == first
    assert end(world, supervisor, handheld, "wipe").json() == first


def test_the_same_worker_enrols_another_handheld(world: World, handheld: Handheld, supervisor: dict[str, str]) -> None:
    end(world, supervisor, handheld, "wipe")
    assert call(world, world.handheld(handheld.login)).status_code == 200


def test_handhelds_of_other_districts_are_not_found(world: World, handheld: Handheld) -> None:
    staff = Staff(world)
    foreign = staff.headers(staff.ready(Role.SUPERVISOR, territory_code="440303")["login"], PASSPHRASE)
    for action in ("revoke", "wipe"):
        assert code_of(end(world, foreign, handheld, action)) == (404, "not_found")
    assert listed(world, foreign) == []
    assert call(world, handheld).status_code == 200
    assert end(world, world.office("security_admin"), handheld, "revoke").status_code == 200


def test_a_code_issued_before_the_account_was_locked_binds_nothing(world: World) -> None:
    worker, admin = world.workers()[0], world.office("system_admin")
    issued = world.client.post("/auth/v1/enrolment-codes", json={"login": worker}, headers=admin).json()["code"]
    found = world.client.get("/accounts/v1/accounts", params={"text": worker}, headers=admin).json()["accounts"]
    lock = f"/accounts/v1/accounts/{found[0]['id']}/deactivate"
    assert world.client.post(lock, headers=admin).status_code == 204
    body = {"code": issued, "device_name": "test", "public_key": DeviceKey().jwk()}
    assert code_of(world.client.post("/auth/v1/enrol", json=body)) == (401, "enrolment_refused")
    again = world.client.post("/auth/v1/enrolment-codes", json={"login": worker}, headers=admin)
    assert code_of(again) == (404, "not_found")
