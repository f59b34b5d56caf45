"""Personal data at rest: one ciphertext per row and subject, under the data key of the human or document it is about.

A kind says which of its fields are public and which belong to which subject (`backend.kinds`). The public part goes
into a `json` column as it is; the rest becomes one blob: a MessagePack list of `[subject_id, ciphertext]`. The row's
id is bound in as context, so a blob does not open in another row. All calls are set-based: a batch of any size takes
one read, and one write where subjects are new.

What is encrypted is JSON: an object where all values of a subject are fields of the record itself, so that a document
can be sent on without taking it apart (`Vault.members`); else a list of `[path, value]`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import text
from sqlmodel import Session

from backend.core import statements
from backend.core.clock import now
from backend.core.crypto import DataKey, KeyRing, Undecipherable, key_ring
from backend.core.errors import ZhiwangError

Subject = bytes
"""A 16-byte subject id: the blind index of an id type and number, or the id of a document."""

Path = tuple[str | int, ...]
"""Where a value stands in its document: keys and list positions."""

Shares = dict[Subject, list[tuple[Path, Any]]]
"""The values of a row by the subject they belong to."""

Entries = list[tuple[Subject, bytes]]
"""A blob taken apart: each subject with its ciphertext."""

FIRST_BLOB_BYTE = 0x80
"""A sealed blob is a MessagePack list; what release 0.1.0 sealed under the ring itself begins below."""


class SubjectErased(ZhiwangError):
    """Data were to be sealed for subjects that were erased: no key is made for them again. `subjects` names them."""

    code = "subject_erased"
    status = 410
    title_zh = "相关人员的信息已依法删除，不能再保存"
    title_en = "The person's data were erased and may not be kept again"

    def __init__(self, subjects: Iterable[Subject]) -> None:
        super().__init__()
        self.subjects = frozenset(subjects)


@dataclass(frozen=True, slots=True)
class Part:
    """A value that belongs to one subject, and where it stands in the document."""

    subject: Subject
    path: Path
    value: Any


def human(id_type: str, id_number: str) -> Subject:
    """The subject of a human with an identity document."""
    return key_ring().blind_index("subject", id_type, id_number)


class Vault:
    """Opens and seals within one transaction; keys live in memory until the transaction ends.

    A subject with a tombstone has no key, even where a row of `subject_key` was written by a transaction that ran
    beside the erasure: nothing is opened or sealed with it, and `destroy_keys` run again takes it away.
    """

    def __init__(self, session: Session, ring: KeyRing | None = None) -> None:
        self._session = session
        self._ring = ring or key_ring()
        self._keys: dict[Subject, DataKey] = {}
        self._erased: set[Subject] = set()
        self._absent: set[Subject] = set()
        self._asked: list[tuple[Sequence[Subject], statements.Answer]] = []

    def ask(self, subjects: Iterable[Subject]) -> None:
        """Ask for the keys of these subjects; the answer is heard when it is first needed (`statements.together`).

        Those that have none are remembered too: `provide` makes theirs without asking again.
        """
        wanted = sorted(set(subjects) - self._keys.keys() - self._erased)
        if wanted:
            self._asked.append((wanted, statements.execute(self._session, _SELECT, {"subjects": wanted})))

    def _hear(self) -> None:
        while self._asked:
            wanted, answer = self._asked.pop()
            self._take(answer.rows())
            self._absent.update(set(wanted) - self._keys.keys() - self._erased)

    def load(self, subjects: Iterable[Subject]) -> None:
        """Read the keys of these subjects. Subjects without a key stay unknown: their data cannot be opened."""
        self._hear()
        wanted = sorted(set(subjects) - self._keys.keys() - self._erased)
        if wanted:
            self._take(statements.rows(self._session, _SELECT, {"subjects": wanted}))

    def _take(self, rows: Iterable[statements.Row]) -> None:
        wrapped: dict[Subject, bytes] = {}
        for subject, key in rows:
            if key is None:
                self._erased.add(subject)
            else:
                wrapped[subject] = key
        for subject in wrapped.keys() - self._erased:
            self._keys[subject] = self._ring.unwrap(wrapped[subject], subject=subject)

    def holds(self, subjects: Iterable[Subject]) -> bool:
        """Whether the keys of all these subjects were found by `load` or `provide`."""
        return set(subjects) <= self._keys.keys()

    def provide(self, subjects: Iterable[Subject]) -> None:
        """Read the keys of these subjects and make those that are missing. `SubjectErased` where one was erased."""
        wanted = set(subjects)
        if gone := self.erased(wanted):
            raise SubjectErased(gone)
        # Sorted, so that two transactions that make the same keys wait for each other and do not deadlock.
        missing = sorted(wanted - self._keys.keys())
        if missing:
            self._make(missing)
            self._absent.difference_update(missing)
            self.load(missing)

    def erased(self, subjects: Iterable[Subject]) -> set[Subject]:
        """Those of the subjects that were erased; the keys of the others are read on the way."""
        self._hear()
        wanted = set(subjects)
        self.load(wanted - self._absent)
        return wanted & self._erased

    def _make(self, missing: Sequence[Subject]) -> None:
        """Write new keys with one statement; one that another transaction made meanwhile is left to be read."""
        made = {subject: self._ring.new_wrapped_key(subject=subject) for subject in missing}
        wrapped = [made[subject][1] for subject in missing]
        for subject in self._insert({"subjects": missing, "wrapped": wrapped, "now": now()}):
            self._keys[subject] = made[subject][0]

    def _insert(self, rows: dict[str, Any]) -> list[Subject]:
        """The subjects whose keys were written."""
        return [subject for (subject,) in statements.rows(self._session, INSERT_KEYS, rows)]

    def key_of(self, subject: Subject) -> DataKey | None:
        """A key that `load` or `provide` has seen, for what is no blob, such as a file. None where it is gone."""
        return self._keys.get(subject)

    def adopt(self, subject: Subject, key: DataKey, wrapped: bytes) -> None:
        """Keep a key that was made before there was a transaction. It must be the subject's first."""
        self._insert({"subjects": [subject], "wrapped": [wrapped], "now": now()})
        self._keys[subject] = key

    def seal(self, parts: Sequence[Part], *, context: bytes) -> bytes | None:
        """One blob for all parts; None where there is nothing personal. `provide` must have seen the subjects."""
        shares: Shares = {}
        for part in parts:
            shares.setdefault(part.subject, []).append((part.path, part.value))
        return self.seal_shares(shares, context=context)

    def seal_shares(self, shares: Shares, *, context: bytes) -> bytes | None:
        """The same for parts that are by subject already."""
        if not shares:
            return None
        return msgspec.msgpack.encode(
            [
                (subject, self._keys[subject].seal(encoded(values), context=context))
                for subject, values in shares.items()
            ]
        )

    def seal_fields(self, shares: Mapping[Subject, Mapping[str, Any]], *, context: bytes) -> bytes | None:
        """The same where all values are fields of the record itself, by subject and name."""
        if not shares:
            return None
        keys, encode = self._keys, msgspec.json.encode
        blob = [(subject, keys[subject].seal(encode(fields), context=context)) for subject, fields in shares.items()]
        return msgspec.msgpack.encode(blob)

    def open(self, blob: bytes | None, *, context: bytes) -> list[Part]:
        """The parts of a blob. Parts of a subject whose key is gone are left out: they were erased."""
        return [
            Part(subject, tuple(path), value)
            for subject, plain in self._opened(entries_of(blob), context)
            for path, value in _pairs(msgspec.json.decode(plain))
        ]

    def fill(self, document: dict[str, Any], blob: Entries, *, context: bytes) -> dict[str, Any]:
        """Put the parts of a blob, as `entries_of` gives it, into its document, as `open` and `place` would."""
        inner: list[Part] = []
        for subject, plain in self._opened(blob, context):
            values = msgspec.json.decode(plain)
            if isinstance(values, dict):
                document.update(values)
            else:
                inner += [Part(subject, tuple(path), value) for path, value in values]
        return place(document, inner) if inner else document

    def members(self, body: str, blob: Entries, *, context: bytes) -> bytes:
        """The fields of a record as they stand between the braces of its JSON, from the JSON of its public ones."""
        texts = [body.encode()]
        for _, plain in self._opened(blob, context):
            if not plain.startswith(b"{"):
                filled = self.fill(msgspec.json.decode(body), blob, context=context)
                return msgspec.json.encode(filled)[1:-1]
            texts.append(plain)
        return b",".join(text[1:-1] for text in texts if len(text) > len("{}"))

    def _opened(self, blob: Entries, context: bytes) -> Iterator[tuple[Subject, bytes]]:
        for subject, ciphertext in blob:
            key = self._keys.get(subject)
            if key is not None:
                yield subject, key.open(ciphertext, context=context)


