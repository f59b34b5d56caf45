"""What a department's import says of its fields (一数一源): where a record has the dataset's value, it is confirmed.

The field is the department's from then on, as if it had written it. A record that says something else is left as the
grid observed it: the cross-check names the difference, and a person decides (docs/adr/0018). In batches by key, each of
which may run twice.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec.json import decode
from sqlmodel import Session

from backend.core import statements
from backend.core.clock import now
from backend.core.enums import Kind
from backend.kinds import KINDS
from backend.kinds import Document as Fields
from backend.services import audit, registry
from backend.services.documents import lock
from backend.services.records import StoredRow, open_rows
from sync.rules import ABSENT, same

BATCH = 200


def claim_batch(session: Session, dataset: str, *, after: str) -> str | None:
    """Claim for the next records after a natural key. Gives where to go on, None where nothing is left.

    Records are locked before they are read, so that what is confirmed is what stands.
    """
    kind = next(kind for kind, spec in KINDS.items() if dataset in spec.stewarded.values())
    given = {"kind": kind.value, "after": after, "limit": BATCH}
    keys = [key for (key,) in statements.rows(session, _KEYS, given)]
    if not keys:
        return None
    ids = [found for (found,) in statements.rows(session, _IDS, {"kind": kind.value, "keys": keys})]
    lock(session, ids)
    rows = statements.rows(session, _LIVING, {"ids": ids})
    opened = open_rows(session, [StoredRow(row[0], decode(row[3]), row[4]) for row in rows], fresh=True)
    records = registry.find_by_keys(session, dataset, keys)
    _claim(
        session,
        kind,
        dataset,
        [
            (document_id, version, name)
            for (document_id, version, key, _, _), fields in zip(rows, opened, strict=True)
            if key in records
            for name in _confirmed(kind, dataset, fields, records[key].fields)
        ],
    )
    return keys[-1] if len(keys) == BATCH else None


def _confirmed(kind: Kind, dataset: str, fields: Fields, record: Mapping[str, Any]) -> list[str]:
    """The dataset's own fields in which a record says what the dataset says."""
    own = [name for name, owner in KINDS[kind].stewarded.items() if owner == dataset]
    return [name for name in own if record.get(name) is not None and same(fields.get(name, ABSENT), record[name])]


def _claim(session: Session, kind: Kind, dataset: str, found: Sequence[tuple[UUID, int, str]]) -> None:
    if not found:
        return
    documents, versions, names = zip(*found, strict=True)
    given = {"documents": list(documents), "versions": list(versions), "fields": list(names)}
    claimed = statements.rows(session, _CLAIM, {**given, "dataset": dataset, "now": now()})
    audit.record_many(
        session,
        actor="sync",
        action="field_claimed",
        object_type=kind.value,
        entries=[
            (str(document_id), {"field": name, "dataset": dataset, "version": version})
            for document_id, name, version in claimed
        ],
    )


_KEYS = """
    SELECT DISTINCT CAST(natural_key AS text) AS key FROM document
    WHERE kind = %(kind)s::text AND natural_key > %(after)s::text AND NOT deleted
    ORDER BY key LIMIT %(limit)s
"""
_IDS = "SELECT id FROM document WHERE kind = %(kind)s::text AND natural_key = ANY(%(keys)b::text[]) AND NOT deleted"
_LIVING = """
    SELECT id, version, CAST(natural_key AS text), CAST(body AS text), sealed FROM document
    WHERE id = ANY(%(ids)b::uuid[]) AND NOT deleted AND natural_key IS NOT NULL
"""
_CLAIM = """
    INSERT INTO field_authority (document_id, field, dataset, version, at)
    SELECT document_id, field, %(dataset)s::text, version, %(now)s
    FROM unnest(%(documents)b::uuid[], %(versions)b::integer[], %(fields)b::text[]) AS row (document_id, version, field)
    ON CONFLICT (document_id, field) DO NOTHING
    RETURNING document_id, CAST(field AS text), version
"""
