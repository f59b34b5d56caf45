"""From a citizen's chat messages to one submitted report, on real PostgreSQL and a local WeChat server."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.db import engine_for, transaction
from backend.core.enums import PhotoState, ReportState
from backend.core.settings import get_settings
from backend.demo.wechat_api import MEDIA, SEND, FakeWechatApi
from backend.kinds.geodesy import SCALE, distance_m
from backend.models import AuditEntry, Citizen, Grid, Photo, PhotoLink, Report, WechatMessage
from backend.services.sealing import destroy_keys, open_value, subjects_in
from tests.fakes.wechat import Chat, jobs_named, let_time_pass, reports, run_jobs
from tests.world import until
from workflows.channels import service
from workflows.channels.messages import raw_of
from workflows.channels.pictures import wait_before

JPEG = b"\xff\xd8\xff\xe0synthetic"
Act = Callable[[Session], None]
SETTLE, FETCH = "workflows.channels.settle", "workflows.channels.fetch_photo"


@pytest.fixture
def chat(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    fake = FakeWechatApi({"m1": JPEG, "m2": JPEG + b"2"})
    monkeypatch.setenv("WECHAT_API_URL", fake.start())
    get_settings.cache_clear()
    yield Chat(fake)
    fake.stop()


@pytest.fixture
def place(chat: Chat) -> tuple[str, float, float]:
    """A grid and a point well inside it."""
    with Session(engine_for("zw_worker")) as session:
        grid = session.exec(select(Grid).order_by(col(Grid.id))).first()
        assert grid is not None
        corners = grid.polygon["coordinates"][0][:-1]
        lon, lat = (sum(corner[axis] for corner in corners) / len(corners) for axis in (0, 1))
        return grid.id, lat, lon


def ago(seconds: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=seconds)


def only_report() -> Report:
    ((report, _),) = reports()
    return report


def test_photo_place_text_and_confirmation_become_one_submitted_report(
    chat: Chat, place: tuple[str, float, float]
) -> None:
    grid_id, lat, lon = place
    chat.shows("m1")
    chat.says("井盖缺失，请尽快处理")
    chat.stands_at(lat, lon)
    chat.says("提交")
    run_jobs()
    report = only_report()
    assert (report.state, report.version, report.grid_id) == (ReportState.SUBMITTED, 1, grid_id)
    assert report.body["class_code"] == "0601"
    assert report.submitted_at is not None
    assert report.h3_cell
    with Session(engine_for("zw_worker")) as session:
        sealed = open_value(session, report.sealed, context=report.id.bytes)
        photo_ids = [str(photo) for photo in session.exec(select(PhotoLink.photo_id))]
        photo = session.exec(select(Photo)).one()
    assert sealed["text"] == "井盖缺失，请尽快处理"
    assert distance_m((sealed["location"]["lat"] / SCALE, sealed["location"]["lon"] / SCALE), (lat, lon)) < 1
    assert sealed["photo_ids"] == photo_ids == [str(photo.id)]
    assert (photo.state, photo.owner_id, photo.size) == (PhotoState.RECEIVED, None, len(JPEG))
    assert jobs_named("workflows.crosscheck") == [(f"report:{report.id}:1", "ready")]
    assert [message for message in chat.heard() if "已提交" in message]


def test_no_personal_value_stands_readable_in_the_database(chat: Chat, place: tuple[str, float, float]) -> None:
    _, lat, lon = place
    chat.shows("m1")
    chat.says("张三丰 13800138000 反映垃圾")
    chat.stands_at(lat, lon)
    chat.says("完成")
    run_jobs()
    canaries = (chat.openid, "张三丰", "13800138000", str(round(lat * SCALE))[:7], f"{lat:.4f}")
    with Session(engine_for("zw_worker")) as session:
        for table in ("citizen", "report", "wechat_message", "notice", "job", "audit_entry", "photo"):
            rows = "\n".join(session.connection().scalars(text(f"SELECT CAST(t AS text) FROM {table} t")))
            assert rows, table
            # JSON columns write Chinese as escapes, whose backslashes are doubled once or twice on the way here.
            written = [*canaries, *(json.dumps(canary)[1:-1].replace("\\", "") for canary in canaries)]
            found = [canary for canary in written if canary in rows.replace("\\", "")]
            assert not found, table
            assert chat.openid.encode().hex() not in rows, table


def test_a_call_delivered_three_times_counts_once(chat: Chat) -> None:
    call = chat.sender.text(chat.openid, "垃圾成堆")
    chat.post(call, call)
    run_jobs()
    chat.post(call)
    run_jobs()
    ((_, draft),) = reports()
    assert draft.text == "垃圾成堆"
    assert len(jobs_named("workflows.channels.message")) == 1


def test_an_event_delivered_twice_counts_once(chat: Chat) -> None:
    moment = ago(1)
    chat.post(*(chat.sender.event(chat.openid, "subscribe", at=moment) for _ in range(2)))
    run_jobs()
    assert len(chat.heard()) == 1
    assert reports() == []


def test_handling_a_message_twice_changes_nothing(chat: Chat) -> None:
    chat.shows("m1")
    run_jobs()
    before = only_report()
    with transaction(engine_for("zw_worker")) as session:
        message = session.exec(select(WechatMessage)).one()
        service.take_messages(session, message_id=message.id)
        service.photo_came(
            session, report_id=before.id, photo_id=service.photo_id_of(message.id), state=PhotoState.RECEIVED
        )
    with Session(engine_for("zw_worker")) as session:
        assert len(session.exec(select(Photo)).all()) == 1
    assert only_report().body == before.body


def test_messages_are_taken_in_the_order_sent_whatever_order_they_came_in(
    chat: Chat, place: tuple[str, float, float]
) -> None:
    _, lat, lon = place
    first = ago(5)
    chat.shows("m1", at=first)
    run_jobs()
    chat.stands_at(lat, lon, at=first + timedelta(seconds=1))
    chat.says("提交", at=first + timedelta(seconds=4))
    chat.says("缺失", at=first + timedelta(seconds=3))
    chat.says("井盖", at=first + timedelta(seconds=2))
    run_jobs()
    ((report, draft),) = reports()
    assert draft.text == "井盖\n缺失"
    assert report.body["class_code"] == "0602", "the texts were there when the report was submitted"
    assert report.last_message_at - report.opened_at == timedelta(seconds=4)


def test_a_photo_that_comes_after_the_submission_but_was_sent_before_joins_the_report(
    chat: Chat, place: tuple[str, float, float]
) -> None:
    _, lat, lon = place
    first, second, before_last, last = (ago(seconds) for seconds in (9, 8, 7, 5))
    chat.shows("m1", at=first)
    chat.stands_at(lat, lon, at=second)
    chat.says("提交", at=last)
    run_jobs()
    chat.shows("m2", at=before_last)
    chat.stands_at(0.0, 0.0, at=before_last)
    run_jobs()
    ((report, draft),) = reports()
    assert len(draft.photo_ids) == 2
    assert draft.location is not None
    assert abs(draft.location["lat"] / SCALE - lat) < 0.001, "the place of a submitted report stands"
    assert (report.version, len(jobs_named("workflows.crosscheck"))) == (1, 1)
    with Session(engine_for("zw_worker")) as session:
        assert len(session.exec(select(PhotoLink)).all()) == 2


def test_what_is_sent_after_the_submission_begins_another_report(chat: Chat, place: tuple[str, float, float]) -> None:
    _, lat, lon = place
    for start, photo in ((20, "m1"), (10, "m2")):
        chat.shows(photo, at=ago(start))
        chat.stands_at(lat, lon, at=ago(start - 1))
        chat.says("提交", at=ago(start - 2))
    chat.says("完成", at=ago(1))
    run_jobs()
    assert [report.state for report, _ in reports()] == [ReportState.SUBMITTED] * 2


def test_without_a_confirmation_the_end_of_the_window_submits(chat: Chat, place: tuple[str, float, float]) -> None:
    _, lat, lon = place
    chat.shows("m1")
    chat.stands_at(lat, lon)
    run_jobs()
    assert only_report().state is ReportState.ASSEMBLING
    let_time_pass(SETTLE)
    assert only_report().state is ReportState.SUBMITTED


def test_a_later_message_keeps_the_window_open(chat: Chat, place: tuple[str, float, float]) -> None:
    _, lat, lon = place
    chat.shows("m1", at=ago(20))
    chat.stands_at(lat, lon, at=ago(19))
    run_jobs()
    first = only_report()
    chat.says("积水", at=ago(10))
    run_jobs()
    with transaction(engine_for("zw_worker")) as session:
        service.settle(session, report_id=first.id, last_message_at=first.last_message_at)
    assert only_report().state is ReportState.ASSEMBLING
    let_time_pass(SETTLE)
    assert only_report().body["class_code"] == "0406"


def test_a_place_without_a_photo_is_kept_and_the_photo_asked_for(chat: Chat, place: tuple[str, float, float]) -> None:
    _, lat, lon = place
    chat.stands_at(lat, lon, at=ago(4000))
    run_jobs()
    let_time_pass(SETTLE)
    assert only_report().state is ReportState.ASSEMBLING
    assert len(chat.heard()) == 1
    assert "现场照片" in chat.heard()[0]
    assert "位置" not in chat.heard()[0]
    chat.shows("m1")
    chat.says("提交")
    run_jobs()
    assert only_report().state is ReportState.SUBMITTED


def test_a_text_long_after_another_begins_another_report(chat: Chat) -> None:
    window = get_settings().report_window_seconds
    chat.says("垃圾", at=ago(window + 5))
    chat.says("积水", at=ago(0))
    run_jobs()
    assert [draft.text for _, draft in reports()] == ["垃圾", "积水"]


def test_two_citizens_never_share_a_report(chat: Chat) -> None:
    chat.says("垃圾")
    chat.post(chat.sender.text("o-synthetic-2", "积水"))
    run_jobs()
    assert sorted(draft.text for _, draft in reports()) == ["垃圾", "积水"]
    with Session(engine_for("zw_worker")) as session:
        assert len(session.exec(select(Citizen)).all()) == 2


def test_wechat_being_away_delays_a_photo_and_loses_nothing(chat: Chat, place: tuple[str, float, float]) -> None:
    _, lat, lon = place
    chat.wechat.script(MEDIA, *[503] * 7)
    chat.shows("m1")
    chat.stands_at(lat, lon)
    chat.says("提交")
    run_jobs()
    for _ in range(6):
        assert only_report().state is ReportState.ASSEMBLING
        let_time_pass(FETCH)
    let_time_pass(FETCH)
    assert only_report().state is ReportState.SUBMITTED
    assert {state for _, state in jobs_named(FETCH)} == {"done"}


def test_a_photo_that_wechat_no_longer_has_is_asked_for_again(chat: Chat, place: tuple[str, float, float]) -> None:
    _, lat, lon = place
    chat.shows("gone")
    chat.stands_at(lat, lon)
    chat.says("提交")
    run_jobs()
    assert only_report().state is ReportState.ASSEMBLING
    assert any("未能接收" in message for message in chat.heard())
    chat.shows("m1")
    run_jobs()
    assert only_report().state is ReportState.SUBMITTED


def test_a_photo_is_given_up_when_wechat_was_away_for_three_days(chat: Chat) -> None:
    chat.wechat.script(MEDIA, 503, 503)
    chat.shows("m1")
    run_jobs()
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(text("UPDATE wechat_message SET received_at = received_at - interval '3 days'"))
    let_time_pass(FETCH)
    assert set(only_report().body["photo_states"].values()) == {"failed"}


def test_a_file_that_is_refused_as_a_photo_does_not_block_the_report(
    chat: Chat, place: tuple[str, float, float]
) -> None:
    _, lat, lon = place
    chat.wechat.photos["empty"] = b""
    chat.shows("empty")
    chat.shows("m1")
    chat.stands_at(lat, lon)
    chat.says("提交")
    run_jobs()
    assert only_report().state is ReportState.SUBMITTED
    assert sorted(only_report().body["photo_states"].values()) == ["failed", "received"]


def test_a_message_of_no_use_is_kept_and_opens_nothing(chat: Chat) -> None:
    chat.post(chat.sender.message(chat.openid, "voice", {"MediaId": "v1", "Format": "amr"}))
    run_jobs()
    assert reports() == []
    with Session(engine_for("zw_worker")) as session:
        message = session.exec(select(WechatMessage)).one()
        assert b"v1" in raw_of(session, message)
        assert b"v1" not in message.raw
        assert message.processed_at is not None


def test_what_an_erased_sender_wrote_is_gone_and_nothing_new_is_kept(chat: Chat) -> None:
    chat.says("绝密")
    with transaction(engine_for("zw_worker")) as session:
        [message] = session.exec(select(WechatMessage)).all()
        assert subjects_in([message.raw]) == {message.sender_index}
        destroy_keys(session, [message.sender_index])
        with pytest.raises(jobs.Discard, match="citizen_gone"):
            raw_of(session, message)
    chat.says("绝密")
    run_jobs()
    with Session(engine_for("zw_worker")) as session:
        assert len(session.exec(select(WechatMessage)).all()) == 1
        [entry] = session.exec(select(AuditEntry).where(AuditEntry.action == "message_not_kept")).all()
        assert entry.detail == {}


def test_a_place_outside_all_grids_is_submitted_without_one(chat: Chat) -> None:
    chat.shows("m1")
    chat.stands_at(30.0, 110.0)
    chat.says("提交")
    run_jobs()
    assert (only_report().state, only_report().grid_id) == (ReportState.SUBMITTED, None)


def test_two_workers_with_messages_of_one_citizen_end_in_one_report(chat: Chat) -> None:
    chat.says("昨天的事", at=ago(4000))
    run_jobs()
    chat.says("垃圾")
    first = _taking(_waiting()[0])
    chat.says("积水")
    _at_the_same_time(first, _taking(_waiting()[1]))
    assert [draft.text for _, draft in reports()] == ["昨天的事", "垃圾\n积水"]


@pytest.mark.parametrize("photo_first", [True, False])
def test_a_photo_and_a_message_at_two_workers_both_count(chat: Chat, photo_first: bool) -> None:
    chat.shows("m1")
    run_jobs()
    report = only_report()
    (photo_id,) = report.body["photo_states"]
    chat.says("积水")
    message = _taking(_waiting()[0])

    def photo(session: Session) -> None:
        service.photo_came(session, report_id=report.id, photo_id=UUID(photo_id), state=PhotoState.FAILED)

    _at_the_same_time(*((photo, message) if photo_first else (message, photo)))
    with Session(engine_for("zw_worker")) as session:
        sealed = open_value(session, only_report().sealed, context=report.id.bytes)
    assert (sealed["text"], sealed["photo_ids"]) == ("积水", [])


def test_a_citizens_first_messages_at_two_workers_make_one_citizen(chat: Chat) -> None:
    chat.says("垃圾")
    first = _taking(_waiting()[0])
    chat.says("积水")
    _at_the_same_time(first, _taking(_waiting()[1]))
    assert [draft.text for _, draft in reports()] == ["垃圾\n积水"]
    with Session(engine_for("zw_worker")) as session:
        assert len(session.exec(select(Citizen)).all()) == 1


def test_opening_and_submitting_a_report_are_audited_once_each(chat: Chat, place: tuple[str, float, float]) -> None:
    _, lat, lon = place
    chat.shows("m1")
    chat.stands_at(lat, lon)
    chat.says("提交")
    chat.says("提交")
    run_jobs()
    with Session(engine_for("zw_worker")) as session:
        entries = session.exec(select(AuditEntry.action).where(AuditEntry.object_type == "report")).all()
    assert sorted(entries) == ["report_opened", "report_submitted"]


def test_a_reply_that_fails_for_the_moment_is_sent_later(chat: Chat) -> None:
    chat.wechat.script(SEND, 503)
    chat.post(chat.sender.event(chat.openid, "subscribe"))
    run_jobs()
    assert chat.heard() == []
    let_time_pass("workflows.notify.send")
    assert len(chat.heard()) == 1


def test_waits_for_wechat_grow_to_an_hour() -> None:
    assert [wait_before(tries).total_seconds() for tries in (1, 2, 3, 10, 11, 500)] == [5, 10, 20, 2560, 3600, 3600]


def _waiting() -> list[UUID]:
    with Session(engine_for("zw_worker")) as session:
        waiting = select(WechatMessage.id).where(col(WechatMessage.processed_at).is_(None))
        return list(session.exec(waiting.order_by(col(WechatMessage.id))))


def _taking(message_id: UUID) -> Act:
    return lambda session: service.take_messages(session, message_id=message_id)


def _at_the_same_time(act: Act, then: Act) -> None:
    """One worker acts and holds its transaction open until another, acting too, has to wait for it."""

    def second() -> None:
        with transaction(engine_for("zw_worker")) as session:
            then(session)

    with ThreadPoolExecutor(1) as pool, Session(engine_for("zw_worker")) as first:
        act(first)
        first.flush()
        waiting = pool.submit(second)
        until(_somebody_waits, what="the second worker waits for the first")
        first.commit()
        waiting.result(timeout=30)


def _somebody_waits() -> bool:
    with Session(engine_for("zw_api")) as session:
        return bool(session.connection().scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))
