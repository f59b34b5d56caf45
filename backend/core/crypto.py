"""Encryption at rest: a key ring, data keys per subject, keyed blind indexes and fingerprints.

Layout of a wrapped data key: `head byte | key sealed under a master key`. The lower seven bits of the head are the
master's version, the high bit says that both the wrapping and the key inside are SM4-GCM, else AES-SIV. So what was
sealed opens whatever `CIPHER` says today, both ciphers may stand in one database, and a subject keeps the cipher it
began with. The index key is apart from the master keys, because blind indexes must survive a rotation of the ring.
"""

import base64
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256

from cryptography.hazmat.primitives.hashes import SHA256, SM3
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from backend.core.ciphers import KEY_BYTES, CipherName, DataKey, Undecipherable, new_data_key
from backend.core.settings import get_settings

MASTER_BYTES = 32
INDEX_BYTES = 16
SM4_BIT = 0x80
HIGHEST_VERSION = 0x7F


class IndexHash(StrEnum):
    """What `INDEX_HASH` may say: the hash inside the HMAC of blind indexes and fingerprints."""

    SHA256 = "sha256"
    SM3 = "sm3"


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Master keys by version; the highest version seals, every version opens.

    `cipher` is for what is new; `index_hash` is for everything, and cannot change where there are data.
    """

    masters: dict[int, bytes]
    index_key: bytes
    cipher: CipherName = CipherName.AES_SIV
    index_hash: IndexHash = IndexHash.SHA256
    _hashes: dict[str, HMAC] = field(default_factory=dict, init=False, repr=False, compare=False)
    """HMACs keyed by purpose, to be copied: a copy costs a tenth of keying one anew for each value."""

    @property
    def newest(self) -> int:
        """The version that seals."""
        return max(self.masters)

    def _master(self, head: int, purpose: bytes) -> DataKey:
        version = version_of(head)
        try:
            master = self.masters[version]
        except KeyError as error:
            raise Undecipherable(f"no master key of version {version}") from error
        return _derived(master, purpose, cipher_of(head))

    def _head(self, cipher: CipherName) -> int:
        return self.newest | (SM4_BIT if cipher is CipherName.SM4_GCM else 0)

    def new_wrapped_key(self, *, subject: bytes) -> tuple[DataKey, bytes]:
        """A fresh data key and its wrapped form, bound to the subject."""
        key = new_data_key(self.cipher)
        return key, self._wrapped(key, subject)

    def _wrapped(self, key: DataKey, subject: bytes) -> bytes:
        head = self._head(key.cipher)
        return bytes([head]) + self._master(head, b"wrap").seal(key.key, context=subject)

    def unwrap(self, wrapped: bytes, *, subject: bytes) -> DataKey:
        """The data key inside a wrapped one; `Undecipherable` if it belongs to another subject."""
        head = wrapped[0]
        return DataKey(self._master(head, b"wrap").open(wrapped[1:], context=subject), cipher_of(head))

    def rewrap(self, wrapped: bytes, *, subject: bytes) -> bytes:
        """The same data key under the newest master. It keeps its cipher, and so opens all that it has sealed."""
        return self._wrapped(self.unwrap(wrapped, subject=subject), subject)

    def seal_system(self, plaintext: bytes, *, context: bytes) -> bytes:
        """Encrypt what belongs to no subject under the ring itself. Only a rotation that rewrites it renews it."""
        head = self._head(self.cipher)
        return bytes([head]) + self._master(head, b"system").seal(plaintext, context=context)

    def open_system(self, ciphertext: bytes, *, context: bytes) -> bytes:
        """The reverse of `seal_system`."""
        return self._master(ciphertext[0], b"system").open(ciphertext[1:], context=context)

    def blind_index(self, purpose: str, *values: str) -> bytes:
        """A 16-byte keyed hash for equality search, with a key of its own for each purpose.

        Only for id numbers, phones and composite blocking keys: a single low-entropy value such as a name or a
        birth date could be guessed by trying all values (domain.md, "Personal data").
        """
        joined = "\x1f".join(values).encode()
        return self._keyed_hash(purpose, joined)[:INDEX_BYTES]

    def fingerprint(self, content: bytes) -> bytes:
        """A 32-byte keyed hash of pushed content; tells equal from different without keeping it readable."""
        return self._keyed_hash("fingerprint", content)

    def _keyed_hash(self, purpose: str, content: bytes) -> bytes:
        found = self._hashes.get(purpose)
        if found is None:
            found = self._hashes[purpose] = _keyed(self.index_key, purpose, self.index_hash)
        keyed = found.copy()
        keyed.update(content)
        return keyed.finalize()

    def index_check(self) -> str:
        """What tells one index key and hash from another, fit to be stored: `sha256:…`."""
        return f"{self.index_hash.value}:{self.blind_index('key_check', 'zhiwang').hex()}"


def version_of(head: int) -> int:
    """The version of the master key that a head byte names."""
    return head & HIGHEST_VERSION


def cipher_of(head: int) -> CipherName:
    """The cipher that a head byte names."""
    return CipherName.SM4_GCM if head & SM4_BIT else CipherName.AES_SIV


@lru_cache(maxsize=64)
def _derived(master: bytes, purpose: bytes, cipher: CipherName) -> DataKey:
    """A master's key for one purpose and cipher. The hash follows the cipher's family."""
    algorithm = SM3() if cipher is CipherName.SM4_GCM else SHA256()
    return DataKey(HKDFExpand(algorithm=algorithm, length=KEY_BYTES[cipher], info=purpose).derive(master), cipher)


def _keyed(index_key: bytes, purpose: str, index_hash: IndexHash) -> HMAC:
    """An HMAC keyed for one purpose."""
    algorithm = SHA256() if index_hash is IndexHash.SHA256 else SM3()
    keyed = HMAC(index_key, algorithm)
    keyed.update(purpose.encode())
    return HMAC(keyed.finalize(), algorithm)


def token_digest(token: str) -> bytes:
    """How a random one-time secret is stored: SHA-256 is enough, as the secret itself has full entropy."""
    return sha256(token.encode()).digest()


def parse_master_keys(text: str) -> dict[int, bytes]:
    """Read `1:base64,2:base64`; each key is 32 bytes, versions run from 1 to 127. `ValueError` otherwise."""
    masters: dict[int, bytes] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        version, _, encoded = part.partition(":")
        key = base64.b64decode(encoded, validate=True)
        if len(key) != MASTER_BYTES or not 1 <= int(version) <= HIGHEST_VERSION:
            raise ValueError("MASTER_KEYS needs 32-byte keys as 1:base64,2:base64 with versions 1 to 127")
        masters[int(version)] = key
    if not masters:
        raise ValueError("MASTER_KEYS is empty")
    return masters


def new_secret() -> str:
    """32 random bytes as base64, fit for MASTER_KEYS (after `1:`), INDEX_KEY and TOKEN_SECRET."""
    return base64.b64encode(secrets.token_bytes(MASTER_BYTES)).decode()


@lru_cache(maxsize=1)
def key_ring() -> KeyRing:
    """The ring of this process. `ValueError` where the settings hold no usable keys."""
    settings = get_settings()
    index_key = base64.b64decode(settings.index_key.get_secret_value(), validate=True)
    if len(index_key) != MASTER_BYTES:
        raise ValueError("INDEX_KEY needs 32 bytes as base64")
    masters = parse_master_keys(settings.master_keys.get_secret_value())
    return KeyRing(masters, index_key, CipherName(settings.cipher), IndexHash(settings.index_hash))


__all__ = [
    "CipherName",
    "DataKey",
    "IndexHash",
    "KeyRing",
    "Undecipherable",
    "cipher_of",
    "key_ring",
    "new_secret",
    "parse_master_keys",
    "token_digest",
    "version_of",
]
