"""Sending a notice on: to an account's handhelds through FCM, to a citizen as a WeChat message.

Runs without holding a row lock, because it waits for the network. A crash between the answer of the outside service
and the commit sends once more; the handheld collapses wake-ups of one notice, and the citizen reads a text twice.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, update
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.logging import get_logger
from backend.models import Citizen, Device, Notice, WechatMessage
from backend.services import audit
from backend.services.sealing import open_value
from workflows.notify.push import PushAway, PushResult, TargetKind, Wake, push_service
from workflows.notify.service import SEND_JOB, RecipientType, can_be_woken
from workflows.notify.templates import render
from workflows.notify.wechat import WechatAway, wechat_api

ACTOR = "workflows.notify"
CITIZEN_WINDOW = timedelta(hours=48)
UNREACHABLE = "unreachable"
TRY_AGAIN_AFTER = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
)
"""How long a send waits for a service that is away. After the last try the inbox row stands alone."""

log = get_logger(__name__)


def send(session: Session, *, notice_id: UUID, tries: int = 0) -> None:
    """Send a notice that was not sent yet and note what became of it.

    A service that is away is no failure of the job: another job tries again later, in the end the notice is noted as
    unreachable. It is in the inbox all the time; sending only wakes its reader.
    """
    notice = session.get(Notice, notice_id)
    if notice is None:
        raise jobs.Discard("notice_unknown")
    if notice.send_result is not None:
        return
    try:
        if notice.recipient_type == RecipientType.ACCOUNT:
            result = _to_devices(session, notice)
        else:
            result = _to_citizen(session, notice)
    except (PushAway, WechatAway) as away:
        log.warning("notice not sent yet", notice_id=str(notice_id), reason=away.reason, tries=tries)
        if tries < len(TRY_AGAIN_AFTER):
            _try_again(session, notice_id, tries)
            return
        result = UNREACHABLE
    notice.send_result = result
    notice.sent_at = now() if result == PushResult.SENT else None


def _try_again(session: Session, notice_id: UUID, tries: int) -> None:
    payload = {"notice_id": str(notice_id), "tries": tries + 1}
    again = jobs.NewJob(SEND_JOB, f"{notice_id}:{tries + 1}", payload, delay=TRY_AGAIN_AFTER[tries])
    jobs.enqueue_many(session, [again])


def _to_devices(session: Session, notice: Notice) -> str:
    """Wake all handhelds of the account. One that was reached is enough; a target that is gone is forgotten."""
    results = [_wake(session, device, notice) for device in _reachable(session, notice.recipient_id)]
    for best in (PushResult.SENT, PushResult.INBOX_ONLY, PushResult.REFUSED):
        if best in results:
            return best
    away = next((result for result in results if isinstance(result, PushAway)), None)
    if away is not None:
        raise away
    return PushResult.GONE if results else PushResult.INBOX_ONLY


def _reachable(session: Session, account_id: UUID) -> Sequence[Device]:
    return session.exec(select(Device).where(Device.account_id == account_id, *can_be_woken())).all()


def _wake(session: Session, device: Device, notice: Notice) -> PushResult | PushAway:
    assert device.push_target is not None
    kind = TargetKind(device.push_target_kind or TargetKind.TOKEN)
    try:
        result = push_service().send(device.push_target, kind, Wake(notice.id, notice.template))
    except PushAway as away:
        return away
    if result is PushResult.GONE:
        # Only this target: the device may have reported a new one while the answer was on its way.
        gone = update(Device).where(col(Device.id) == device.id, col(Device.push_target) == device.push_target)
        if session.connection().execute(gone.values(push_target=None, push_target_kind=None)).rowcount:
            audit.record(
                session, actor=ACTOR, action="push_target_removed", object_type="device", object_id=str(device.id)
            )
    return result


def _to_citizen(session: Session, notice: Notice) -> str:
    """Send the text to a citizen who wrote within 48 hours: WeChat allows no more."""
    citizen = session.get(Citizen, notice.recipient_id)
    openid = open_value(session, citizen.openid, context=citizen.id.bytes) if citizen else None
    if citizen is None or openid is None:
        raise jobs.Discard("citizen_gone")
    wrote: datetime | None = session.exec(
        select(func.max(WechatMessage.sent_at)).where(WechatMessage.sender_index == citizen.openid_index)
    ).one()
    if wrote is None or wrote < now() - CITIZEN_WINDOW:
        return "window_closed"
    text = render(notice.template, notice.payload)
    return wechat_api().send_text(openid, f"{text.title}\n{text.body}")
