"""WeChat's safe mode: signatures, the encrypted envelope, and its XML. Pure: the clock is an argument.

An envelope is `base64(AES-256-CBC(16 random bytes | length, 4 bytes big-endian | XML | app id))`, padded by PKCS#7 to
blocks of 32. The key is `base64(EncodingAESKey + '=')`, the IV its first 16 bytes. `msg_signature` is the SHA-1 of
token, timestamp, nonce and the encrypted text, sorted and joined. The older `signature` leaves the text out, so it
proves nothing about a message and is used only where WeChat knows no other: when the address is registered.
"""

import base64
import hmac
import secrets
import struct
from binascii import Error as NotBase64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha1
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from workflows.channels.errors import WechatMalformed, WechatSignature, WechatStale

BLOCK = 32
RANDOM_BYTES = 16
LENGTH = struct.Struct(">I")
MAX_FIELDS = 64


@dataclass(frozen=True, slots=True)
class Channel:
    """An official account as its console shows it. Secrets stay out of `repr`."""

    app_id: str
    token: str = field(repr=False)
    aes_key: bytes = field(repr=False)

    @classmethod
    def of(cls, *, app_id: str, token: str, encoding_aes_key: str) -> "Channel":
        """`ValueError` where EncodingAESKey is not the 43 characters that name 32 bytes."""
        aes_key = base64.b64decode(encoding_aes_key + "=", validate=True)
        if len(aes_key) != AES256.key_size // 8:
            raise ValueError("EncodingAESKey must have 43 characters")
        return cls(app_id, token, aes_key)


@dataclass(frozen=True, slots=True)
class Signed:
    """The query part of a call: what was signed besides the body."""

    signature: str
    timestamp: str
    nonce: str


def signature_of(*parts: str) -> str:
    """SHA-1 over the sorted parts, as WeChat defines it."""
    return sha1("".join(sorted(parts)).encode(), usedforsecurity=False).hexdigest()


def verify_address(channel: Channel, call: Signed, *, at: datetime, window: int) -> None:
    """Check the call by which WeChat tries the hook's address. `WechatSignature` or `WechatStale` otherwise."""
    _check(call, signature_of(channel.token, call.timestamp, call.nonce), at=at, window=window)


def open_call(channel: Channel, call: Signed, body: bytes, *, at: datetime, window: int) -> bytes:
    """The XML inside a signed and encrypted call whose timestamp is at most `window` seconds away from `at`."""
    encrypted = read_xml(body).get("Encrypt")
    if not encrypted:
        raise WechatSignature
    _check(call, signature_of(channel.token, call.timestamp, call.nonce, encrypted), at=at, window=window)
    return decrypt(channel, encrypted)


def seal_call(channel: Channel, xml: bytes, *, at: datetime, nonce: str | None = None) -> tuple[Signed, bytes]:
    """The sending side of `open_call`: query and body, also the shape of an encrypted reply."""
    encrypted = encrypt(channel, xml)
    timestamp, nonce = str(int(at.timestamp())), nonce or secrets.token_hex(8)
    signed = Signed(signature_of(channel.token, timestamp, nonce, encrypted), timestamp, nonce)
    return signed, write_xml({"ToUserName": channel.app_id, "Encrypt": encrypted})


def encrypt(channel: Channel, xml: bytes) -> str:
    """The envelope's text."""
    plain = secrets.token_bytes(RANDOM_BYTES) + LENGTH.pack(len(xml)) + xml + channel.app_id.encode()
    missing = BLOCK - len(plain) % BLOCK
    encryptor = _cipher(channel).encryptor()
    sealed = encryptor.update(plain + bytes([missing]) * missing) + encryptor.finalize()
    return base64.b64encode(sealed).decode()


def decrypt(channel: Channel, encrypted: str) -> bytes:
    """The XML of an envelope. Its signature must have been checked: the cipher alone does not notice changes."""
    try:
        sealed = base64.b64decode(encrypted, validate=True)
        decryptor = _cipher(channel).decryptor()
        plain = _unpadded(decryptor.update(sealed) + decryptor.finalize())
    except (NotBase64, ValueError) as error:
        raise WechatMalformed from error
    start = RANDOM_BYTES + LENGTH.size
    if len(plain) < start:
        raise WechatMalformed
    end = start + LENGTH.unpack_from(plain, RANDOM_BYTES)[0]
    if end > len(plain):
        raise WechatMalformed
    if not hmac.compare_digest(plain[end:], channel.app_id.encode()):
        raise WechatSignature
    return plain[start:end]


def read_xml(body: bytes) -> dict[str, str]:
    """The fields of a flat `<xml>` message. `WechatMalformed` for anything else, document types included."""
    try:
        root: Element = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise WechatMalformed from error
    if root.tag != "xml" or len(root) > MAX_FIELDS:
        raise WechatMalformed
    return {child.tag: child.text or "" for child in root}


def write_xml(fields: Mapping[str, str]) -> bytes:
    """The reverse of `read_xml`."""
    inside = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    return f"<xml>{inside}</xml>".encode()


def _check(call: Signed, expected: str, *, at: datetime, window: int) -> None:
    if not hmac.compare_digest(expected.encode(), call.signature.encode()):
        raise WechatSignature
    if not (call.timestamp.isascii() and call.timestamp.isdigit() and len(call.timestamp) <= 12):
        raise WechatStale
    if abs(at.timestamp() - int(call.timestamp)) > window:
        raise WechatStale


def _cipher(channel: Channel) -> Cipher[CBC]:
    return Cipher(AES256(channel.aes_key), CBC(channel.aes_key[:16]))


def _unpadded(padded: bytes) -> bytes:
    count = padded[-1] if padded else 0
    if not 1 <= count <= BLOCK or padded[-count:] != bytes([count]) * count:
        raise ValueError("wrong padding")
    return padded[:-count]
