"""Notices: written once, shown to their reader only, sent on, and what becomes of targets that are gone."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.crypto import key_ring
from backend.core.db import engine_for, transaction
from backend.core.enums import CaseState, Kind, ReportState, Role, SourceType, VerdictKind
from backend.core.errors import Forbidden, NotFound
from backend.core.ids import new_id
from backend.demo.wechat_api import SEND, FakeWechatApi
from backend.jobs import Discard
from backend.models import (
    Account,
    Case,
    CaseQueue,
    CaseStep,
    Citizen,
    Device,
    Notice,
    Report,
    RuleSet,
    Verdict,
    WechatMessage,
)
from backend.services.case_numbers import case_number
from backend.services.sealing import seal_value
from tests.fakes.fcm import LOGIN_REFUSED, SENDER_ID_MISMATCH, UNAVAILABLE, UNREGISTERED, FakeFcm
from tests.people import accounts_of, caller_of
from workflows.notify import sending, service
from workflows.notify.push import FirebasePush, TargetKind
from workflows.notify.service import Recipient, RecipientType
from workflows.notify.templates import TEMPLATES, render
from workflows.notify.wechat import HttpWechatApi

OPENID = "o-synthetic-1"
NewCase = Callable[..., Case]


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    """A worker's session over a database of the test's own, where the API can commit devices beside it."""
    with Session(engine_for("zw_worker")) as opened:
        yield opened


@pytest.fixture
def worker(session: Session) -> Account:
    account = accounts_of(session, Role.GRID_WORKER)[0]
    assert account is not None
    return account


@pytest.fixture
def citizen(session: Session) -> Citizen:
    """A citizen who wrote a minute ago."""
    citizen_id, index = new_id(), key_ring().blind_index("openid", OPENID)
    sealed = seal_value(session, citizen_id.bytes, OPENID, context=citizen_id.bytes)
    citizen = Citizen(id=citizen_id, openid_index=index, openid=sealed, created_at=now())
    session.add(citizen)
    wrote = now() - timedelta(minutes=1)
    session.add(WechatMessage(message_key=b"1", sender_index=index, raw=b"-", sent_at=wrote, received_at=wrote))
    session.flush()
    return citizen


@pytest.fixture
def new_case(session: Session) -> NewCase:
    """Makes a case with the step that brought it where it stands."""

    def make(source: SourceType, source_id: UUID, collected_by: UUID | None, to: CaseState) -> Case:
        rules = session.exec(select(RuleSet)).first()
        queue = session.exec(select(CaseQueue)).first()
        assert rules is not None
        assert queue is not None
        about: dict[str, Any] = {
            "source_type": source,
            "source_id": source_id,
            "source_version": 1,
            "rule_version": rules.version,
        }
        verdict = Verdict(
            **about, kind=Kind.EVENT, verdict=VerdictKind.ACCEPTED, findings=[], snapshots={}, created_at=now()
        )
        session.add(verdict)
        session.flush()
        case = Case(
            **about,
            verdict_id=verdict.id,
            reason="accepted",
            queue_code=queue.code,
            standard_scheme="s",
            standard_code="c",
            state=to,
            collected_by=collected_by,
            deadline_at=now(),
            opened_at=now(),
        )
        session.add(case)
        session.flush()
        session.refresh(case)
        session.add(
            CaseStep(
                case_id=case.id,
                version=1,
                action="x",
                from_state=CaseState.REPORTED,
                to_state=to,
                actor="test",
                at=now(),
            )
        )
        session.flush()
        return case

    return make


def told(session: Session, account: Account, key: str = "k1") -> UUID:
    values = {"number": "20261123-000001", "state": "closed"}
    recipient = Recipient(RecipientType.ACCOUNT, account.id)
    service.tell(session, recipient, key=key, template="case_changed", values=values)
    return session.exec(select(Notice.id).where(Notice.key == key, Notice.recipient_id == account.id)).one()


def told_citizen(session: Session, citizen: Citizen) -> UUID:
    service.tell(session, Recipient(RecipientType.CITIZEN, citizen.id), key="k1", template="welcome", values={})
    return session.exec(select(Notice.id).where(Notice.recipient_id == citizen.id)).one()


def waiting_tries(session: Session, notice_id: UUID) -> list[int]:
    """The further tries that were asked for."""
    rows = session.connection().execute(
        text("SELECT payload FROM job WHERE name = 'workflows.notify.send' AND key LIKE :key ORDER BY key"),
        {"key": f"{notice_id}:%"},
    )
    return [row.payload["tries"] for row in rows]


def sends_of(session: Session, notice_id: UUID) -> int:
    """How many jobs were asked for to send a notice."""
    asked = text("SELECT count(*) FROM job WHERE name = 'workflows.notify.send' AND key = :key")
    return int(session.connection().scalar(asked, {"key": str(notice_id)}) or 0)


def result_of(session: Session, notice_id: UUID) -> str | None:
    return session.get_one(Notice, notice_id, populate_existing=True).send_result


def test_a_collector_hears_what_became_of_the_entry(session: Session, worker: Account, new_case: NewCase) -> None:
    case = new_case(SourceType.DOCUMENT, new_id(), worker.id, CaseState.CLOSED)
    service.case_changed(session, case_id=case.id, version=1)
    service.case_changed(session, case_id=case.id, version=1)
    (notice,) = service.inbox(session, caller_of(worker), limit=10).notices
    assert case.seq is not None
    number = case_number(case.opened_at, case.seq)
    assert notice.body == f"您上报的事项（编号 {number}）已办结。"


def test_a_case_nobody_collected_tells_nobody(session: Session, new_case: NewCase) -> None:
    case = new_case(SourceType.DOCUMENT, new_id(), None, CaseState.CLOSED)
    service.case_changed(session, case_id=case.id, version=1)
    assert session.exec(select(Notice)).all() == []


def test_a_step_that_keeps_the_state_tells_nobody(session: Session, worker: Account, new_case: NewCase) -> None:
    case = new_case(SourceType.DOCUMENT, new_id(), worker.id, CaseState.REPORTED)
    service.case_changed(session, case_id=case.id, version=1)
    assert session.exec(select(Notice)).all() == []


@pytest.mark.parametrize(("state", "heard"), [(CaseState.CLOSED, 1), (CaseState.HANDLING, 0)])
def test_a_citizen_hears_of_milestones_only(
    session: Session, citizen: Citizen, new_case: NewCase, state: CaseState, heard: int
) -> None:
    report = Report(citizen_id=citizen.id, state=ReportState.SUBMITTED, body={}, opened_at=now(), last_message_at=now())
    session.add(report)
    session.flush()
    case = new_case(SourceType.REPORT, report.id, None, state)
    service.case_changed(session, case_id=case.id, version=1)
    notices = session.exec(select(Notice).where(Notice.recipient_id == citizen.id)).all()
    assert len(notices) == heard


def test_an_unknown_case_version_is_given_up_at_once(session: Session) -> None:
    with pytest.raises(Discard, match="case_version_unknown"):
        service.case_changed(session, case_id=new_id(), version=1)


def test_the_inbox_pages_newest_first_without_gaps_and_counts_the_unread(session: Session, worker: Account) -> None:
    ids = [told(session, worker, f"k{number}") for number in range(5)]
    service.mark_read(session, caller_of(worker), notice_id=ids[0])
    session.flush()
    pages, before = [], None
    for _ in range(3):
        page = service.inbox(session, caller_of(worker), limit=2, before=before)
        pages.append([notice.id for notice in page.notices])
        assert page.unread == 4
        before = page.next
    assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]
    assert before is None


def test_nobody_reads_a_foreign_inbox(session: Session, worker: Account) -> None:
    other = session.exec(select(Account).where(Account.id != worker.id)).first()
    assert other is not None
    notice_id = told(session, worker)
    assert service.inbox(session, caller_of(other), limit=10).notices == []
    with pytest.raises(NotFound):
        service.mark_read(session, caller_of(other), notice_id=notice_id)


def test_reading_again_keeps_the_first_time(session: Session, worker: Account) -> None:
    notice_id = told(session, worker)
    first = service.mark_read(session, caller_of(worker), notice_id=notice_id).read_at
    session.flush()
    assert service.mark_read(session, caller_of(worker), notice_id=notice_id).read_at == first


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_can_be_filled(template: str) -> None:
    values = {"number": "1", "state": "closed", "missing": ["photo", "location"], "version": 1, "text": "合成"}
    assert "{" not in render(template, values).body


def test_a_login_without_a_device_has_no_push_target(session: Session, worker: Account) -> None:
    with pytest.raises(Forbidden):
        service.set_push_target(session, caller_of(worker), target="t" * 20, kind=TargetKind.FID)


class TestSending:
    """Through firebase-admin's real code and our WeChat client, against local servers."""

    @pytest.fixture(autouse=True)
    def _loopback_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asks = "google.oauth2.service_account.Credentials._is_regional_access_boundary_lookup_required"
        monkeypatch.setattr(asks, lambda _: False)

    @pytest.fixture
    def fcm(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeFcm]:
        fake = FakeFcm()
        fake.start()
        adapter = FirebasePush(str(fake.write_credentials(tmp_path / "account.json")), fcm_url=fake.send_url)
        monkeypatch.setattr(sending, "push_service", lambda: adapter)
        yield fake
        adapter.close()
        fake.stop()

    @pytest.fixture
    def wechat(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWechatApi]:
        fake = FakeWechatApi({})
        client = HttpWechatApi(base_url=fake.start(), app_id="wx", app_secret="s", max_media_bytes=10)
        monkeypatch.setattr(sending, "wechat_api", lambda: client)
        yield fake
        client.close()
        fake.stop()

    @pytest.fixture
    def device(self, session: Session, worker: Account) -> Device:
        return self.new_device(session, worker, "fid-synthetic-1")

    @staticmethod
    def new_device(session: Session, worker: Account, target: str) -> Device:
        """A handheld enrolled by the API: a worker's role may not do that."""
        device_id = new_id()
        with transaction(engine_for("zw_api")) as api:
            api.add(
                Device(
                    id=device_id,
                    account_id=worker.id,
                    name="synthetic",
                    public_key={},
                    enrolled_at=now(),
                    push_target=target,
                    push_target_kind="fid",
                )
            )
        return session.get_one(Device, device_id)

    @pytest.mark.usefixtures("device")
    def test_without_credentials_the_notice_waits_in_the_inbox(self, session: Session, worker: Account) -> None:
        notice_id = told(session, worker)
        sending.send(session, notice_id=notice_id)
        assert result_of(session, notice_id) == "inbox_only"

    @pytest.mark.usefixtures("device")
    def test_telling_twice_under_one_key_writes_one_notice_and_one_job(self, session: Session, worker: Account) -> None:
        notice_id = told(session, worker)
        told(session, worker)
        assert (sends_of(session, notice_id), result_of(session, notice_id)) == (1, None)

    def test_an_account_without_a_target_is_left_to_its_inbox(
        self, session: Session, worker: Account, fcm: FakeFcm
    ) -> None:
        notice_id = told(session, worker)
        assert (sends_of(session, notice_id), result_of(session, notice_id)) == (0, "inbox_only")
        sending.send(session, notice_id=notice_id)
        assert (result_of(session, notice_id), fcm.attempts) == ("inbox_only", 0)

    @pytest.mark.usefixtures("device")
    def test_a_handheld_is_woken_once_and_learns_no_more_than_the_id(
        self, session: Session, worker: Account, fcm: FakeFcm
    ) -> None:
        notice_id = told(session, worker)
        for _ in range(2):
            sending.send(session, notice_id=notice_id)
        assert [message["data"]["notice_id"] for message in fcm.messages] == [str(notice_id)]
        assert session.get_one(Notice, notice_id).sent_at is not None

    def test_a_target_that_is_gone_is_removed(
        self, session: Session, worker: Account, device: Device, fcm: FakeFcm
    ) -> None:
        fcm.script(UNREGISTERED)
        notice_id = told(session, worker)
        sending.send(session, notice_id=notice_id)
        session.refresh(device)
        assert (device.push_target, device.push_target_kind) == (None, None)
        assert result_of(session, notice_id) == "target_gone"

    def test_a_refusal_keeps_the_target(self, session: Session, worker: Account, device: Device, fcm: FakeFcm) -> None:
        fcm.script(SENDER_ID_MISMATCH)
        notice_id = told(session, worker)
        sending.send(session, notice_id=notice_id)
        session.refresh(device)
        assert (device.push_target, result_of(session, notice_id)) == ("fid-synthetic-1", "refused")

    @pytest.mark.usefixtures("device")
    def test_a_passing_fault_leaves_it_to_the_next_try(self, session: Session, worker: Account, fcm: FakeFcm) -> None:
        fcm.script_login(LOGIN_REFUSED)
        fcm.script(UNAVAILABLE)
        notice_id = told(session, worker)
        for tries in range(2):
            sending.send(session, notice_id=notice_id, tries=tries)
            assert result_of(session, notice_id) is None
        sending.send(session, notice_id=notice_id, tries=2)
        assert (result_of(session, notice_id), len(fcm.messages)) == ("sent", 1)
        assert waiting_tries(session, notice_id) == [1, 2]

    @pytest.mark.usefixtures("device")
    def test_a_service_that_stays_away_ends_as_a_result_and_no_dead_job(
        self, session: Session, worker: Account, fcm: FakeFcm
    ) -> None:
        fcm.script(UNAVAILABLE)
        notice_id = told(session, worker)
        sending.send(session, notice_id=notice_id, tries=len(sending.TRY_AGAIN_AFTER))
        assert result_of(session, notice_id) == "unreachable"
        assert waiting_tries(session, notice_id) == []

    @pytest.mark.usefixtures("device")
    def test_one_handheld_reached_is_enough(self, session: Session, worker: Account, fcm: FakeFcm) -> None:
        self.new_device(session, worker, "fid-synthetic-2")
        fcm.script(UNAVAILABLE)
        notice_id = told(session, worker)
        sending.send(session, notice_id=notice_id)
        assert (result_of(session, notice_id), len(fcm.messages)) == ("sent", 1)

    def test_a_target_moves_with_the_phone(self, session: Session, worker: Account, device: Device) -> None:
        other = self.new_device(session, worker, "fid-synthetic-2")
        with transaction(engine_for("zw_api")) as api:
            caller = caller_of(worker, other.id)
            service.set_push_target(api, caller, target="fid-synthetic-1", kind=TargetKind.TOKEN)
        session.refresh(device)
        session.refresh(other)
        assert (device.push_target, other.push_target, other.push_target_kind) == (None, "fid-synthetic-1", "token")

    def test_a_citizen_gets_a_chat_message(self, session: Session, citizen: Citizen, wechat: FakeWechatApi) -> None:
        notice_id = told_citizen(session, citizen)
        sending.send(session, notice_id=notice_id)
        assert [sent.openid for sent in wechat.sent] == [OPENID]
        assert "现场照片" in wechat.sent[0].text
        assert result_of(session, notice_id) == "sent"

    def test_after_48_hours_of_silence_nothing_is_sent(
        self, session: Session, citizen: Citizen, wechat: FakeWechatApi
    ) -> None:
        session.connection().execute(text("UPDATE wechat_message SET sent_at = sent_at - interval '48 hours'"))
        notice_id = told_citizen(session, citizen)
        sending.send(session, notice_id=notice_id)
        assert (result_of(session, notice_id), wechat.calls) == ("window_closed", [])

    def test_wechat_being_away_leaves_it_to_the_next_try(
        self, session: Session, citizen: Citizen, wechat: FakeWechatApi
    ) -> None:
        wechat.script(SEND, 502)
        notice_id = told_citizen(session, citizen)
        for tries in range(2):
            sending.send(session, notice_id=notice_id, tries=tries)
        assert len(wechat.sent) == 1

    def test_an_erased_citizen_is_not_written_to(
        self, session: Session, citizen: Citizen, wechat: FakeWechatApi
    ) -> None:
        notice_id = told_citizen(session, citizen)
        citizen.openid = b"\x90"
        session.flush()
        with pytest.raises(Discard, match="citizen_gone"):
            sending.send(session, notice_id=notice_id)
        assert wechat.sent == []
