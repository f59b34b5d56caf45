"""Business records as rows: what is readable, what is sealed under whose key, and what finds them.

The same rules as for collected records (`backend.services.records`), at the speed a whole city's file needs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text

from backend.core.clock import now
from backend.core.crypto import DataKey, key_ring
from backend.kinds import identity_of
from backend.services.records import block_index, id_index, phone_index
from backend.services.registry_specs import DatasetSpec
from backend.services.sealing import Part, Subject, Vault, human

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordRow:
    """A business record as it is stored; `body` is JSON text."""

    record_key: str
    line: int
    body: str
    sealed: bytes | None
    phone_index: bytes | None
    block_index: bytes | None


class BulkVault(Vault):
    """A vault that makes the missing keys of a whole chunk with one statement, committed at once.

    A load lasts minutes. Were its keys to wait for its end, so would everybody who needs the key of a person it has
    already read. A key without a record, as a load leaves it that is rolled back, protects nothing and does no harm.
    """

    def provide(self, subjects: Iterable[Subject]) -> None:
        """As `Vault.provide`; a key that another transaction made meanwhile is read instead of ours."""
        wanted = set(subjects)
        self.load(wanted)
        missing = sorted(wanted - self._keys.keys())
        if not missing:
            return
        made: dict[Subject, tuple[DataKey, bytes]] = {
            subject: self._ring.new_wrapped_key(subject=subject) for subject in missing
        }
        wrapped = [made[subject][1] for subject in missing]
        # `missing` is sorted, so two loads that make the same keys wait for each other and do not deadlock.
        with self._session.get_bind().engine.begin() as connection:
            rows = connection.execute(_INSERT, {"subjects": missing, "wrapped": wrapped, "now": now()}).scalars().all()
        for subject in map(bytes, rows):
            self._keys[subject] = made[subject][0]
        self.load(missing)


def record_key(spec: DatasetSpec, fields: Fields) -> str:
    """What names a record in its dataset: for people the hex blind index of id type and number."""
    if spec.key is not None:
        return str(fields[spec.key])
    identity = identity_of(fields)
    if identity is None:
        raise ValueError("a person without identity passed validation")
    return id_index(identity).hex()


def seal_records(
    vault: Vault, spec: DatasetSpec, snapshot_id: UUID, records: Sequence[tuple[str, int, Fields]]
) -> list[RecordRow]:
    """Seal a chunk of (record key, line, fields)."""
    parted = [_parted(spec, key, fields) for key, _, fields in records]
    vault.provide(part.subject for _, parts in parted for part in parts)
    people = spec.kind_spec.subject_is_human
    return [
        RecordRow(
            record_key=key,
            line=line,
            body=msgspec.json.encode(body).decode(),
            sealed=vault.seal(parts, context=context_of(snapshot_id, key)),
            phone_index=phone_index(fields.get("phone")) if people else None,
            block_index=block_index(fields.get("name"), fields.get("birth_date")) if people else None,
        )
        for (key, line, fields), (body, parts) in zip(records, parted, strict=True)
    ]


def context_of(snapshot_id: UUID, key: str) -> bytes:
    """What binds a record's ciphertexts to its row."""
    return snapshot_id.bytes + key.encode()


def _parted(spec: DatasetSpec, key: str, fields: Fields) -> tuple[Fields, list[Part]]:
    """The readable part of a record, and the personal parts by subject.

    What belongs to no human with an identity document belongs to the record itself, under a key that later
    snapshots of the same record share.
    """
    public, nested = spec.public, spec.nested
    own = _own_subject(spec, key, fields)
    body: Fields = {}
    parts: list[Part] = []
    for name, value in fields.items():
        if name in public:
            body[name] = value
        else:
            identity = identity_of(value) if name in nested else None
            subject = human(identity.id_type, identity.id_number) if identity else own
            parts.append(Part(subject, (name,), value))
    return body, parts


def _own_subject(spec: DatasetSpec, key: str, fields: Fields) -> Subject:
    identity = identity_of(fields) if spec.kind_spec.subject_is_human else None
    if identity is not None:
        return human(identity.id_type, identity.id_number)
    return key_ring().blind_index("record_subject", spec.code, key)


_INSERT = text(
    """
    INSERT INTO subject_key (subject_id, wrapped, created_at)
    SELECT subject_id, wrapped, :now
    FROM unnest(CAST(:subjects AS bytea[]), CAST(:wrapped AS bytea[])) AS made (subject_id, wrapped)
    ON CONFLICT (subject_id) DO NOTHING
    RETURNING subject_id
    """
)
