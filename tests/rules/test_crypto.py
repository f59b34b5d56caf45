"""Ciphers and keyed hashes against published vectors, and against what the first version of this program sealed."""

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SM3, Hash

from backend.core.ciphers import CipherName, DataKey, Undecipherable
from backend.core.crypto import IndexHash, KeyRing, cipher_of, parse_master_keys, version_of

SIV, SM4 = CipherName.AES_SIV, CipherName.SM4_GCM
MASTERS = {1: bytes(range(32)), 3: bytes(range(32, 64))}
INDEX_KEY = b"i" * 32
SUBJECT = b"s" * 16


def ring(cipher: CipherName = SIV, index_hash: IndexHash = IndexHash.SHA256) -> KeyRing:
    return KeyRing(MASTERS, INDEX_KEY, cipher, index_hash)


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


def test_aes_siv_is_that_of_rfc_5297() -> None:
    """Appendix A.1."""
    key = DataKey(unhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0 f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"))
    plaintext = unhex("112233445566778899aabbccddee")
    context = unhex("101112131415161718191a1b1c1d1e1f2021222324252627")
    sealed = unhex("85632d07c6e8f37f950acd320a2ecc93 40c02b9690c4dc04daef7f6afe5c")
    assert key.seal(plaintext, context=context) == sealed
    assert key.open(sealed, context=context) == plaintext


SM4_KEY = unhex("0123456789abcdeffedcba9876543210")


def test_sm4_is_that_of_gb_t_32907() -> None:
    """Example 1: the key encrypts itself."""
    block = Cipher(algorithms.SM4(SM4_KEY), modes.ECB()).encryptor().update(SM4_KEY)
    assert block == unhex("681edf34d206965e86b3e94f536e4246")


def test_sm4_gcm_is_that_of_rfc_8998() -> None:
    """Appendix A.1; in our layout the nonce stands before and the tag behind."""
    key = DataKey(SM4_KEY, SM4)
    context = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    plaintext = unhex("aa" * 8 + "bb" * 8 + "cc" * 8 + "dd" * 8 + "ee" * 8 + "ff" * 8 + "ee" * 8 + "aa" * 8)
    nonce = unhex("00001234567800000000abcd")
    ciphertext = unhex(
        "17f399f08c67d5ee19d0dc9969c4bb7d 5fd46fd3756489069157b282bb200735"
        "d82710ca5c22f0ccfa7cbf93d496ac15 a56834cbcf98c397b4024a2691233b8d"
    )
    tag = unhex("83de3541e4c2b58177e065a9bf7b62ec")
    assert key.open(nonce + ciphertext + tag, context=context) == plaintext
    again = key.seal(plaintext, context=context)
    assert len(again) == len(nonce + ciphertext + tag)
    assert again != key.seal(plaintext, context=context), "the nonce is fresh"
    assert key.open(again, context=context) == plaintext


def test_sm3_is_that_of_gb_t_32905() -> None:
    digest = Hash(SM3())
    digest.update(b"abc")
    expected = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert digest.finalize() == unhex(expected)


def sm3(content: bytes) -> bytes:
    digest = Hash(SM3())
    digest.update(content)
    return digest.finalize()


def hmac_sm3(key: bytes, content: bytes) -> bytes:
    """RFC 2104 written out, for keys up to a block."""
    padded = key.ljust(64, b"\0")
    inner = sm3(bytes(byte ^ 0x36 for byte in padded) + content)
    return sm3(bytes(byte ^ 0x5C for byte in padded) + inner)


def test_an_index_with_sm3_is_an_hmac_with_sm3() -> None:
    keyed = ring(index_hash=IndexHash.SM3)
    phone = hmac_sm3(hmac_sm3(INDEX_KEY, b"phone"), b"13800138000")
    assert keyed.blind_index("phone", "13800138000") == phone[:16]
    assert keyed.fingerprint(b"x") == hmac_sm3(hmac_sm3(INDEX_KEY, b"fingerprint"), b"x")
    assert keyed.index_check() != ring().index_check()


def test_what_the_first_version_sealed_still_opens_byte_for_byte() -> None:
    """The values were made by release 0.1.0 from these keys, with a data key of the bytes 64 to 95."""
    system = unhex("037a19b6741b9d056ba96cf1679be6ed6de62bad0293df")
    for cipher in CipherName:
        keys = ring(cipher)
        assert keys.open_system(system, context=b"quarantine").decode() == "绝密"
        wrapped = unhex(
            "0340327227038dd4ca135a4c6457e09e88d4684349c03cea314ec3fa23fc19bc1eef69327c6487c2df51919bb94600840c"
        )
        key = keys.unwrap(wrapped, subject=SUBJECT)
        assert key == DataKey(bytes(range(64, 96)))
        sealed = unhex("d5bdc7ee8c46551f9ef5c902d52bf3f7951537852fb7")
        assert key.open(sealed, context=b"here").decode() == "绝密"
        assert key.seal("绝密".encode(), context=b"here") == sealed
    assert ring().seal_system("绝密".encode(), context=b"quarantine") == system
    assert ring().blind_index("phone", "13800138000").hex() == "ab7823945c1bbac1d01751b2a4b29f15"
    expected = "618e5d3ecc2a007aa798d096e4141aacc26826a5c789035737667d967951b894"
    assert ring().fingerprint(b"x").hex() == expected


@pytest.mark.parametrize("begun", list(CipherName))
@pytest.mark.parametrize("today", list(CipherName))
def test_a_subject_keeps_the_cipher_it_began_with(begun: CipherName, today: CipherName) -> None:
    key, wrapped = ring(begun).new_wrapped_key(subject=SUBJECT)
    assert (key.cipher, cipher_of(wrapped[0]), version_of(wrapped[0])) == (begun, begun, 3)
    sealed = key.seal(b"secret", context=b"here")
    opened = ring(today).unwrap(wrapped, subject=SUBJECT)
    assert opened.open(sealed, context=b"here") == b"secret"
    assert ring(today).open_system(ring(begun).seal_system(b"x", context=b"c"), context=b"c") == b"x"
    older = KeyRing({1: MASTERS[1]}, INDEX_KEY, begun)
    key, wrapped = older.new_wrapped_key(subject=SUBJECT)
    rewrapped = ring(today).rewrap(wrapped, subject=SUBJECT)
    assert (version_of(rewrapped[0]), cipher_of(rewrapped[0])) == (3, begun)
    assert ring(today).unwrap(rewrapped, subject=SUBJECT) == key
    with pytest.raises(Undecipherable):
        older.unwrap(rewrapped, subject=SUBJECT)


@pytest.mark.parametrize("cipher", list(CipherName))
@pytest.mark.parametrize("wrong", ["flipped", "cut", "empty", "context", "subject"])
def test_what_was_touched_does_not_open(cipher: CipherName, wrong: str) -> None:
    key, wrapped = ring(cipher).new_wrapped_key(subject=SUBJECT)
    sealed = key.seal(b"secret", context=b"here")
    sealed = {"flipped": sealed[:-1] + bytes([sealed[-1] ^ 1]), "cut": sealed[:-1], "empty": b""}.get(wrong, sealed)
    subject = b"another subject!" if wrong == "subject" else SUBJECT
    with pytest.raises(Undecipherable):
        ring(cipher).unwrap(wrapped, subject=subject).open(sealed, context=b"there" if wrong == "context" else b"here")


def test_the_head_of_a_wrapped_key_can_not_be_turned_into_the_other_cipher() -> None:
    _, wrapped = ring(SIV).new_wrapped_key(subject=SUBJECT)
    with pytest.raises(Undecipherable):
        ring().unwrap(bytes([wrapped[0] | 0x80]) + wrapped[1:], subject=SUBJECT)


def test_a_key_is_never_shown() -> None:
    assert bytes(range(64, 96)).hex() not in repr(DataKey(bytes(range(64, 96))))
    assert "@ABC" not in repr(DataKey(bytes(range(64, 96))))


@pytest.mark.parametrize("version", [0, 128, 255])
def test_versions_have_seven_bits(version: int) -> None:
    with pytest.raises(ValueError, match="versions 1 to 127"):
        parse_master_keys(f"{version}:" + "A" * 43 + "=")
