"""Safe mode, held against wechatpy as oracle in both directions, and what it must refuse."""

import base64
import secrets
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wechatpy.crypto import WeChatCrypto

from workflows.channels.errors import WechatMalformed, WechatSignature, WechatStale
from workflows.channels.wechat_crypto import (
    Channel,
    Signed,
    decrypt,
    encrypt,
    open_call,
    read_xml,
    seal_call,
    signature_of,
    verify_address,
    write_xml,
)

AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
AES_KEY = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
CHANNEL = Channel.of(app_id="wx-synthetic", token="token", encoding_aes_key=AES_KEY)
ORACLE = WeChatCrypto("token", AES_KEY, "wx-synthetic")
XML = "<xml><FromUserName>o1</FromUserName><Content>路灯坏了</Content></xml>"


def opened(call: Signed, body: bytes, *, at: datetime = AT) -> bytes:
    return open_call(CHANNEL, call, body, at=at, window=300)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=300))
def test_what_wechatpy_encrypts_is_read(text: str) -> None:
    stamp = str(int(AT.timestamp()))
    fields = read_xml(ORACLE.encrypt_message(text, "nonce", stamp).encode())
    call = Signed(fields["MsgSignature"], stamp, "nonce")
    assert opened(call, write_xml({"Encrypt": fields["Encrypt"]})).decode() == text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300))
def test_wechatpy_reads_what_is_encrypted_here(text: str) -> None:
    call, body = seal_call(CHANNEL, text.encode(), at=AT)
    assert ORACLE.decrypt_message(body.decode(), call.signature, call.timestamp, call.nonce) == text


@pytest.mark.parametrize("length", range(70))
def test_every_padding_length_is_read(length: int) -> None:
    assert decrypt(CHANNEL, encrypt(CHANNEL, b"x" * length)) == b"x" * length


def test_an_altered_text_is_refused_although_the_plain_signature_would_still_fit() -> None:
    call, _ = seal_call(CHANNEL, XML.encode(), at=AT)
    _, other = seal_call(CHANNEL, XML.replace("坏", "亮").encode(), at=AT)
    plain = signature_of("token", call.timestamp, call.nonce)
    for signature in (call.signature, plain, ""):
        with pytest.raises(WechatSignature):
            opened(Signed(signature, call.timestamp, call.nonce), other)


@pytest.mark.parametrize("changed", ["timestamp", "nonce"])
def test_the_signature_covers_timestamp_and_nonce(changed: str) -> None:
    call, body = seal_call(CHANNEL, XML.encode(), at=AT, nonce="1")
    values = {"signature": call.signature, "timestamp": call.timestamp, "nonce": call.nonce}
    values[changed] += "0"
    with pytest.raises(WechatSignature):
        opened(Signed(**values), body)


def test_a_plain_message_is_refused_even_when_rightly_signed() -> None:
    stamp = str(int(AT.timestamp()))
    with pytest.raises(WechatSignature):
        opened(Signed(signature_of("token", stamp, "1"), stamp, "1"), XML.encode())


@pytest.mark.parametrize("age", [timedelta(seconds=301), timedelta(seconds=-301), timedelta(days=400)])
def test_a_call_from_another_time_is_stale(age: timedelta) -> None:
    call, body = seal_call(CHANNEL, XML.encode(), at=AT - age)
    with pytest.raises(WechatStale):
        opened(call, body)


@pytest.mark.parametrize("age", [timedelta(seconds=300), timedelta(seconds=-300)])
def test_a_call_at_the_edge_of_the_window_is_taken(age: timedelta) -> None:
    call, body = seal_call(CHANNEL, XML.encode(), at=AT - age)
    assert opened(call, body) == XML.encode()


@pytest.mark.parametrize("stamp", ["", "x", "-1", "1e9", "٣", "9" * 40])
def test_a_signed_timestamp_that_is_none_is_stale(stamp: str) -> None:
    encrypted = encrypt(CHANNEL, XML.encode())
    call = Signed(signature_of("token", stamp, "1", encrypted), stamp, "1")
    with pytest.raises(WechatStale):
        opened(call, write_xml({"Encrypt": encrypted}))


def test_a_message_for_another_account_is_refused() -> None:
    other = Channel("wx-other", CHANNEL.token, CHANNEL.aes_key)
    call, body = seal_call(other, XML.encode(), at=AT)
    with pytest.raises(WechatSignature):
        opened(call, body)


@pytest.mark.parametrize(
    "encrypted",
    ["%%%", "AAAA", base64.b64encode(b"").decode() or "=", base64.b64encode(bytes(range(31))).decode()],
)
def test_a_signed_text_that_is_no_ciphertext_is_malformed(encrypted: str) -> None:
    stamp = str(int(AT.timestamp()))
    call = Signed(signature_of("token", stamp, "1", encrypted), stamp, "1")
    with pytest.raises(WechatMalformed):
        opened(call, write_xml({"Encrypt": encrypted}))


@given(st.binary(min_size=32, max_size=96))
def test_any_signed_bytes_are_refused_without_a_crash(sealed: bytes) -> None:
    encrypted, stamp = base64.b64encode(sealed).decode(), str(int(AT.timestamp()))
    call = Signed(signature_of("token", stamp, "1", encrypted), stamp, "1")
    with pytest.raises((WechatMalformed, WechatSignature)):
        opened(call, write_xml({"Encrypt": encrypted}))


BOMB = """<?xml version="1.0"?><!DOCTYPE xml [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>
<xml><Encrypt>&b;</Encrypt></xml>"""
OUTSIDE = '<!DOCTYPE xml [<!ENTITY a SYSTEM "file:///etc/hostname">]><xml><Encrypt>&a;</Encrypt></xml>'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<xml>",
        b"<html><Encrypt>a</Encrypt></html>",
        BOMB.encode(),
        OUTSIDE.encode(),
        b"<!DOCTYPE xml><xml><Encrypt>a</Encrypt></xml>",
        b"<xml>" + b"<a/>" * 100 + b"</xml>",
        b'<?xml version="1.0" encoding="utf-7"?><xml/>',
        b'<?xml version="1.0" encoding="no-such"?><xml/>',
        b"\xff\xfe<",
    ],
)
def test_xml_that_is_no_message_is_malformed(body: bytes) -> None:
    with pytest.raises(WechatMalformed):
        read_xml(body)


@given(st.dictionaries(st.from_regex(r"\A[A-Za-z]{1,12}\Z"), st.text(alphabet="a<>&\"'路 ]"), max_size=8))
def test_fields_survive_writing_and_reading(fields: dict[str, str]) -> None:
    assert read_xml(write_xml(fields)) == fields


def test_the_address_check_wants_signature_and_time() -> None:
    stamp = str(int(AT.timestamp()))
    good = Signed(signature_of("token", stamp, "n"), stamp, "n")
    verify_address(CHANNEL, good, at=AT, window=300)
    with pytest.raises(WechatStale):
        verify_address(CHANNEL, good, at=AT + timedelta(hours=1), window=300)
    with pytest.raises(WechatSignature):
        verify_address(CHANNEL, Signed("", stamp, "n"), at=AT, window=300)


def test_secrets_stay_out_of_the_text_form() -> None:
    assert "token='" not in repr(CHANNEL)
    assert "aes_key" not in repr(CHANNEL)


@pytest.mark.parametrize("key", ["", "short", "a" * 44, "!" * 43])
def test_a_wrong_encoding_aes_key_is_said_at_once(key: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Channel.of(app_id="a", token="t", encoding_aes_key=key)