def encoded(values: Sequence[tuple[Path, Any]]) -> bytes:
    """The values of one subject, as they are encrypted."""
    fields = {path[0]: value for path, value in values if len(path) == 1}
    return msgspec.json.encode(fields if len(fields) == len(values) else values)


def _pairs(values: Any) -> Iterable[tuple[Sequence[str | int], Any]]:
    return (((name,), value) for name, value in values.items()) if isinstance(values, dict) else values


def subjects_in(blobs: Iterable[bytes | None]) -> set[Subject]:
    """The subjects whose keys these blobs need."""
    return {subject for blob in blobs for subject, _ in entries_of(blob)}


def place(document: dict[str, Any], parts: Iterable[Part]) -> dict[str, Any]:
    """Put opened parts back where they stood; `document` is changed and returned.

    List positions are filled in ascending order, so an erased member leaves no hole.
    """
    for part in sorted(parts, key=lambda part: [str(step).zfill(6) for step in part.path]):
        target: Any = document
        for step, following in zip(part.path, part.path[1:], strict=False):
            if isinstance(target, list):
                target = target[int(step)]
            else:
                target = target.setdefault(step, [] if isinstance(following, int) else {})
        if isinstance(target, list):
            target.append(part.value)
        else:
            target[part.path[-1]] = part.value
    return document


