"""The WeChat client: one contract for the real adapter (against a local server) and its null twin, then the faults."""

import logging
from collections.abc import Iterator

import pytest

from backend.core.settings import Settings
from backend.demo.wechat_api import MEDIA, SEND, STABLE_TOKEN, FakeWechatApi
from workflows.notify.wechat import (
    HttpWechatApi,
    Media,
    MediaGone,
    NullWechatApi,
    WechatApi,
    WechatAway,
    wechat_api,
)

PHOTO = b"\xff\xd8synthetic"
SECRET = "synthetic-secret"


@pytest.fixture
def server() -> Iterator[FakeWechatApi]:
    fake = FakeWechatApi({"m1": PHOTO})
    yield fake
    fake.stop()


@pytest.fixture
def client(server: FakeWechatApi) -> Iterator[HttpWechatApi]:
    api = HttpWechatApi(base_url=server.start(), app_id="wx", app_secret=SECRET, max_media_bytes=1000)
    yield api
    api.close()


@pytest.fixture(params=["real", "null"])
def either(request: pytest.FixtureRequest) -> WechatApi:
    if request.param == "null":
        return NullWechatApi()
    adapter: HttpWechatApi = request.getfixturevalue("client")
    return adapter


def test_contract_a_text_ends_in_a_short_code(either: WechatApi) -> None:
    assert either.send_text("o1", "您好") in {"sent", "inbox_only"}


def test_contract_a_file_that_cannot_be_had_is_away_or_gone(either: WechatApi) -> None:
    with pytest.raises((WechatAway, MediaGone), match=r"^\w{1,64}$"):
        either.fetch_media("unknown")


def test_a_file_comes_with_the_type_wechat_claims(client: HttpWechatApi) -> None:
    assert client.fetch_media("m1") == Media(PHOTO, "image/jpeg")


def test_a_text_arrives_as_it_was_written(client: HttpWechatApi, server: FakeWechatApi) -> None:
    assert client.send_text("o1", "已办结 “谢谢”") == "sent"
    assert [(sent.openid, sent.text) for sent in server.sent] == [("o1", "已办结 “谢谢”")]


def test_one_token_serves_many_calls(client: HttpWechatApi, server: FakeWechatApi) -> None:
    for _ in range(3):
        client.fetch_media("m1")
    assert server.calls.count(STABLE_TOKEN) == 1


@pytest.mark.parametrize("code", [40001, 40014, 42001])
def test_a_token_refused_is_replaced_once(client: HttpWechatApi, server: FakeWechatApi, code: int) -> None:
    server.script(MEDIA, {"errcode": code})
    server.script(SEND, {"errcode": code})
    assert client.fetch_media("m1").content == PHOTO
    assert client.send_text("o1", "x") == "sent"
    assert server.calls.count(STABLE_TOKEN) == 3


def test_a_token_refused_for_ever_is_a_matter_of_trying_later(client: HttpWechatApi, server: FakeWechatApi) -> None:
    server.script(MEDIA, {"errcode": 40001}, {"errcode": 40001})
    with pytest.raises(WechatAway, match=r"^wechat_40001$"):
        client.fetch_media("m1")


def test_an_error_with_status_200_is_no_picture(client: HttpWechatApi, server: FakeWechatApi) -> None:
    server.script(MEDIA, {"errcode": 40007, "errmsg": "invalid media_id"})
    with pytest.raises(MediaGone, match=r"^wechat_40007$"):
        client.fetch_media("m1")


@pytest.mark.parametrize("answer", [{"errcode": -1}, {"errcode": 45009}, {"no": "code"}, 502, 0])
def test_a_passing_fault_means_try_later(
    client: HttpWechatApi, server: FakeWechatApi, answer: dict[str, object] | int
) -> None:
    for path in (MEDIA, SEND):
        server.script(path, answer)
    with pytest.raises(WechatAway):
        client.fetch_media("m1")
    with pytest.raises(WechatAway):
        client.send_text("o1", "x")


@pytest.mark.parametrize("answer", [{"errcode": 40013}, {"access_token": 5}, 500, 0])
def test_no_token_means_try_later(
    client: HttpWechatApi, server: FakeWechatApi, answer: dict[str, object] | int
) -> None:
    server.script(STABLE_TOKEN, answer)
    with pytest.raises(WechatAway):
        client.fetch_media("m1")


@pytest.mark.parametrize(
    ("code", "result"),
    [
        (45015, "window_closed"),
        (45047, "window_closed"),
        (43004, "unreachable"),
        (40003, "unreachable"),
        (1, "refused_1"),
    ],
)
def test_each_refusal_of_a_text_has_its_code(
    client: HttpWechatApi, server: FakeWechatApi, code: int, result: str
) -> None:
    server.script(SEND, {"errcode": code})
    assert client.send_text("o1", "x") == result


def test_a_file_over_the_limit_is_not_read_to_its_end(client: HttpWechatApi, server: FakeWechatApi) -> None:
    server.photos["big"] = b"x" * 1001
    with pytest.raises(MediaGone, match=r"^too_large$"):
        client.fetch_media("big")


def test_an_error_says_a_code_and_keeps_nothing_of_the_call(client: HttpWechatApi, server: FakeWechatApi) -> None:
    client.fetch_media("m1")
    server.stop()
    with pytest.raises(WechatAway, match=r"^\w{1,64}$") as raised:
        client.fetch_media("m1")
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_the_token_stands_in_no_log(client: HttpWechatApi, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        client.fetch_media("m1")
        client.send_text("o1", "x")
    assert client._token
    assert client._token not in caplog.text
    assert SECRET not in caplog.text


def test_without_an_app_secret_the_null_adapter_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WECHAT_APP_SECRET", "")
    monkeypatch.setattr("workflows.notify.wechat.get_settings", Settings)
    assert isinstance(wechat_api(), NullWechatApi)
