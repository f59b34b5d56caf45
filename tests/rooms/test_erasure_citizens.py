"""Erasing a citizen: who wrote, what was written, its photos and place. All of it synthetic."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from backend.core.db import engine_for
from backend.core.enums import ErasureState
from backend.core.settings import get_settings
from backend.demo.wechat_api import FakeWechatApi
from backend.models import Citizen, Grid
from tests.fakes.wechat import Chat, let_time_pass
from tests.rooms.media_samples import jpeg
from tests.rooms.test_erasure import approve, ask, dump, read, rows_of
from workflows.channels.messages import sender_index


@pytest.fixture
def wechat(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeWechatApi]:
    fake = FakeWechatApi({"m1": jpeg(), "m2": jpeg(320, 200)})
    monkeypatch.setenv("WECHAT_API_URL", fake.start())
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    get_settings.cache_clear()
    yield fake
    fake.stop()


def report(chat: Chat, media_id: str, drain: Callable[[], int]) -> None:
    with Session(engine_for("zw_worker")) as session:
        grid = session.exec(select(Grid).order_by(Grid.id)).first()
        assert grid is not None
        lon, lat = grid.polygon["coordinates"][0][0]
    chat.shows(media_id)
    chat.stands_at(lat, lon)
    chat.says("路边有垃圾，请处理")
    chat.says("提交")
    drain()


def citizen(chat: Chat) -> Citizen:
    with Session(engine_for("zw_worker"), expire_on_commit=False) as session:
        return session.exec(select(Citizen).where(Citizen.openid_index == sender_index(chat.openid))).one()


def test_a_citizen_is_forgotten_and_another_one_is_not(wechat: FakeWechatApi, drain: Callable[[], int]) -> None:
    gone, other = Chat(wechat, "o-synthetic-gone"), Chat(wechat, "o-synthetic-other")
    report(gone, "m1", drain)
    report(other, "m2", drain)
    who, stays = citizen(gone), citizen(other)
    erasure_id = ask(citizen_id=who.id)
    approve(erasure_id)
    drain()
    done = read(erasure_id)
    assert done.state is ErasureState.DONE
    counts = {name: done.report.get(name, 0) for name in ("citizen", "report", "wechat_message", "photo", "notice")}
    assert (counts["citizen"], counts["report"], counts["wechat_message"], counts["photo"]) == (1, 1, 4, 1)
    assert counts["notice"] >= 1
    (row,) = rows_of("SELECT openid, openid_index FROM citizen WHERE id = :id", id=who.id)
    assert row.openid == b""
    assert bytes(row.openid_index) != who.openid_index
    (kept,) = rows_of("SELECT sealed, h3_cell, body, grid_id FROM report WHERE citizen_id = :id", id=who.id)
    assert (kept.sealed, kept.h3_cell) == (None, None)
    assert kept.body.keys() == {"scheme", "class_code"}
    messages = "SELECT FROM wechat_message WHERE sender_index = :index"
    assert not rows_of(messages, index=who.openid_index)
    assert len(rows_of(messages, index=stays.openid_index)) == 4
    (theirs,) = rows_of("SELECT sealed FROM report WHERE citizen_id = :id", id=stays.id)
    assert theirs.sealed is not None


def test_who_writes_again_later_is_somebody_new(wechat: FakeWechatApi, drain: Callable[[], int]) -> None:
    chat = Chat(wechat, "o-synthetic-gone")
    report(chat, "m1", drain)
    first = citizen(chat)
    approve(ask(citizen_id=first.id))
    drain()
    report(chat, "m2", drain)
    assert citizen(chat).id != first.id
    assert rows_of("SELECT FROM report WHERE citizen_id = :id AND sealed IS NOT NULL", id=citizen(chat).id)


def test_a_photo_that_comes_late_for_an_erased_citizen_is_not_kept(
    wechat: FakeWechatApi, drain: Callable[[], int]
) -> None:
    chat = Chat(wechat, "o-synthetic-gone")
    chat.says("路边有垃圾")
    drain()
    approve(ask(citizen_id=citizen(chat).id))
    drain()
    let_time_pass("workflows.channels.settle")
    with Session(engine_for("zw_worker")) as session:
        dead = session.connection().execute(text("SELECT name, reason FROM job WHERE state = 'dead'")).all()
    assert {row.reason for row in dead} <= {"report_unknown"}
    assert dump(without=set())["wechat_message"] == []
