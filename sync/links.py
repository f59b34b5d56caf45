"""What older records can be found by, written before a release added it: found again without a version of anything.

In batches by id. A batch may run twice, and a record that changed meanwhile has its index already.
"""

from uuid import UUID

from msgspec.json import decode
from sqlmodel import Session

from backend.core import statements
from backend.core.enums import Kind
from backend.services.records import LINKS, StoredRow, indexes, open_rows

BATCH = 500
KINDS = sorted({kind.value for kind in (*LINKS, *(target for _, target in LINKS.values()))})


def index_batch(session: Session, *, after: UUID) -> UUID | None:
    """Give the next records after an id the indexes they lack. Gives where to go on, None where nothing is left.

    A record that refers to nothing has none afterwards either.
    """
    rows = statements.rows(session, _LACKING, {"kinds": KINDS, "after": after, "limit": BATCH})
    opened = open_rows(session, [StoredRow(row[0], decode(row[3]), row[4]) for row in rows], fresh=True)
    found = [indexes(Kind(row[1]), fields, row[0]) for row, fields in zip(rows, opened, strict=True)]
    given = {
        "ids": [row[0] for row in rows],
        "versions": [row[2] for row in rows],
        "links": [one.link_index for one in found],
        "years": [one.name_year_index for one in found],
        "addresses": [one.name_address_index for one in found],
    }
    statements.execute(session, _INDEX, given)
    return rows[-1][0] if len(rows) == BATCH else None


_LACKING = """
    SELECT id, CAST(kind AS text), version, CAST(body AS text), sealed FROM document
    WHERE id > %(after)s AND kind = ANY(%(kinds)b::text[]) AND NOT deleted
      AND (link_index IS NULL OR block_index IS NOT NULL AND name_year_index IS NULL)
    ORDER BY id LIMIT %(limit)s
"""
_INDEX = """
    UPDATE document SET link_index = given.link, name_year_index = given.year, name_address_index = given.address
    FROM unnest(%(ids)b::uuid[], %(versions)b::integer[], %(links)b::bytea[], %(years)b::bytea[],
                %(addresses)b::bytea[]) AS given (id, version, link, year, address)
    WHERE document.id = given.id AND document.version = given.version
      AND (given.link IS NOT NULL OR given.year IS NOT NULL)
"""
