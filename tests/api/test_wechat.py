"""The WeChat hook and the operators' view of reports, through the real app."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.core.enums import ReportState
from backend.core.settings import get_settings
from backend.demo.wechat_api import Call, FakeWechatApi, WechatSender
from backend.models import Citizen, Grid, Report, WechatMessage
from tests.fakes.wechat import jobs_named, run_jobs
from tests.world import World
from workflows.channels import hook
from workflows.channels.wechat_crypto import signature_of

OPENID = "o-synthetic-1"


@pytest.fixture
def fake(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWechatApi]:
    server = FakeWechatApi({"m1": b"\xff\xd8\xffsynthetic"})
    monkeypatch.setenv("WECHAT_API_URL", server.start())
    get_settings.cache_clear()
    yield server
    server.stop()


@pytest.fixture
def sender(api: TestClient) -> WechatSender:
    return WechatSender(hook.channel())


def post(api: TestClient, call: Call, **changed: str) -> Any:
    return api.post("/channels/wechat", params=call.params | changed, content=call.body)


def refused(answer: Any, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code


def stored() -> int:
    with Session(engine_for("zw_api")) as session:
        return len(session.exec(select(WechatMessage)).all())


def test_a_message_is_stored_and_enqueued_and_answered_with_success_alone(
    api: TestClient, sender: WechatSender
) -> None:
    answer = post(api, sender.text(OPENID, "垃圾"))
    assert (answer.status_code, answer.text) == (200, "success")
    assert answer.headers["content-type"].startswith("text/plain")
    assert stored() == 1
    assert [state for _, state in jobs_named("workflows.channels.message")] == ["ready"]


def test_a_replayed_call_is_answered_the_same_without_a_second_effect(api: TestClient, sender: WechatSender) -> None:
    call = sender.text(OPENID, "垃圾")
    answers = [post(api, call).text for _ in range(3)]
    assert answers == ["success"] * 3
    assert (stored(), len(jobs_named("workflows.channels.message"))) == (1, 1)


def test_a_retry_under_a_new_signature_is_known_by_its_msgid(api: TestClient, sender: WechatSender) -> None:
    xml = f"<xml><FromUserName>{OPENID}</FromUserName><MsgType>text</MsgType><MsgId>77</MsgId></xml>".encode()
    for age in (20, 10, 0):
        assert post(api, sender.sealed(xml, at=now() - timedelta(seconds=age))).text == "success"
    assert stored() == 1


@pytest.mark.parametrize("changed", ["msg_signature", "nonce", "timestamp"])
def test_a_forged_call_is_refused_and_leaves_nothing(
    untouched_api: TestClient, sender: WechatSender, changed: str
) -> None:
    call = sender.text(OPENID, "垃圾")
    refused(post(untouched_api, call, **{changed: call.params[changed] + "0"}), 403, "wechat_signature")
    assert stored() == 0


def test_an_unsigned_call_is_refused(untouched_api: TestClient, sender: WechatSender) -> None:
    refused(untouched_api.post("/channels/wechat", content=sender.text(OPENID, "x").body), 403, "wechat_signature")
    refused(untouched_api.post("/channels/wechat", content=b"<xml><Content>x</Content></xml>"), 403, "wechat_signature")


@pytest.mark.parametrize("away", [-301, 301])
def test_a_recorded_call_is_refused_once_the_window_is_over(
    untouched_api: TestClient, sender: WechatSender, away: int
) -> None:
    call = sender.sealed(b"<xml><FromUserName>o</FromUserName></xml>", at=now() + timedelta(seconds=away * 1.1))
    refused(post(untouched_api, call), 403, "wechat_stale")
    assert stored() == 0


@pytest.mark.parametrize(
    "xml",
    [
        b"no xml",
        b"<xml><MsgId>1</MsgId></xml>",
        b'<!DOCTYPE xml [<!ENTITY e SYSTEM "file:///etc/hostname">]><xml><FromUserName>&e;</FromUserName></xml>',
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><xml><FromUserName>&b;</FromUserName></xml>',
    ],
)
def test_a_signed_message_that_is_none_is_malformed(
    untouched_api: TestClient, sender: WechatSender, xml: bytes
) -> None:
    refused(post(untouched_api, sender.sealed(xml)), 400, "wechat_malformed")
    assert stored() == 0


@pytest.mark.parametrize("body", [b"", b"{}", b"<xml>", b'<!DOCTYPE x [<!ENTITY a "a">]><xml>&a;</xml>'])
def test_a_body_that_is_no_envelope_is_malformed(untouched_api: TestClient, body: bytes) -> None:
    refused(untouched_api.post("/channels/wechat", content=body), 400, "wechat_malformed")


def test_a_body_larger_than_any_message_is_not_read(untouched_api: TestClient) -> None:
    refused(untouched_api.post("/channels/wechat", content=b"<" * 70_000), 413, "too_large")


def test_without_an_account_the_hook_says_so(
    api: TestClient, sender: WechatSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = sender.text(OPENID, "x")
    for name, value in (("WECHAT_TOKEN", ""), ("WECHAT_ENCODING_AES_KEY", "too-short")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            get_settings.cache_clear()
            refused(post(api, call), 503, "wechat_not_configured")
    get_settings.cache_clear()


def test_wechat_may_try_the_address(api: TestClient) -> None:
    token, stamp = get_settings().wechat_token.get_secret_value(), str(int(now().timestamp()))
    query = {"signature": signature_of(token, stamp, "n"), "timestamp": stamp, "nonce": "n", "echostr": "123456"}
    answer = api.get("/channels/wechat", params=query)
    assert (answer.status_code, answer.text) == (200, "123456")
    assert answer.headers["content-type"].startswith("text/plain")
    refused(api.get("/channels/wechat", params=query | {"signature": "0" * 40}), 403, "wechat_signature")
    refused(api.get("/channels/wechat", params=query | {"echostr": "<script>"}), 422, "malformed")
    old = str(int(stamp) - 1000)
    stale = query | {"timestamp": old, "signature": signature_of(token, old, "n")}
    refused(api.get("/channels/wechat", params=stale), 403, "wechat_stale")


def test_operators_see_reports_masked_and_counted(
    api: TestClient, world: World, sender: WechatSender, fake: FakeWechatApi
) -> None:
    post(api, sender.text(OPENID, "张三丰家门口垃圾成堆"))
    post(api, sender.text("o-synthetic-2", "积水"))
    post(api, sender.image(OPENID, "m1"))
    post(api, sender.location(OPENID, 22.69, 114.35))
    post(api, sender.text(OPENID, "提交"))
    run_jobs()
    headers = world.office("operator")
    assert api.get("/channels/v1/summary", headers=headers).json() == {"by_state": {"assembling": 1, "submitted": 1}}
    submitted = api.get("/channels/v1/reports", params={"state": "submitted"}, headers=headers).json()["reports"]
    assert [(report["text"], report["class_code"], report["photos"]) for report in submitted] == [
        ("张**（共10字）", "0102", 1)
    ]
    first = api.get("/channels/v1/reports", params={"limit": 1}, headers=headers).json()
    then = api.get("/channels/v1/reports", params={"limit": 1, "before": first["next"]}, headers=headers).json()
    assert (len(first["reports"]), len(then["reports"]), then["next"]) == (1, 1, None)
    assert first["reports"][0]["id"] != then["reports"][0]["id"]


def test_a_district_sees_its_own_reports_only(api: TestClient, world: World) -> None:
    with transaction(engine_for("zw_worker")) as session:
        citizen = Citizen(openid_index=b"1", openid=b"-", created_at=now())
        session.add(citizen)
        session.flush()
        grids = [
            session.exec(select(Grid.id).where(col(Grid.id).startswith(district))).first()
            for district in ("440310", "440303")
        ]
        for grid_id in (*grids, None):
            session.add(
                Report(
                    citizen_id=citizen.id,
                    state=ReportState.SUBMITTED,
                    body={},
                    grid_id=grid_id,
                    opened_at=now(),
                    last_message_at=now(),
                )
            )
    login = next(entry for entry in world.logins.values() if len(entry.territory_code) == 6 and entry.role in WATCHERS)
    answer = api.post("/auth/v1/login", json={"login": login.login, "password": login.password})
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    seen = api.get("/channels/v1/reports", headers=headers).json()["reports"]
    assert [report["grid_id"][:6] for report in seen] == [login.territory_code]
    assert api.get("/channels/v1/summary", headers=headers).json()["by_state"]["submitted"] == 1


WATCHERS = {"operator", "dispatcher", "supervisor"}


@pytest.mark.parametrize("path", ["reports", "summary"])
def test_reports_are_not_for_everybody(api: TestClient, world: World, path: str) -> None:
    refused(api.get(f"/channels/v1/{path}"), 401, "unauthenticated")
    handheld = world.handheld()
    refused(api.get(f"/channels/v1/{path}", headers=handheld.headers), 403, "forbidden")
