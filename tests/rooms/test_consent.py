"""Citizens are told how their data are used, and what they say to it has effect. All of them are synthetic."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.core.enums import ErasureState, FileState
from backend.core.settings import get_settings
from backend.demo.wechat_api import FakeWechatApi
from backend.models import AccessRequest, Consent, Erasure, PrivacyNotice
from tests.fakes.wechat import Chat, reports
from tests.rooms.media_samples import jpeg

Drain = Callable[[], int]
NOTICE = "个人信息处理告知"


@pytest.fixture
def chat(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Chat]:
    fake = FakeWechatApi({"m1": jpeg()})
    monkeypatch.setenv("WECHAT_API_URL", fake.start())
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    get_settings.cache_clear()
    yield Chat(fake)
    fake.stop()


def notices(chat: Chat) -> list[str]:
    return [sent.text for sent in chat.wechat.sent if sent.text.startswith(NOTICE)]


def acts() -> list[str]:
    with Session(engine_for("zw_worker")) as session:
        return [
            f"{row.act.value} {row.version}" for row in session.exec(select(Consent).order_by(col(Consent.id))).all()
        ]


def test_who_writes_first_is_told_once_and_again_after_a_new_version(chat: Chat, drain: Drain) -> None:
    chat.says("路边有垃圾")
    chat.says("很多垃圾")
    drain()
    assert len(notices(chat)) == 1
    assert "撤回同意" in notices(chat)[0]
    assert acts() == ["told 1"]
    with transaction(engine_for("zw_worker")) as session:
        session.add(PrivacyNotice(version=2, text_zh="新的告知", text_en="A new notice", published_at=now()))
    chat.says("还有垃圾")
    drain()
    assert ["新的告知" in one for one in notices(chat)] == [False, True]
    chat.says("同意")
    drain()
    assert acts() == ["told 1", "told 2", "agreed 2"]


def test_after_a_withdrawal_nothing_is_made_of_messages_until_he_agrees(chat: Chat, drain: Drain) -> None:
    chat.says("撤回同意。")
    drain()
    for content in ("路边有垃圾", "井盖缺失"):
        chat.says(content)
    chat.shows("m1")
    drain()
    assert reports() == []
    assert sum("您已撤回同意" in message for message in chat.heard()) == 1, "once a day"
    chat.says("同意")
    chat.says("路边有垃圾")
    drain()
    assert len(reports()) == 1
    assert acts() == ["told 1", "withdrawn 1", "agreed 1"]


def test_asking_to_be_erased_opens_one_request_that_still_needs_approval(chat: Chat, drain: Drain) -> None:
    chat.says("删除我的信息")
    chat.says("删除我的信息")
    drain()
    with Session(engine_for("zw_worker")) as session:
        (erasure,) = session.exec(select(Erasure)).all()
    assert (erasure.state, erasure.requested_by) == (ErasureState.REQUESTED, None)
    assert reports() == [], "the words are no report"
    assert any("删除申请" in message for message in chat.heard())


def test_asking_what_is_held_has_a_steward_hand_it_over(chat: Chat, drain: Drain) -> None:
    chat.says("路边有垃圾")
    chat.says("查询我的信息")
    chat.says("查询我的信息")
    drain()
    with Session(engine_for("zw_worker")) as session:
        (asked,) = session.exec(select(AccessRequest)).all()
    assert asked.state is FileState.READY
    assert asked.counts["reports"] == 1
    assert asked.counts["consents"] == 1


def test_consents_are_appended_only(database: str) -> None:
    for statement in (
        "UPDATE consent SET version = 1",
        "DELETE FROM consent",
        "UPDATE privacy_notice SET text_zh = ''",
    ):
        with Session(engine_for("zw_worker")) as session, pytest.raises(ProgrammingError, match="permission denied"):
            session.connection().execute(text(statement))
