"""Encryption at rest: a key ring, data keys per subject, keyed blind indexes and fingerprints.

Primitives come from `cryptography` only. Ciphertexts are AES-SIV (RFC 5297): deterministic misuse-resistance, so a
repeated nonce cannot leak a key. Layout of a wrapped data key: `version byte | AES-SIV(master[version], key)`.
The index key is apart from the master keys, because blind indexes must survive a rotation of the ring.
"""

import base64
import hmac
import secrets
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from backend.core.settings import get_settings

KEY_BYTES = 32
INDEX_BYTES = 16


class Undecipherable(Exception):
    """A ciphertext that the key, the context or the ring does not open. Never shown to a caller."""


@dataclass(frozen=True, slots=True)
class DataKey:
    """A 32-byte key of one subject, in memory only."""

    key: bytes

    def seal(self, plaintext: bytes, *, context: bytes) -> bytes:
        """Encrypt and bind to `context`: the same bytes elsewhere do not open."""
        return AESSIV(self.key).encrypt(plaintext, [context])

    def open(self, ciphertext: bytes, *, context: bytes) -> bytes:
        """Decrypt; `Undecipherable` where key or context is not the one it was sealed with."""
        try:
            return AESSIV(self.key).decrypt(ciphertext, [context])
        except InvalidTag as error:
            raise Undecipherable from error


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Master keys by version; the highest version seals, every version opens."""

    masters: dict[int, bytes]
    index_key: bytes

    def _master(self, version: int, purpose: bytes) -> DataKey:
        try:
            master = self.masters[version]
        except KeyError as error:
            raise Undecipherable(f"no master key of version {version}") from error
        return _derived(master, purpose)

    def new_wrapped_key(self, *, subject: bytes) -> tuple[DataKey, bytes]:
        """A fresh data key and its wrapped form, bound to the subject."""
        version = max(self.masters)
        key = secrets.token_bytes(KEY_BYTES)
        wrapped = bytes([version]) + self._master(version, b"wrap").seal(key, context=subject)
        return DataKey(key), wrapped

    def unwrap(self, wrapped: bytes, *, subject: bytes) -> DataKey:
        """The data key inside a wrapped one; `Undecipherable` if it belongs to another subject."""
        return DataKey(self._master(wrapped[0], b"wrap").open(wrapped[1:], context=subject))

    def seal_system(self, plaintext: bytes, *, context: bytes) -> bytes:
        """Encrypt what has no subject yet (a raw message, an unreadable row) under the ring itself."""
        version = max(self.masters)
        return bytes([version]) + self._master(version, b"system").seal(plaintext, context=context)

    def open_system(self, ciphertext: bytes, *, context: bytes) -> bytes:
        """The reverse of `seal_system`."""
        return self._master(ciphertext[0], b"system").open(ciphertext[1:], context=context)

    def blind_index(self, purpose: str, *values: str) -> bytes:
        """A 16-byte keyed hash for equality search, with a key of its own for each purpose.

        Only for id numbers, phones and composite blocking keys: a single low-entropy value such as a name or a
        birth date could be guessed by trying all values (domain.md, "Personal data").
        """
        joined = "\x1f".join(values).encode()
        return hmac.digest(_purpose_key(self.index_key, purpose), joined, "sha256")[:INDEX_BYTES]

    def fingerprint(self, content: bytes) -> bytes:
        """A 32-byte keyed hash of pushed content; tells equal from different without keeping it readable."""
        return hmac.digest(_purpose_key(self.index_key, "fingerprint"), content, "sha256")


@lru_cache(maxsize=64)
def _derived(master: bytes, purpose: bytes) -> DataKey:
    return DataKey(HKDFExpand(algorithm=SHA256(), length=KEY_BYTES, info=purpose).derive(master))


@lru_cache(maxsize=64)
def _purpose_key(index_key: bytes, purpose: str) -> bytes:
    return hmac.digest(index_key, purpose.encode(), "sha256")


def token_digest(token: str) -> bytes:
    """How a random one-time secret is stored: SHA-256 is enough, as the secret itself has full entropy."""
    return sha256(token.encode()).digest()


def parse_master_keys(text: str) -> dict[int, bytes]:
    """Read `1:base64,2:base64`; each key is 32 bytes, versions run from 1 to 255. `ValueError` otherwise."""
    masters: dict[int, bytes] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        version, _, encoded = part.partition(":")
        key = base64.b64decode(encoded, validate=True)
        if len(key) != KEY_BYTES or not 1 <= int(version) <= 255:
            raise ValueError("MASTER_KEYS needs 32-byte keys as 1:base64,2:base64 with versions 1 to 255")
        masters[int(version)] = key
    if not masters:
        raise ValueError("MASTER_KEYS is empty")
    return masters


def new_secret() -> str:
    """32 random bytes as base64, fit for MASTER_KEYS (after `1:`), INDEX_KEY and TOKEN_SECRET."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


@lru_cache(maxsize=1)
def key_ring() -> KeyRing:
    """The ring of this process. `ValueError` where the settings hold no usable keys."""
    settings = get_settings()
    index_key = base64.b64decode(settings.index_key.get_secret_value(), validate=True)
    if len(index_key) != KEY_BYTES:
        raise ValueError("INDEX_KEY needs 32 bytes as base64")
    return KeyRing(parse_master_keys(settings.master_keys.get_secret_value()), index_key)
