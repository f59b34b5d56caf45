"""From messages to reports: what a citizen sends within a short window becomes one report, submitted once.

Every function locks the citizen's row first, so that two workers with two messages of one person take turns. None of
them waits for the network while it holds the lock.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import PhotoState, ReportState, SourceType
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.kinds.geodesy import SCALE
from backend.models import Citizen, PhotoLink, Report, WechatMessage
from backend.services import audit, photos, territory
from backend.services.sealing import seal_value
from workflows.channels import drafts, rules, wishes
from workflows.channels.keywords import keywords
from workflows.channels.messages import open_message
from workflows.channels.rules import Asked, Draft, Followed, Part, Picture, Span, Unsupported, Words
from workflows.notify.service import Recipient, RecipientType, tell

PHOTO_IDS = UUID("6f0b6b5e-6a43-5a52-9a40-5f3f6c3f0c11")
ACTOR = "workflows.channels"


def photo_id_of(message_id: UUID) -> UUID:
    """The id of the photo a message brings: the same each time, so that a second run adds no second photo."""
    return uuid5(PHOTO_IDS, str(message_id))


def take_messages(session: Session, *, message_id: UUID) -> None:
    """Take the sender's waiting messages, this one among them, in the order in which they were sent."""
    message = session.get(WechatMessage, message_id)
    if message is None:
        raise jobs.Discard("message_unknown")
    if message.processed_at is not None:
        return
    citizen = _citizen_of(session, openid=open_message(session, message)["FromUserName"], index=message.sender_index)
    for waiting in _waiting_of(session, citizen):
        _take(session, citizen, waiting)


def settle(session: Session, *, report_id: UUID, last_message_at: datetime) -> None:
    """The window after a report's last message is over: submit it, or say what is missing.

    Nothing where a later message came meanwhile; that one brought a job of its own.
    """
    report = _locked_report(session, report_id)
    if report.state is not ReportState.ASSEMBLING or report.last_message_at > last_message_at:
        return
    draft = replace(drafts.load(session, report), settled=True)
    drafts.save(session, report, draft)
    _advance(session, report, draft)


def photo_came(session: Session, *, report_id: UUID, photo_id: UUID, state: PhotoState) -> None:
    """Note that a photo of a report was fetched, or will never be; submit the report if it waited for it."""
    report = _locked_report(session, report_id)
    draft = rules.with_photo(drafts.load(session, report), str(photo_id), state)
    drafts.save(session, report, draft)
    if state is PhotoState.FAILED:
        _audit(session, "photo_lost", "photo", photo_id)
        if report.state is ReportState.ASSEMBLING:
            _tell(session, report, "photo_lost", key=f"photo:{photo_id}:lost")
    _advance(session, report, draft)


def _take(session: Session, citizen: Citizen, message: WechatMessage) -> None:
    message.processed_at = now()
    _audit(session, "message_taken", "wechat_message", message.id)
    part = rules.part_of(open_message(session, message))
    if isinstance(part, Followed):
        recipient = Recipient(RecipientType.CITIZEN, citizen.id)
        tell(session, recipient, key=f"welcome:{message.id}", template="welcome", values={})
    wishes.tell_notice(session, citizen)
    if isinstance(part, Asked):
        wishes.grant(session, citizen, message, part.wish)
    if isinstance(part, Followed | Unsupported | Asked) or wishes.stopped(session, citizen):
        return
    report, draft = _report_for(session, citizen, part, message.sent_at)
    message.report_id = report.id
    if report.state is ReportState.SUBMITTED and not isinstance(part, Picture | Words):
        return
    draft = rules.with_part(draft, part, at=message.sent_at, photo_id=str(photo_id_of(message.id)))
    report.opened_at = min(report.opened_at, message.sent_at)
    report.last_message_at = max(report.last_message_at, message.sent_at)
    drafts.save(session, report, draft)
    if isinstance(part, Picture):
        _expect_photo(session, report, message)
    _advance(session, report, draft)
    if report.state is ReportState.ASSEMBLING:
        _settle_later(session, report)


def _report_for(session: Session, citizen: Citizen, part: Part, at: datetime) -> tuple[Report, Draft]:
    """The report the message is part of: an unfinished one, one it came too late for, or a new one."""
    window = timedelta(seconds=get_settings().report_window_seconds)
    for report in _recent_reports(session, citizen, since=at - rules.INCOMPLETE_KEPT - window):
        span = Span(report.opened_at, report.last_message_at, window)
        draft = drafts.load(session, report)
        if report.state is ReportState.SUBMITTED:
            joins = rules.came_late(part, at=at, span=span)
        else:
            joins = rules.belongs(draft, part, at=at, span=span)
        if joins:
            return report, draft
    return _new_report(session, citizen, at), Draft()


