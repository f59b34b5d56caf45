"""Raw WeChat messages at rest: sealed under the key of their sender, who is known by the blind index of the OpenID.

Erasing that subject makes everything the person ever wrote unreadable, whatever reports it became part of.
"""

import base64
from uuid import UUID

from sqlmodel import Session

from backend import jobs
from backend.core.crypto import key_ring
from backend.models import WechatMessage
from backend.services.sealing import FIRST_BLOB_BYTE, open_value, seal_value
from workflows.channels.wechat_crypto import read_xml


def sender_index(openid: str) -> bytes:
    """The blind index by which a citizen and the citizen's messages are found; also the subject of the messages."""
    return key_ring().blind_index("openid", openid)


def seal_message(session: Session, message_id: UUID, *, sender: bytes, xml: bytes) -> bytes:
    """The bytes to be kept. `SubjectErased` where the sender was erased."""
    return seal_value(session, sender, xml, context=message_id.bytes)


def open_message(session: Session, message: WechatMessage) -> dict[str, str]:
    """The fields of a stored message. `Discard` where the sender was erased."""
    return read_xml(raw_of(session, message))


def raw_of(session: Session, message: WechatMessage) -> bytes:
    """The XML as it came. `Discard` where the sender was erased."""
    if message.raw[0] < FIRST_BLOB_BYTE:
        return key_ring().open_system(message.raw, context=message.id.bytes)
    xml = open_value(session, message.raw, context=message.id.bytes)
    if xml is None:
        raise jobs.Discard("citizen_gone")
    return base64.b64decode(xml)
