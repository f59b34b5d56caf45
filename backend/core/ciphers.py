"""The two ciphers of data at rest, from `cryptography` only. Which one a key is for is part of the key.

AES-SIV (RFC 5297) is deterministic and misuse-resistant: there is no nonce to repeat. SM4-GCM (GB/T 32907, RFC 8998)
is for deployments that need commercial cryptography (商用密码); its layout is `12-byte nonce | ciphertext | tag`, the
nonce random. A random nonce is safe for some 2^32 messages under one key: a subject's key sees hundreds.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

NONCE_BYTES = 12
TAG_BYTES = 16


class CipherName(StrEnum):
    """What `CIPHER` may say."""

    AES_SIV = "aes-siv"
    SM4_GCM = "sm4-gcm"


KEY_BYTES = {CipherName.AES_SIV: 32, CipherName.SM4_GCM: 16}


class Undecipherable(Exception):
    """A ciphertext that the key, the context or the ring does not open. Never shown to a caller."""


class _Box(Protocol):
    def seal(self, plaintext: bytes, context: bytes) -> bytes: ...

    def open(self, ciphertext: bytes, context: bytes) -> bytes: ...


class _AesSiv:
    def __init__(self, key: bytes) -> None:
        self._siv = AESSIV(key)

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        return self._siv.encrypt(plaintext, [context])

    def open(self, ciphertext: bytes, context: bytes) -> bytes:
        return self._siv.decrypt(ciphertext, [context])


class _Sm4Gcm:
    def __init__(self, key: bytes) -> None:
        self._algorithm = algorithms.SM4(key)

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        encryptor = Cipher(self._algorithm, modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(context)
        return nonce + encryptor.update(plaintext) + encryptor.finalize() + encryptor.tag

    def open(self, ciphertext: bytes, context: bytes) -> bytes:
        if len(ciphertext) < NONCE_BYTES + TAG_BYTES:
            raise InvalidTag
        nonce, tag = ciphertext[:NONCE_BYTES], ciphertext[-TAG_BYTES:]
        decryptor = Cipher(self._algorithm, modes.GCM(nonce, tag)).decryptor()
        decryptor.authenticate_additional_data(context)
        return decryptor.update(ciphertext[NONCE_BYTES:-TAG_BYTES]) + decryptor.finalize()


_BOXES: dict[CipherName, Callable[[bytes], _Box]] = {CipherName.AES_SIV: _AesSiv, CipherName.SM4_GCM: _Sm4Gcm}


@dataclass(slots=True)
class DataKey:
    """A key for one cipher, in memory only: 32 bytes for AES-SIV, 16 for SM4-GCM. Its text never shows the key."""

    key: bytes = field(repr=False)
    cipher: CipherName = CipherName.AES_SIV
    _box: _Box = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """The cipher's key schedule is made once, as a key is used for many rows."""
        self._box = _BOXES[self.cipher](self.key)

    def seal(self, plaintext: bytes, *, context: bytes) -> bytes:
        """Encrypt and bind to `context`: the same bytes elsewhere do not open."""
        return self._box.seal(plaintext, context)

    def open(self, ciphertext: bytes, *, context: bytes) -> bytes:
        """Decrypt; `Undecipherable` where key or context is not the one it was sealed with."""
        try:
            return self._box.open(ciphertext, context)
        except InvalidTag as error:
            raise Undecipherable from error


def new_data_key(cipher: CipherName) -> DataKey:
    """A fresh random key."""
    return DataKey(secrets.token_bytes(KEY_BYTES[cipher]), cipher)
