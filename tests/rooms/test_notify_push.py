"""Push: one contract for firebase-admin's real code (against a local FCM) and its null twin, then FCM's answers."""

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.fakes.fcm import (
    LOGIN_REFUSED,
    QUOTA_EXCEEDED,
    SENDER_ID_MISMATCH,
    UNAVAILABLE,
    UNREGISTERED,
    FakeFcm,
    Reply,
    refusal,
)
from workflows.notify.push import FirebasePush, NullPush, Push, PushAway, PushResult, TargetKind, Wake

WAKE = Wake(UUID(int=7), "case_changed")


@pytest.fixture
def fcm() -> Iterator[FakeFcm]:
    fake = FakeFcm()
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """google-auth also asks, from a thread of its own, where an account may be used, and knows one address only."""
    asks = "google.oauth2.service_account.Credentials._is_regional_access_boundary_lookup_required"
    monkeypatch.setattr(asks, lambda _: False)


@pytest.fixture
def push(fcm: FakeFcm, tmp_path: Path) -> Iterator[FirebasePush]:
    adapter = FirebasePush(str(fcm.write_credentials(tmp_path / "account.json")), fcm_url=fcm.send_url)
    yield adapter
    adapter.close()


@pytest.fixture(params=["real", "null"])
def either(request: pytest.FixtureRequest) -> Push:
    if request.param == "null":
        return NullPush()
    adapter: FirebasePush = request.getfixturevalue("push")
    return adapter


@pytest.mark.parametrize("kind", TargetKind)
def test_contract_a_wake_up_ends_in_a_result(either: Push, kind: TargetKind) -> None:
    assert either.send("target-0001", kind, WAKE) in {PushResult.SENT, PushResult.INBOX_ONLY}


def test_a_wake_up_carries_ids_and_codes_as_text_and_no_words(push: FirebasePush, fcm: FakeFcm) -> None:
    push.send("target-0001", TargetKind.FID, WAKE)
    message = fcm.messages[0]
    assert message["data"] == {"notice_id": str(WAKE.notice_id), "template": "case_changed"}
    assert "notification" not in message
    assert message["android"]["collapse_key"] == WAKE.notice_id.hex


@pytest.mark.parametrize(("kind", "other"), [(TargetKind.FID, "token"), (TargetKind.TOKEN, "fid")])
def test_the_target_is_named_by_its_kind(push: FirebasePush, fcm: FakeFcm, kind: TargetKind, other: str) -> None:
    push.send("target-0001", kind, WAKE)
    assert fcm.messages[0][kind.value] == "target-0001"
    assert other not in fcm.messages[0]


def test_one_login_serves_many_wake_ups(push: FirebasePush, fcm: FakeFcm) -> None:
    for _ in range(3):
        push.send("target-0001", TargetKind.FID, WAKE)
    assert (fcm.logins, len(fcm.messages)) == (1, 3)


def test_a_target_that_is_gone_is_said_to_be(push: FirebasePush, fcm: FakeFcm) -> None:
    fcm.script(UNREGISTERED)
    assert push.send("target-0001", TargetKind.FID, WAKE) is PushResult.GONE


@pytest.mark.parametrize("reply", [SENDER_ID_MISMATCH, refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")])
def test_a_refusal_is_final(push: FirebasePush, fcm: FakeFcm, reply: Reply) -> None:
    fcm.script(reply)
    assert push.send("target-0001", TargetKind.FID, WAKE) is PushResult.REFUSED
    assert fcm.attempts == 1


@pytest.mark.parametrize("reply", [UNAVAILABLE, QUOTA_EXCEEDED, refusal(500, "INTERNAL")])
def test_a_passing_fault_comes_back_at_once_and_the_next_try_succeeds(
    push: FirebasePush, fcm: FakeFcm, reply: Reply
) -> None:
    fcm.script(reply)
    started = time.monotonic()
    with pytest.raises(PushAway):
        push.send("target-0001", TargetKind.FID, WAKE)
    assert fcm.attempts == 1, "the library tried again by itself"
    assert time.monotonic() - started < 30, "the library slept for Retry-After"
    assert push.send("target-0001", TargetKind.FID, WAKE) is PushResult.SENT


def test_a_refused_login_is_a_matter_of_trying_later(push: FirebasePush, fcm: FakeFcm) -> None:
    fcm.script_login(LOGIN_REFUSED)
    with pytest.raises(PushAway, match=r"^RefreshError$"):
        push.send("target-0001", TargetKind.FID, WAKE)
    assert fcm.messages == []


def test_a_server_that_is_away_is_a_matter_of_trying_later(push: FirebasePush, fcm: FakeFcm) -> None:
    push.send("target-0001", TargetKind.FID, WAKE)
    fcm.stop()
    with pytest.raises(PushAway, match=r"^unavailable$"):
        push.send("target-0001", TargetKind.FID, WAKE)


def test_waits_for_firebase_are_bounded(push: FirebasePush) -> None:
    assert push._app.options.get("httpTimeout") == 10
