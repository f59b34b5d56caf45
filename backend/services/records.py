"""From a record's fields to its row and back: what is public, what is sealed, and what can be searched blindly."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from uuid import UUID

import h3
from sqlmodel import Session

from backend.core.crypto import key_ring
from backend.core.enums import Kind
from backend.kinds import KINDS, Document, Identity, KindSpec, identity_of
from backend.kinds.base import PUBLIC_KEYS
from backend.kinds.geodesy import SCALE
from backend.services.blocking import name_address_index, name_year_index
from backend.services.sealing import Path, Shares, Subject, Vault, entries_of, human

H3_RESOLUTION = 9
LINKS: Mapping[Kind, tuple[str, Kind]] = {Kind.PERSON: ("house_id", Kind.HOUSE)}
"""Soft references between kinds: the field that names a record of another kind. They replicate independently."""
COMPOUND_SURNAMES = frozenset(
    "欧阳 太史 端木 上官 司马 东方 独孤 南宫 万俟 闻人 夏侯 诸葛 尉迟 公羊 赫连 澹台 皇甫 宗政 濮阳 公冶 太叔 申屠 "
    "公孙 慕容 仲孙 钟离 长孙 宇文 司徒 鲜于 司空 闾丘 令狐 百里 呼延 东郭 南门".split()
)


@dataclass(frozen=True, slots=True)
class Indexes:
    """What a row can be found by. The blind ones are keyed hashes; see `KeyRing.blind_index`, and `blocking`."""

    id_index: bytes | None = None
    phone_index: bytes | None = None
    block_index: bytes | None = None
    name_year_index: bytes | None = None
    name_address_index: bytes | None = None
    link_index: bytes | None = None
    natural_key: str | None = None
    h3_cell: str | None = None


class Blocks(NamedTuple):
    """Keys that people share who may be one; a row of a whole city's file has them at the speed of a tuple."""

    phone_index: bytes | None = None
    block_index: bytes | None = None
    name_year_index: bytes | None = None
    name_address_index: bytes | None = None


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A record as it is stored."""

    body: Document
    sealed: bytes | None
    indexes: Indexes


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A record as it was read: enough to open it."""

    id: UUID
    body: Document
    sealed: bytes | None


def context_of(document_id: UUID) -> bytes:
    """What binds a record's ciphertexts, in every copy of it, to its id."""
    return document_id.bytes


def subject_of(spec: KindSpec, document_id: UUID, fields: Document) -> Subject:
    """Whose key protects the record: the human's where the kind is about one and the id number is known."""
    identity = identity_of(fields) if spec.subject_is_human else None
    return human(identity.id_type, identity.id_number) if identity else document_id.bytes


def split(kind: Kind, document_id: UUID, fields: Document) -> tuple[Document, Shares]:
    """The readable part of a record, and the personal values by subject."""
    spec = KINDS[kind]
    own = subject_of(spec, document_id, fields)
    body: Document = {}
    mine: list[tuple[Path, Any]] = []
    shares: Shares = {own: mine}
    for name, value in fields.items():
        if name in PUBLIC_KEYS and name in spec.public:
            body[name] = declared(name, value)
            mine += _undeclared(name, value)
        elif name in spec.public:
            body[name] = value
        elif name not in spec.nested:
            mine.append(((name,), value))
        elif isinstance(value, list):
            body[name] = []
            for index, item in enumerate(value):
                shares.setdefault(nested_subject(item, own), []).append(((name, index), item))
        else:
            shares.setdefault(nested_subject(value, own), []).append(((name,), value))
    if not mine:
        del shares[own]
    return body, shares


def seal_rows(
    session: Session, rows: Sequence[tuple[Kind, UUID, Document]], *, vault: Vault | None = None
) -> list[SealedRow]:
    """Seal a batch; one read of keys for all rows, one write for subjects that are new."""
    vault = vault or Vault(session)
    split_rows = [split(*row) for row in rows]
    vault.provide(subject for _, shares in split_rows for subject in shares)
    return [
        SealedRow(body, vault.seal_shares(shares, context=context_of(document_id)), indexes(kind, fields, document_id))
        for (kind, document_id, fields), (body, shares) in zip(rows, split_rows, strict=True)
    ]


def open_rows(
    session: Session, rows: Sequence[StoredRow], *, vault: Vault | None = None, fresh: bool = False
) -> list[Document]:
    """The fields of a batch of rows. What belongs to an erased subject is missing from them.

    `fresh`: the bodies were made for this call and may be filled, not copied.
    """
    vault = vault or Vault(session)
    blobs = [entries_of(row.sealed) for row in rows]
    vault.load({subject for blob in blobs for subject, _ in blob})
    return [
        vault.fill(row.body if fresh else _copied(row.body), blob, context=context_of(row.id))
        for row, blob in zip(rows, blobs, strict=True)
    ]


