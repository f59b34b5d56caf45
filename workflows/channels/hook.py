"""The door for WeChat's calls: verify, store, enqueue, and nothing else. WeChat waits five seconds at most."""

from functools import lru_cache

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col

from backend import jobs
from backend.core.clock import now
from backend.core.crypto import key_ring
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import WechatMessage
from backend.services import audit
from backend.services.sealing import SubjectErased
from workflows.channels.errors import WechatMalformed, WechatNotConfigured
from workflows.channels.messages import seal_message, sender_index
from workflows.channels.rules import sent_at
from workflows.channels.wechat_crypto import Channel, Signed, open_call, read_xml, verify_address

ACTOR = "workflows.channels"


def answer_address_check(call: Signed) -> None:
    """Check the call by which WeChat tries the address of this hook."""
    verify_address(channel(), call, at=now(), window=get_settings().wechat_window_seconds)


def receive(session: Session, call: Signed, body: bytes) -> None:
    """Store one message and enqueue its handling. A message that came before has no second effect.

    Of a sender who was erased nothing is kept but that a message came.
    """
    at = now()
    xml = open_call(channel(), call, body, at=at, window=get_settings().wechat_window_seconds)
    fields = read_xml(xml)
    sender = fields.get("FromUserName", "")
    if not sender:
        raise WechatMalformed
    message_id, index = new_id(), sender_index(sender)
    try:
        raw = seal_message(session, message_id, sender=index, xml=xml)
    except SubjectErased:
        # WeChat is told that all is well, or it would send the message twice more.
        audit.record(
            session, actor=ACTOR, action="message_not_kept", object_type="wechat_message", object_id=str(message_id)
        )
        return
    stored = session.connection().scalar(
        insert(WechatMessage)
        .values(
            id=message_id,
            message_key=_message_key(fields, sender),
            sender_index=index,
            raw=raw,
            sent_at=sent_at(fields, received_at=at),
            received_at=at,
        )
        .on_conflict_do_nothing(index_elements=["message_key"])
        .returning(col(WechatMessage.id))
    )
    if stored is not None:
        jobs.enqueue(session, "workflows.channels.message", key=str(stored), message_id=str(stored))


def channel() -> Channel:
    """The official account of the settings. `WechatNotConfigured` where it is not set up, or wrongly."""
    settings = get_settings()
    token = settings.wechat_token.get_secret_value()
    encoding_aes_key = settings.wechat_encoding_aes_key.get_secret_value()
    if not (settings.wechat_app_id and token and encoding_aes_key):
        raise WechatNotConfigured
    return _channel(settings.wechat_app_id, token, encoding_aes_key)


@lru_cache(maxsize=2)
def _channel(app_id: str, token: str, encoding_aes_key: str) -> Channel:
    try:
        return Channel.of(app_id=app_id, token=token, encoding_aes_key=encoding_aes_key)
    except ValueError as error:
        raise WechatNotConfigured from error


def _message_key(fields: dict[str, str], sender: str) -> bytes:
    """`MsgId` names a message; an event has none and is named by sender, time and event."""
    if message_id := fields.get("MsgId"):
        return key_ring().blind_index("wechat_message", message_id)
    return key_ring().blind_index("wechat_event", sender, fields.get("CreateTime", ""), fields.get("Event", ""))