def _recent_reports(session: Session, citizen: Citizen, *, since: datetime) -> Sequence[Report]:
    return session.exec(
        select(Report)
        .where(Report.citizen_id == citizen.id, Report.last_message_at >= since)
        .order_by(col(Report.last_message_at).desc(), col(Report.id).desc())
        .execution_options(populate_existing=True)
    ).all()


def _new_report(session: Session, citizen: Citizen, at: datetime) -> Report:
    report = Report(
        id=new_id(),
        citizen_id=citizen.id,
        state=ReportState.ASSEMBLING,
        body={},
        opened_at=at,
        last_message_at=at,
    )
    session.add(report)
    session.flush()
    _audit(session, "report_opened", "report", report.id)
    return report


def _expect_photo(session: Session, report: Report, message: WechatMessage) -> None:
    link = {"source_type": SourceType.REPORT, "source_id": report.id, "photo_id": photo_id_of(message.id)}
    session.connection().execute(insert(PhotoLink).values(**link).on_conflict_do_nothing())
    jobs.enqueue(session, "workflows.channels.fetch_photo", key=f"{message.id}:0", message_id=str(message.id), tries=0)


def _settle_later(session: Session, report: Report) -> None:
    """Ask for `settle` once no message has come for a window; messages of one second share the job."""
    last = report.last_message_at.isoformat()
    payload = {"report_id": str(report.id), "last_message_at": last}
    delay = timedelta(seconds=get_settings().report_window_seconds)
    jobs.enqueue_many(session, [jobs.NewJob("workflows.channels.settle", f"{report.id}:{last}", payload, delay=delay)])


def _advance(session: Session, report: Report, draft: Draft) -> None:
    """Submit a report that is due; tell a citizen who has finished what is still missing."""
    if report.state is not ReportState.ASSEMBLING:
        return
    if rules.due(draft):
        _submit(session, report, draft)
    elif (draft.confirmed or draft.settled) and (lacking := rules.missing(draft)):
        _tell(session, report, "report_incomplete", key=f"report:{report.id}:incomplete", missing=lacking)


def _submit(session: Session, report: Report, draft: Draft) -> None:
    assert draft.located is not None
    _, lat, lon = draft.located
    words = keywords()
    report.state, report.submitted_at = ReportState.SUBMITTED, now()
    report.grid_id = territory.grid_at(session, lat / SCALE, lon / SCALE)
    class_code = rules.class_of(draft.text, words.pairs, default=words.default)
    report.body = {**report.body, "scheme": words.scheme, "class_code": class_code}
    jobs.enqueue(
        session,
        "workflows.crosscheck",
        key=f"report:{report.id}:{report.version}",
        source_type=SourceType.REPORT.value,
        source_id=str(report.id),
        source_version=report.version,
    )
    photos.assess_sources_later(session, [photos.Cause(SourceType.REPORT, report.id, "submitted")])
    _audit(session, "report_submitted", "report", report.id)
    _tell(session, report, "report_submitted", key=f"report:{report.id}:submitted")


def _citizen_of(session: Session, *, openid: str, index: bytes) -> Citizen:
    """The citizen's row, locked; made on the first message."""
    locked = select(Citizen).where(Citizen.openid_index == index).with_for_update()
    found = session.exec(locked).first()
    if found is not None:
        return found
    citizen_id = new_id()
    sealed = seal_value(session, citizen_id.bytes, openid, context=citizen_id.bytes)
    session.connection().execute(
        insert(Citizen)
        .values(id=citizen_id, openid_index=index, openid=sealed, created_at=now())
        .on_conflict_do_nothing(index_elements=["openid_index"])
    )
    return session.exec(locked).one()


def _waiting_of(session: Session, citizen: Citizen) -> Sequence[WechatMessage]:
    """Read after the lock was taken, so that what another worker took meanwhile is not seen as waiting."""
    return session.exec(
        select(WechatMessage)
        .where(WechatMessage.sender_index == citizen.openid_index, col(WechatMessage.processed_at).is_(None))
        .order_by(col(WechatMessage.sent_at), col(WechatMessage.received_at), col(WechatMessage.id))
        .execution_options(populate_existing=True)
    ).all()


def _locked_report(session: Session, report_id: UUID) -> Report:
    """The report as it stands once its citizen's row is locked. Of an erased citizen nothing is known any more."""
    named = (Report.id == report_id, Citizen.openid != b"")
    owner = select(Citizen.id).join(Report).where(*named).with_for_update(of=Citizen)
    if session.exec(owner).first() is None:
        raise jobs.Discard("report_unknown")
    return session.exec(select(Report).where(Report.id == report_id).execution_options(populate_existing=True)).one()


def _tell(session: Session, report: Report, template: str, *, key: str, **values: object) -> None:
    recipient = Recipient(RecipientType.CITIZEN, report.citizen_id)
    tell(session, recipient, key=key, template=template, values={"report_id": str(report.id), **values})


def _audit(session: Session, action: str, object_type: str, object_id: UUID) -> None:
    audit.record(session, actor=ACTOR, action=action, object_type=object_type, object_id=str(object_id))
