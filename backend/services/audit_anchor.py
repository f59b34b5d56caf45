"""The anchor: a file outside the database that says, signed, what was sealed. Who owns the whole database and
computes every hash anew still cannot write it.

One line a batch, JSON, at most about 11 KB. The signature (Ed25519) is over the line without its last member
`signature`; each line holds the SHA-256 of the line before, so none can be taken out, put in or moved. Besides the
head of a batch a line has the first 8 bytes of every entry hash: a changed entry is found and not only noticed.
The first line names the public key. A `fork` says that the database was lawfully set back to an earlier batch: what
the file holds of later ones is of before the fork, and the batches after it follow from the one the fork names.

What the file cannot show is that its own end was cut off together with the end of the database: for that somebody
writes the head down from time to time (`audit status`) and asks for it (`audit verify --expect-head`).
"""

import base64
import binascii
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from backend.core.settings import get_settings
from backend.services.audit_hashing import NO_HEAD

SHORT_BYTES = 8
_SIGNATURE = b',"signature":"'
_TAIL_BYTES = 65_536
_NO_LINE = bytes(32).hex()


class AuditBroken(Exception):
    """Trail and anchor contradict each other, or the anchor cannot be written. Nothing is anchored until a person
    has looked (`audit verify`); sealing goes on meanwhile."""


class AnchorAltered(AuditBroken):
    """The first line of the anchor that is not as it was written."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"anchor line {line}: {why}")
        self.line = line
        self.why = why


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all lines have: `line` from 1, the hash of the line before, and the head that stands after this line."""

    line: int
    previous_line: str
    number: int
    head: str


class Start(_Line, frozen=True, tag="start"):
    """The first line. Its own key signs it, so a verifier compares `public_key` with one kept elsewhere."""

    public_key: str


class Batch(_Line, frozen=True, tag="batch"):
    """A sealed batch. Times are microseconds since 1970; `hashes` are the first 8 bytes of each entry hash, base64."""

    previous: str
    count: int
    first_at: int
    last_at: int
    sealed_at: int
    hashes: str

    def short_hashes(self) -> list[bytes]:
        """The first 8 bytes of each entry hash, in order."""
        joined = base64.b64decode(self.hashes)
        return [joined[at : at + SHORT_BYTES] for at in range(0, len(joined), SHORT_BYTES)]


class Fork(_Line, frozen=True, tag="fork"):
    """A lawful return to an earlier batch, `number`; `parent` is the line it was anchored in."""

    parent: int
    at: int
    reason: str
    backup_id: str


Line = Start | Batch | Fork
_decode = msgspec.json.Decoder(Line)


@dataclass(frozen=True, slots=True)
class Read:
    """A line that was read: where it starts and ends, its hash, what it says."""

    start: int
    end: int
    digest: str
    line: Line


def private_key() -> Ed25519PrivateKey | None:
    """The signing key of the settings, None where there is none. `ValueError` where it is not 32 bytes of base64."""
    text = get_settings().audit_key.get_secret_value()
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(text, validate=True)) if text else None


def public_text(key: Ed25519PublicKey) -> str:
    """A public key as people keep it: 32 bytes as base64."""
    return base64.b64encode(key.public_bytes_raw()).decode()


def public_key(text: str) -> Ed25519PublicKey:
    """The reverse of `public_text`; `ValueError` where it is no key."""
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))


def short_hashes(entry_hashes: list[bytes]) -> str:
    """Entry hashes as a line carries them."""
    return base64.b64encode(b"".join(digest[:SHORT_BYTES] for digest in entry_hashes)).decode()


