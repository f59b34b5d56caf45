"""Business records as rows: what is readable, what is sealed under whose key, and what finds them.

The same rules as for collected records (`backend.services.records`), at the speed a whole city's file needs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from backend.core import statements
from backend.core.crypto import key_ring
from backend.core.db import transaction
from backend.kinds import identity_of
from backend.services.records import Blocks, blocks_of, id_index
from backend.services.registry_specs import DatasetSpec
from backend.services.sealing import INSERT_KEYS, Subject, Vault, human

Fields = dict[str, Any]

NO_BLOCKS = Blocks()


class KeyedRecord(NamedTuple):
    """A good row of a file with the key of its record, and whose it is: as a whole, and its fields that hold others."""

    key: str
    line: int
    fields: Fields
    own: Subject
    named: Mapping[str, Subject]


class RecordRow(NamedTuple):
    """A business record as it is stored; `body` is JSON."""

    record_key: str
    line: int
    body: bytes
    sealed: bytes | None
    blocks: Blocks
    content_digest: bytes


class BulkVault(Vault):
    """A vault that makes the missing keys of a whole chunk with one statement, committed at once.

    A load lasts minutes. Were its keys to wait for its end, so would everybody who needs the key of a person it has
    already read. A key without a record, as a load leaves it that is rolled back, protects nothing and does no harm.
    """

    def _insert(self, rows: dict[str, Any]) -> list[Subject]:
        with transaction(self._session.get_bind().engine) as own:
            return [subject for (subject,) in statements.rows(own, INSERT_KEYS, rows)]


def record_key(spec: DatasetSpec, fields: Fields) -> str:
    """What names a record in its dataset: for people the hex blind index of id type and number.

    So it is for a key of a department's own that is not public.
    """
    if spec.key is not None:
        value = str(fields[spec.key])
        return value if spec.open_key else key_ring().blind_index("dataset_key", spec.code, value).hex()
    identity = identity_of(fields)
    if identity is None:
        raise ValueError("a person without identity passed validation")
    return id_index(identity).hex()


def keyed(spec: DatasetSpec, line: int, fields: Fields) -> KeyedRecord:
    """Name a record, and say whose it is.

    What belongs to no human with an identity document belongs to the record itself, under a key that later
    snapshots of the same record share.
    """
    identity = identity_of(fields) if spec.about_people else None
    if identity is not None:
        return KeyedRecord(
            id_index(identity).hex(), line, fields, human(identity.id_type, identity.id_number), _named(spec, fields)
        )
    key = record_key(spec, fields)
    return KeyedRecord(
        key, line, fields, key_ring().blind_index("record_subject", spec.code, key), _named(spec, fields)
    )


def without_erased(vault: Vault, records: Sequence[KeyedRecord]) -> tuple[list[KeyedRecord], list[int]]:
    """The records that may be kept, and the lines of those about a human who was erased.

    An erased owner or tenant of a house is left out of the record, which stays: it is about the house. The vault has
    read all keys that there are afterwards.
    """
    subjects = {subject for record in records for subject in (record.own, *record.named.values())}
    vault.ask(subjects)
    gone = vault.erased(subjects)
    if not gone:
        return list(records), []
    kept, refused = [], []
    for record in records:
        if record.own in gone:
            refused.append(record.line)
            continue
        hidden = {name for name, other in record.named.items() if other in gone}
        named = {name: other for name, other in record.named.items() if name not in hidden}
        fields = {name: value for name, value in record.fields.items() if name not in hidden}
        kept.append(record._replace(fields=fields, named=named) if hidden else record)
    return kept, refused


def provide_keys(vault: Vault, records: Sequence[KeyedRecord]) -> None:
    """Make the keys that are missing. `SubjectErased` where `without_erased` has not seen the records."""
    vault.provide(subject for record in records for subject in (record.own, *record.named.values()))


def seal_records(vault: Vault, spec: DatasetSpec, snapshot_id: UUID, records: Sequence[KeyedRecord]) -> list[RecordRow]:
    """Seal a chunk whose keys were provided; nothing is read or written."""
    snapshot, encode = snapshot_id.bytes, msgspec.json.encode
    rows = []
    for record in records:
        body, shares = _parted(spec, record)
        sealed = vault.seal_fields(shares, context=snapshot + record.key.encode())
        blocks = blocks_of(record.fields) if spec.about_people else NO_BLOCKS
        digest = content_digest(spec, record.fields)
        rows.append(RecordRow(record.key, record.line, encode(body), sealed, blocks, digest))
    return rows


def _parted(spec: DatasetSpec, record: KeyedRecord) -> tuple[Fields, dict[Subject, Fields]]:
    """The readable part of a record, and the personal fields by subject."""
    mine = record.fields.copy()
    body = {name: mine.pop(name) for name in spec.public & mine.keys()}
    others = [(subject, name, mine.pop(name)) for name, subject in record.named.items()]
    shares: dict[Subject, Fields] = {record.own: mine} if mine else {}
    for subject, name, value in others:
        shares.setdefault(subject, {})[name] = value
    return body, shares


def content_digest(spec: DatasetSpec, fields: Fields) -> bytes:
    """A keyed hash of all that a record says, equal in two snapshots exactly where it says the same."""
    return key_ring().fingerprint(spec.code.encode() + msgspec.json.encode(fields, order="sorted"))


def context_of(snapshot_id: UUID, key: str) -> bytes:
    """What binds a record's ciphertexts to its row."""
    return snapshot_id.bytes + key.encode()


def _named(spec: DatasetSpec, fields: Fields) -> Mapping[str, Subject]:
    """The nested fields that name a human by an identity document, and that human."""
    if not spec.nested:
        return NOBODY
    found = {}
    for name in spec.nested & fields.keys():
        identity = identity_of(fields[name]) if isinstance(fields[name], Mapping) else None
        if identity is not None:
            found[name] = human(identity.id_type, identity.id_number)
    return found


NOBODY: Mapping[str, Subject] = {}
