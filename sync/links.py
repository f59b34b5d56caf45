"""References of records that were written before `link_index`: found again without a version of anything.

In batches by id. A batch may run twice, and a record that changed meanwhile has its index already.
"""

from uuid import UUID

from msgspec.json import decode
from sqlmodel import Session

from backend.core import statements
from backend.core.enums import Kind
from backend.services.records import LINKS, StoredRow, link_index, open_rows

BATCH = 500
KINDS = sorted({kind.value for kind in (*LINKS, *(target for _, target in LINKS.values()))})


def index_batch(session: Session, *, after: UUID) -> UUID | None:
    """Give the next records after an id the index they lack. Gives where to go on, None where nothing is left.

    A record that refers to nothing has none afterwards either.
    """
    rows = statements.rows(session, _LACKING, {"kinds": KINDS, "after": after, "limit": BATCH})
    opened = open_rows(session, [StoredRow(row[0], decode(row[3]), row[4]) for row in rows], fresh=True)
    links = [link_index(Kind(row[1]), fields, row[0]) for row, fields in zip(rows, opened, strict=True)]
    given = {"ids": [row[0] for row in rows], "versions": [row[2] for row in rows], "links": links}
    statements.execute(session, _INDEX, given)
    return rows[-1][0] if len(rows) == BATCH else None


_LACKING = """
    SELECT id, CAST(kind AS text), version, CAST(body AS text), sealed FROM document
    WHERE id > %(after)s AND kind = ANY(%(kinds)b::text[]) AND link_index IS NULL AND NOT deleted
    ORDER BY id LIMIT %(limit)s
"""
_INDEX = """
    UPDATE document SET link_index = given.link
    FROM unnest(%(ids)b::uuid[], %(versions)b::integer[], %(links)b::bytea[]) AS given (id, version, link)
    WHERE document.id = given.id AND document.version = given.version AND given.link IS NOT NULL
"""