def erased_among(session: Session, subjects: Iterable[Subject]) -> set[Subject]:
    """Those of the subjects that were erased; `Vault.provide` refuses them."""
    wanted = sorted(set(subjects))
    return {subject for (subject,) in statements.rows(session, _ERASED, {"subjects": wanted})} if wanted else set()


def destroy_keys(session: Session, subjects: Iterable[Subject]) -> int:
    """Erase subjects: delete their keys and leave tombstones, so that no key is made for them again.

    Gives how many keys there were. All copies of their data are unreadable once the caller commits; running it again
    does no harm. Only `zw_worker` has the right.
    """
    gone = sorted(set(subjects))
    if not gone:
        return 0
    session.connection().execute(_BURY, {"subjects": gone, "now": now()})
    return session.connection().execute(_DESTROY, {"subjects": gone}).rowcount


def seal_value(session: Session, subject: Subject, value: Any, *, context: bytes) -> bytes:
    """Seal one JSON value of one subject; for rows that are written one at a time."""
    vault = Vault(session)
    vault.provide([subject])
    blob = vault.seal([Part(subject, ("value",), value)], context=context)
    assert blob is not None
    return blob


def open_value(session: Session, blob: bytes | None, *, context: bytes) -> Any:
    """The value sealed by `seal_value`, or None where there is none or its subject was erased."""
    return open_values(session, {context: blob}).get(context)


def open_values(session: Session, blobs: Mapping[bytes, bytes | None]) -> dict[bytes, Any]:
    """Open many values sealed by `seal_value`, keyed by their context, with one read of keys."""
    vault = Vault(session)
    vault.load(subjects_in(blobs.values()))
    opened: dict[bytes, Any] = {}
    for context, blob in blobs.items():
        for part in vault.open(blob, context=context):
            opened[context] = part.value
    return opened


def entries_of(blob: bytes | None) -> Entries:
    """The subjects of a blob, each with the ciphertext of its parts. `Undecipherable` where it is no blob."""
    if blob is None:
        return []
    try:
        return _ENTRIES.decode(blob)
    except msgspec.DecodeError as error:
        raise Undecipherable("not a sealed blob") from error


_ENTRIES = msgspec.msgpack.Decoder(list[tuple[bytes, bytes]])
_SELECT = """
    SELECT subject_id, wrapped FROM subject_key WHERE subject_id = ANY(%(subjects)b::bytea[])
    UNION ALL
    SELECT subject_id, NULL FROM erased_subject WHERE subject_id = ANY(%(subjects)b::bytea[])
"""
INSERT_KEYS = """
    INSERT INTO subject_key (subject_id, wrapped, created_at)
    SELECT subject_id, wrapped, %(now)s
    FROM unnest(%(subjects)b::bytea[], %(wrapped)b::bytea[]) AS made (subject_id, wrapped)
    ON CONFLICT (subject_id) DO NOTHING
    RETURNING subject_id
"""
_ERASED = "SELECT subject_id FROM erased_subject WHERE subject_id = ANY(%(subjects)b::bytea[])"
_BURY = text(
    """
    INSERT INTO erased_subject (subject_id, erased_at)
    SELECT subject_id, :now FROM unnest(CAST(:subjects AS bytea[])) AS gone (subject_id)
    ON CONFLICT (subject_id) DO NOTHING
    """
)
_DESTROY = text("DELETE FROM subject_key WHERE subject_id = ANY(:subjects)")
