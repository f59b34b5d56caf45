"""Declarations as another source about what the grid collected, and the grid's records about what was declared.

Of several declarations, or records, about the same the latest speaks.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec.json import decode
from sqlmodel import Session

from backend.core import statements
from backend.core.enums import Kind, SourceType
from backend.services import records
from backend.services.records import StoredRow
from backend.services.sealing import Vault
from workflows.crosscheck.entries import Key, key_of
from workflows.crosscheck.facts import DECLARATIONS, ENTRIES, Entry, Said

COUNTERPART = {SourceType.DOCUMENT: DECLARATIONS, SourceType.DECLARATION: ENTRIES}
"""Which of the two says something about an entry of a source."""


def words(session: Session, asked: Sequence[tuple[Entry, records.Indexes]], vault: Vault) -> Iterator[Said]:
    """With at most two statements for each of the two, and the keys that are not known yet."""
    for source_type, dataset in COUNTERPART.items():
        keys = {entry.source: key_of(entry, indexes) for entry, indexes in asked if entry.source.type is source_type}
        found = _latest(session, dataset, {key for key in keys.values() if key}, vault)
        for entry, _ in asked:
            key = keys.get(entry.source)
            if key in found:
                yield Said(entry, dataset, *found[key])


def _latest(
    session: Session, dataset: str, keys: set[Key], vault: Vault
) -> dict[Key | None, tuple[datetime, Mapping[str, Any]]]:
    if not keys:
        return {}
    coded = [(kind.value, code) for kind, code in keys if isinstance(code, str)]
    named = {
        "indexes": [value for _, value in keys if isinstance(value, bytes)],
        "kinds": [kind for kind, _ in coded],
        "codes": [code for _, code in coded],
    }
    rows = statements.rows(session, _LATEST[dataset], named)
    opened = records.open_rows(
        session, [StoredRow(row[3], decode(row[4]), row[5]) for row in rows], vault=vault, fresh=True
    )
    homes = _homes(session, opened)
    return {
        (Kind(kind), index or code): (at, {**homes.get(str(fields.get("house_id")), {}), **fields})
        for (kind, index, code, _, _, _, at), fields in zip(rows, opened, strict=True)
    }


def _homes(session: Session, people: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Code and address of the houses that people name, as far as the grid knows them (`facts.told`)."""
    named = {str(fields["house_id"]) for fields in people if fields.get("house_id")}
    rows = statements.rows(session, _HOUSES, {"ids": [UUID(one) for one in sorted(named)]}) if named else ()
    return {str(house_id): {"house_code": code, "address": address} for house_id, code, address in rows}


_COLUMNS = "CAST(d.kind AS text), {index}, {code}, d.id, CAST(d.body AS text), d.sealed, {at}"
_ONE_SORT = """
    (SELECT DISTINCT ON (d.id_index) {human} FROM {table} d
     WHERE d.id_index = ANY(%(indexes)b::bytea[]) AND d.kind = 'person' AND {living}
     ORDER BY d.id_index, {at} DESC, d.id)
    UNION ALL
    (SELECT DISTINCT ON (d.kind, d.natural_key) {thing}
     FROM unnest(%(kinds)b::text[], %(codes)b::text[]) AS wanted (kind, code)
     JOIN {table} d ON d.kind = wanted.kind AND d.natural_key = wanted.code AND {living}
     ORDER BY d.kind, d.natural_key, {at} DESC, d.id)
"""


def _query(table: str, living: str, at: str) -> str:
    human = _COLUMNS.format(index="d.id_index", code="NULL::text", at=at)
    thing = _COLUMNS.format(index="NULL::bytea", code="CAST(d.natural_key AS text)", at=at)
    return _ONE_SORT.format(table=table, living=living, at=at, human=human, thing=thing)


_LATEST = {
    DECLARATIONS: _query("declaration", "d.state = 'in_force'", "d.declared_at"),
    ENTRIES: _query("document", "NOT d.deleted", "d.updated_at"),
}
_HOUSES = """
    SELECT id, body ->> 'house_code', body ->> 'address' FROM document
    WHERE id = ANY(%(ids)b::uuid[]) AND kind = 'house' AND NOT deleted
"""
