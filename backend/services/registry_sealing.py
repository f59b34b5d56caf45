"""Business records as rows: what is readable, what is sealed under whose key, and what finds them.

The same rules as for collected records (`backend.services.records`), at the speed a whole city's file needs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import msgspec
from sqlmodel import Session

from backend.core import statements
from backend.core.crypto import key_ring
from backend.core.db import transaction
from backend.kinds import identity_of
from backend.services.records import Indexes, human_indexes, id_index
from backend.services.registry_specs import DatasetSpec
from backend.services.sealing import INSERT_KEYS, Part, Subject, Vault, erased_among, human

Fields = dict[str, Any]

NO_INDEXES = Indexes()


@dataclass(frozen=True, slots=True)
class KeyedRecord:
    """A good row of a file with the key of its record."""

    key: str
    line: int
    fields: Fields


@dataclass(frozen=True, slots=True)
class RecordRow:
    """A business record as it is stored; `body` is JSON text."""

    record_key: str
    line: int
    body: str
    sealed: bytes | None
    indexes: Indexes
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


def without_erased(
    session: Session, spec: DatasetSpec, records: Sequence[KeyedRecord]
) -> tuple[list[KeyedRecord], list[int]]:
    """The records that may be kept, and the lines of those about a human who was erased.

    An erased owner or tenant of a house is left out of the record, which stays: it is about the house.
    """
    own = [_own_subject(spec, record.key, record.fields) for record in records]
    named = [dict(_named(spec, record.fields)) for record in records]
    gone = erased_among(session, {*own, *(subject for some in named for subject in some.values())})
    kept, refused = [], []
    for record, subject, nested in zip(records, own, named, strict=True):
        if subject in gone:
            refused.append(record.line)
            continue
        hidden = {name for name, other in nested.items() if other in gone}
        fields = {name: value for name, value in record.fields.items() if name not in hidden} if hidden else None
        kept.append(replace(record, fields=fields) if fields else record)
    return kept, refused


def seal_records(vault: Vault, spec: DatasetSpec, snapshot_id: UUID, records: Sequence[KeyedRecord]) -> list[RecordRow]:
    """Seal a chunk. `SubjectErased` where `without_erased` has not seen it."""
    parted = [_parted(spec, record.key, record.fields) for record in records]
    vault.provide(part.subject for _, parts in parted for part in parts)
    people = spec.about_people
    return [
        RecordRow(
            record_key=record.key,
            line=record.line,
            body=msgspec.json.encode(body).decode(),
            sealed=vault.seal(parts, context=context_of(snapshot_id, record.key)),
            indexes=human_indexes(record.fields) if people else NO_INDEXES,
            content_digest=content_digest(spec, record.fields),
        )
        for record, (body, parts) in zip(records, parted, strict=True)
    ]


def content_digest(spec: DatasetSpec, fields: Fields) -> bytes:
    """A keyed hash of all that a record says, equal in two snapshots exactly where it says the same."""
    return key_ring().fingerprint(spec.code.encode() + msgspec.json.encode(fields, order="sorted"))


def context_of(snapshot_id: UUID, key: str) -> bytes:
    """What binds a record's ciphertexts to its row."""
    return snapshot_id.bytes + key.encode()


def _parted(spec: DatasetSpec, key: str, fields: Fields) -> tuple[Fields, list[Part]]:
    """The readable part of a record, and the personal parts by subject.

    What belongs to no human with an identity document belongs to the record itself, under a key that later
    snapshots of the same record share.
    """
    own = _own_subject(spec, key, fields)
    named = dict(_named(spec, fields))
    body: Fields = {}
    parts: list[Part] = []
    for name, value in fields.items():
        if name in spec.public:
            body[name] = value
        else:
            parts.append(Part(named.get(name, own), (name,), value))
    return body, parts


def _named(spec: DatasetSpec, fields: Fields) -> Iterator[tuple[str, Subject]]:
    """The nested fields that name a human by an identity document, and that human."""
    for name in spec.nested & fields.keys():
        identity = identity_of(fields[name]) if isinstance(fields[name], Mapping) else None
        if identity is not None:
            yield name, human(identity.id_type, identity.id_number)


def _own_subject(spec: DatasetSpec, key: str, fields: Fields) -> Subject:
    identity = identity_of(fields) if spec.about_people else None
    if identity is not None:
        return human(identity.id_type, identity.id_number)
    return key_ring().blind_index("record_subject", spec.code, key)