def open_members(
    session: Session, rows: Sequence[tuple[bytes, str, bytes | None]], *, vault: Vault | None = None
) -> list[bytes]:
    """The same as JSON, each without its braces. A row is its id's 16 bytes, the JSON of its body, what is sealed."""
    vault = vault or Vault(session)
    blobs = [entries_of(sealed) for _, _, sealed in rows]
    vault.load({subject for blob in blobs for subject, _ in blob})
    return [
        vault.members(body, blob, context=document_id) for (document_id, body, _), blob in zip(rows, blobs, strict=True)
    ]


def indexes(kind: Kind, fields: Document, document_id: UUID | None = None) -> Indexes:
    """The search keys of a record; of one that is stored, with its id, also what it refers to."""
    spec = KINDS[kind]
    natural = fields.get(spec.natural_key) if spec.natural_key else None
    natural = natural if isinstance(natural, str) and natural else None
    cell = cell_of(fields.get("location")) if "location" in spec.public else None
    if not spec.subject_is_human:
        return Indexes(natural_key=natural, h3_cell=cell, link_index=link_index(kind, fields, document_id))
    return replace(human_indexes(fields), link_index=link_index(kind, fields, document_id))


def human_indexes(fields: Document) -> Indexes:
    """What a human can be found by, in a collected record and in a department's."""
    identity = identity_of(fields)
    return Indexes(id_index=id_index(identity) if identity else None, **blocks_of(fields)._asdict())


def blocks_of(fields: Document) -> Blocks:
    """The same without the identity document."""
    name, birth_date = fields.get("name"), fields.get("birth_date")
    return Blocks(
        phone_index(fields.get("phone")),
        block_index(name, birth_date),
        name_year_index(name, birth_date),
        name_address_index(name, fields.get("registered_address")),
    )


def link_index(kind: Kind, fields: Document, document_id: UUID | None) -> bytes | None:
    """The blind index of the record that this one refers to, or of this one where others refer to its kind.

    Where somebody lives is personal, so the reference stands nowhere in the open.
    """
    if kind in LINKS:
        name, target = LINKS[kind]
        named = fields.get(name)
        return key_ring().blind_index("link", target.value, named) if isinstance(named, str) and named else None
    is_named = document_id is not None and any(target is kind for _, target in LINKS.values())
    return key_ring().blind_index("link", kind.value, str(document_id)) if is_named else None


def id_index(identity: Identity) -> bytes:
    """The blind index of an identity document."""
    return key_ring().blind_index("id_number", identity.id_type, identity.id_number)


def phone_index(phone: Any) -> bytes | None:
    """The blind index of a phone number, blind to spaces, hyphens and the +86 prefix."""
    if not isinstance(phone, str):
        return None
    digits = phone if phone.isdigit() else "".join(character for character in phone if character.isdigit())
    digits = digits.removeprefix("86") if len(digits) == 13 else digits
    return key_ring().blind_index("phone", digits) if len(digits) >= 7 else None


def block_index(name: Any, birth_date: Any) -> bytes | None:
    """The blind index of birth date and surname together: a blocking key, never of either alone."""
    if not (isinstance(name, str) and name and isinstance(birth_date, str) and birth_date):
        return None
    return key_ring().blind_index("birth_surname", birth_date, surname(name))


def surname(name: str) -> str:
    """The family name: two characters where they are a compound surname, else the first."""
    return name[:2] if len(name) > 2 and name[:2] in COMPOUND_SURNAMES else name[:1]


def cell_of(location: Any) -> str | None:
    """The H3 cell of a stored location, None where there is none."""
    if not isinstance(location, dict) or not {"lat", "lon"} <= location.keys():
        return None
    return str(h3.latlng_to_cell(location["lat"] / SCALE, location["lon"] / SCALE, H3_RESOLUTION))


def nested_subject(value: Any, fallback: Subject) -> Subject:
    """Whose key protects a person-like value inside a record: that human's, where the id number is known."""
    identity = identity_of(value) if isinstance(value, dict) else None
    return human(identity.id_type, identity.id_number) if identity else fallback


def declared(name: str, value: Any) -> Any:
    """A public value without what its model does not declare."""
    keys = PUBLIC_KEYS.get(name)
    if keys is None:
        return value
    if isinstance(value, list):
        return [declared(name, item) for item in value]
    return {key: item for key, item in value.items() if key in keys} if isinstance(value, dict) else value


def _undeclared(name: str, value: Any) -> Iterator[tuple[Path, Any]]:
    """What `declared` leaves out, with the path at which it stood."""
    keys = PUBLIC_KEYS[name]
    places = enumerate(value) if isinstance(value, list) else [(None, value)]
    for index, item in places:
        if isinstance(item, dict):
            start = (name,) if index is None else (name, index)
            yield from (((*start, key), unknown) for key, unknown in item.items() if key not in keys)


def _copied(value: Any) -> Any:
    """A copy that can be filled without changing what was read; bodies are a few levels deep."""
    if isinstance(value, dict):
        return {name: _copied(item) for name, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
