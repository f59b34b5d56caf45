"""Fetching citizens' photos from WeChat, which keeps them for three days.

A fetch that fails for the moment is a job that ends well and leaves a later one: the outage of another service must
not use up the few attempts a job has.
"""

from datetime import timedelta
from uuid import UUID

from sqlmodel import Session

from backend import jobs
from backend.core.clock import now
from backend.core.enums import PhotoState
from backend.core.errors import ZhiwangError
from backend.core.logging import get_logger
from backend.models import WechatMessage
from backend.services.photos import receive_photo
from workflows.channels.messages import open_message
from workflows.channels.rules import Picture, part_of
from workflows.channels.service import ACTOR, photo_came, photo_id_of
from workflows.notify.wechat import Media, MediaGone, WechatAway, wechat_api

MEDIA_KEPT = timedelta(days=3)
FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(hours=1)
SERVER_FAULT = 500

log = get_logger(__name__)


def fetch_photo(session: Session, *, message_id: UUID, tries: int) -> None:
    """Fetch the photo of a message and hand it over; later, while WeChat is away; never, once it is gone."""
    message = session.get(WechatMessage, message_id)
    part = part_of(open_message(session, message)) if message else None
    if message is None or message.report_id is None or not isinstance(part, Picture):
        raise jobs.Discard("message_without_photo")
    state = PhotoState.FAILED
    try:
        media = wechat_api().fetch_media(part.media_id)
        state = _hand_over(session, photo_id_of(message_id), media)
    except WechatAway as away:
        if now() < message.received_at + MEDIA_KEPT:
            _try_later(session, message_id, tries=tries + 1, reason=away.reason)
            return
        log.warning("photo given up", message_id=str(message_id), reason=away.reason)
    except MediaGone as gone:
        log.warning("photo is gone", message_id=str(message_id), reason=gone.reason)
    photo_came(session, report_id=message.report_id, photo_id=photo_id_of(message_id), state=state)


def wait_before(tries: int) -> timedelta:
    """How long to wait before a fetch that failed `tries` times: 5 s, doubled each time up to an hour."""
    return min(FIRST_WAIT * (1 << min(tries - 1, 20)), LONGEST_WAIT)


def _hand_over(session: Session, photo_id: UUID, media: Media) -> PhotoState:
    """Store the file as a photo without an owner. One that is refused as a photo counts as failed."""
    try:
        receive_photo(session, photo_id=photo_id, owner_id=None, content=media.content, mime=media.mime, actor=ACTOR)
    except ZhiwangError as refusal:
        if refusal.status >= SERVER_FAULT:
            raise
        log.warning("photo refused", photo_id=str(photo_id), reason=refusal.code)
        return PhotoState.FAILED
    return PhotoState.RECEIVED


def _try_later(session: Session, message_id: UUID, *, tries: int, reason: str) -> None:
    log.warning("photo not fetched yet", message_id=str(message_id), tries=tries, reason=reason)
    payload = {"message_id": str(message_id), "tries": tries}
    later = jobs.NewJob("workflows.channels.fetch_photo", f"{message_id}:{tries}", payload, delay=wait_before(tries))
    jobs.enqueue_many(session, [later])