def read_lines(path: Path, key: Ed25519PublicKey | None = None, *, check: bool = True) -> Iterator[Read]:
    """Every line, its signature and its place in the chain checked. Without a key the first line's own is taken.

    `check=False` leaves out the signatures, for a second reading of what was checked a moment ago.

    `AnchorAltered` at the first line that is wrong. A last line without line feed was never written to its end and
    is left out. A file that does not exist has no lines.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        previous, offset = _NO_LINE, 0
        for number, raw in enumerate(file, start=1):
            if not raw.endswith(b"\n"):
                return
            line = _opened(raw[:-1], number)
            if line.line != number or line.previous_line != previous or isinstance(line, Start) != (number == 1):
                raise AnchorAltered(number, "does not follow from the line before")
            if isinstance(line, Start):
                key = key or public_key(line.public_key)
                if public_text(key) != line.public_key:
                    raise AnchorAltered(number, "names another public key")
            assert key is not None
            if check:
                _check_signature(raw[:-1], number, key)
            previous = sha256(raw[:-1]).hexdigest()
            yield Read(offset, offset + len(raw), previous, line)
            offset += len(raw)


class Writer:
    """The anchor opened for appending, alone. `tail` is its last line, already checked against our own key."""

    def __init__(self, file: BinaryIO, key: Ed25519PrivateKey) -> None:
        self._file = file
        self._key = key
        self.tail = self._read_tail()

    def append(self, makers: Iterable[Callable[[int, str], Line]]) -> None:
        """Write lines with one flush to the disk. Each is made from its number and the hash of the line before it."""
        number, previous = (self.tail.line.line, self.tail.digest) if self.tail else (0, _NO_LINE)
        raw = b""
        for make in makers:
            number += 1
            signed = _signed(make(number, previous), self._key)
            previous = sha256(signed).hexdigest()
            raw += signed + b"\n"
        self._file.seek(0, os.SEEK_END)
        self._file.write(raw)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.tail = self._read_tail()

    def start(self) -> None:
        """Write the first line of a new file."""
        public = public_text(self._key.public_key())
        self.append([lambda line, previous: Start(line, previous, 0, NO_HEAD.hex(), public)])

    def holds(self, read: Read) -> bool:
        """Whether a line that was seen earlier is still where it was."""
        self._file.seek(read.start)
        return sha256(self._file.read(read.end - read.start)[:-1]).hexdigest() == read.digest

    def _read_tail(self) -> Read | None:
        """The last whole line. What a crash left behind it of a further one is cut off."""
        size = self._file.seek(0, os.SEEK_END)
        begin = max(0, size - _TAIL_BYTES)
        self._file.seek(begin)
        block = self._file.read()
        whole = block.rfind(b"\n") + 1
        if whole < len(block):
            self._file.truncate(begin + whole)
        if not whole:
            return None
        first = block.rfind(b"\n", 0, whole - 1) + 1
        raw = block[first : whole - 1]
        line = _opened(raw, 0)
        _check_signature(raw, line.line, self._key.public_key())
        return Read(begin + first, begin + whole, sha256(raw).hexdigest(), line)


@contextmanager
def writing(path: Path, key: Ed25519PrivateKey) -> Iterator[Writer]:
    """Open the anchor for appending; other processes wait. `AuditBroken` where its last line is not ours."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield Writer(file, key)


def _signed(line: Line, key: Ed25519PrivateKey) -> bytes:
    body = msgspec.json.encode(line)
    return body[:-1] + _SIGNATURE + base64.b64encode(key.sign(body)) + b'"}'


def _opened(raw: bytes, number: int) -> Line:
    body, _, _ = raw.rpartition(_SIGNATURE)
    try:
        line: Line = _decode.decode(body + b"}")
    except msgspec.MsgspecError as error:
        raise AnchorAltered(number, "cannot be read") from error
    return line


def _check_signature(raw: bytes, number: int, key: Ed25519PublicKey) -> None:
    body, _, end = raw.rpartition(_SIGNATURE)
    try:
        signature = base64.b64decode(end[:-2], validate=True)
        # Base64 has spare bits at its end: another text of the same signature is not what was written.
        if base64.b64encode(signature) + b'"}' != end:
            raise InvalidSignature
        key.verify(signature, body + b"}")
    except (InvalidSignature, binascii.Error) as error:
        raise AnchorAltered(number, "is not signed by the key of the trail") from error
