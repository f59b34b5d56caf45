"""The steps that are one statement each. They see keyed indexes, ids and the public grid of a record, never a value.

All take a chunk that begins after a cursor, and give the cursor of the next one with how many rows they saw.
"""

from sqlalchemy import TextClause, text

from backend.core.enums import Kind

_IN_SCOPE = """
    starts_with({grid}, :territory) AND (CAST(:grids AS text[]) IS NULL OR {grid} = ANY(CAST(:grids AS text[])))
"""
_NOT_LINKED = """
    NOT EXISTS (SELECT FROM reconciliation_link l WHERE l.run_id = :run AND l.record_id = r.id)
"""
_COUNT = """
    INSERT INTO reconciliation_grid (run_id, grid_id, {columns}, {zeros})
    SELECT :run, grid_id, {values}, {nothing} FROM {source} GROUP BY grid_id
    ON CONFLICT (run_id, grid_id) DO UPDATE SET {added}
"""
_COUNTED = (
    "documents by_key by_phone probable conflicting duplicates records records_linked record_duplicates"
).split()


def _count(source: str, **values: str) -> str:
    """Add to the counts of each grid what a chunk came to."""
    rest = [name for name in _COUNTED if name not in values]
    return _COUNT.format(
        columns=", ".join(values),
        values=", ".join(values.values()),
        zeros=", ".join(rest),
        nothing=", ".join("0" for _ in rest),
        source=source,
        added=", ".join(f"{name} = reconciliation_grid.{name} + excluded.{name}" for name in values),
    )


def by_key(kind: Kind) -> TextClause:
    """Link documents to the record of their key, and count them and those whose key an older document has."""
    person = kind is Kind.PERSON
    key = "encode(c.id_index, 'hex')" if person else "c.natural_key"
    own = "id_index" if person else "natural_key"
    return text(
        f"""
        WITH chunk AS MATERIALIZED (
            SELECT d.id, d.grid_id, d.id_index, d.natural_key FROM document d
            WHERE d.kind = :kind AND NOT d.deleted AND d.id > CAST(:after AS uuid) AND {
            _IN_SCOPE.format(grid="d.grid_id")
        }
            ORDER BY d.id LIMIT :limit
        ), written AS (
            INSERT INTO reconciliation_link (run_id, document_id, record_id, grid_id, rule)
            SELECT :run, c.id, r.id, c.grid_id, 'key'
            FROM chunk c JOIN business_record r ON r.snapshot_id = :snapshot AND r.record_key = {key}
            RETURNING document_id
        ), judged AS (
            SELECT c.grid_id, w.document_id IS NOT NULL AS linked, EXISTS (
                SELECT FROM document o
                WHERE o.kind = :kind AND NOT o.deleted AND o.{own} = c.{own} AND o.id < c.id
            ) AS twice
            FROM chunk c LEFT JOIN written w ON w.document_id = c.id
        ), counted AS (
            {
            _count(
                "judged",
                documents="count(*)",
                by_key="count(*) FILTER (WHERE linked)",
                duplicates="count(*) FILTER (WHERE twice)",
            )
        }
        )
        SELECT (SELECT CAST(id AS text) FROM chunk ORDER BY id DESC LIMIT 1) AS next, count(*) AS seen FROM chunk
        """
    )


BY_PHONE = text(
    f"""
    WITH chunk AS MATERIALIZED (
        SELECT d.id, d.grid_id, d.phone_index, d.block_index FROM document d
        WHERE d.kind = :kind AND NOT d.deleted AND d.id > CAST(:after AS uuid) AND {_IN_SCOPE.format(grid="d.grid_id")}
        ORDER BY d.id LIMIT :limit
    ), pairs AS (
        SELECT c.id, c.grid_id, r.id AS record_id,
               count(*) OVER (PARTITION BY c.id) AS records, count(*) OVER (PARTITION BY r.id) AS documents
        FROM chunk c
        JOIN business_record r
          ON r.snapshot_id = :snapshot AND r.phone_index = c.phone_index AND r.block_index = c.block_index
        WHERE {_NOT_LINKED}
          AND NOT EXISTS (SELECT FROM reconciliation_link l WHERE l.run_id = :run AND l.document_id = c.id)
    ), written AS (
        INSERT INTO reconciliation_link (run_id, document_id, record_id, grid_id, rule)
        SELECT :run, id, record_id, grid_id, 'phone' FROM pairs WHERE records = 1 AND documents = 1
        RETURNING grid_id
    ), counted AS (
        {_count("written", by_phone="count(*)")}
    )
    SELECT (SELECT CAST(id AS text) FROM chunk ORDER BY id DESC LIMIT 1) AS next, count(*) AS seen FROM chunk
    """
)
"""Link documents of which no key is known to the one record of the same phone and the same birth date and surname.

Where several come into question on either side, twins for example, none is taken: the probabilistic step decides.
"""

RECORDS = text(
    f"""
    WITH chunk AS MATERIALIZED (
        SELECT r.id, r.body ->> 'grid_id' AS grid_id, r.phone_index, r.block_index
        FROM business_record r
        WHERE r.snapshot_id = :snapshot AND r.id > CAST(:after AS bigint) ORDER BY r.id LIMIT :limit
    ), judged AS (
        SELECT c.id, c.grid_id,
            EXISTS (SELECT FROM reconciliation_link l WHERE l.run_id = :run AND l.record_id = c.id) AS linked,
            EXISTS (
                SELECT FROM business_record o
                WHERE o.snapshot_id = :snapshot AND o.phone_index = c.phone_index AND o.block_index = c.block_index
                  AND o.id < c.id
            ) AS twice
        FROM chunk c WHERE {_IN_SCOPE.format(grid="c.grid_id")}
    ), counted AS (
        {
        _count(
            "judged",
            records="count(*)",
            records_linked="count(*) FILTER (WHERE linked)",
            record_duplicates="count(*) FILTER (WHERE twice)",
        )
    }
    ), kept AS (
        INSERT INTO reconciliation_record (run_id, grid_id, record_id)
        SELECT :run, j.grid_id, j.id FROM judged j
        JOIN reconciliation_grid g ON g.run_id = :run AND g.grid_id = j.grid_id
        WHERE NOT j.linked AND g.documents > g.by_key + g.by_phone
    )
    SELECT max(id) AS next, count(*) AS seen FROM chunk
    """
)
"""Count the snapshot, and keep what has no link where documents are left without one.

In the order in which it was written: in that of its keys, which are hashes, each row would be another page.
"""

LEFT = text(
    """
    SELECT g.grid_id, g.documents - g.by_key - g.by_phone + g.records - g.records_linked AS rows
    FROM reconciliation_grid g
    WHERE g.run_id = :run AND g.documents > g.by_key + g.by_phone ORDER BY g.grid_id
    """
)
"""Grids with documents that have no link yet, and how many rows a partition of each holds."""

PLACED = text(
    """
    UPDATE reconciliation_grid g SET part = made.part
    FROM unnest(CAST(:grids AS text[]), CAST(:parts AS integer[])) AS made (grid_id, part)
    WHERE g.run_id = :run AND g.grid_id = made.grid_id
    """
)
GRIDS_OF_PART = text("SELECT grid_id FROM reconciliation_grid WHERE run_id = :run AND part = :part ORDER BY grid_id")

NEARBY = ("phone_index", "block_index", "name_year_index", "name_address_index")
"""Keys by which a record of another grid is taken in. Each is blind."""

LEFT_DOCUMENTS = text(
    f"""
    SELECT d.id, d.grid_id, d.body, d.sealed, {", ".join(f"d.{name}" for name in NEARBY)} FROM document d
    WHERE d.kind = :kind AND NOT d.deleted AND d.grid_id = ANY(:grids)
      AND NOT EXISTS (SELECT FROM reconciliation_link l WHERE l.run_id = :run AND l.document_id = d.id)
    ORDER BY d.id
    """
)
_FROM_ANYWHERE = """
        UNION
        SELECT found.id FROM unnest(CAST(:{name} AS bytea[])) AS wanted (value)
        CROSS JOIN LATERAL (
            SELECT id FROM business_record
            WHERE snapshot_id = :snapshot AND {name} = wanted.value ORDER BY id LIMIT :nearby
        ) AS found
"""
LEFT_RECORDS = text(
    f"""
    SELECT r.id, r.record_key, r.body, r.sealed, coalesce(r.sealed_in, r.snapshot_id) AS sealed_in
    FROM business_record r
    WHERE r.id IN (
        SELECT record_id FROM reconciliation_record WHERE run_id = :run AND grid_id = ANY(:grids)
        {"".join(_FROM_ANYWHERE.format(name=name) for name in NEARBY)}
    ) AND {_NOT_LINKED}
    ORDER BY r.id
    """
)
"""Records without a link: those of the grids, and from anywhere those that share a key with one of the documents."""

LINK = text(
    f"""
    WITH found AS (
        SELECT * FROM unnest(CAST(:documents AS uuid[]), CAST(:records AS bigint[]), CAST(:cells AS text[]),
                             CAST(:scores AS float8[])) AS made (document_id, record_id, grid_id, score)
    ), written AS (
        INSERT INTO reconciliation_link (run_id, document_id, record_id, grid_id, rule, score)
        SELECT :run, document_id, record_id, grid_id, 'probable', score FROM found RETURNING grid_id
    )
    {_count("written", probable="count(*)")}
    """
)
COVER = text(
    """
    UPDATE reconciliation_grid g SET records_linked = g.records_linked + found.number
    FROM (SELECT body ->> 'grid_id' AS grid_id, count(*) AS number FROM business_record
          WHERE id = ANY(CAST(:records AS bigint[])) GROUP BY 1) AS found
    WHERE g.run_id = :run AND g.grid_id = found.grid_id
    """
)
"""A record counts in its own grid, which need not be the document's."""

FORGET_RECORDS = text("DELETE FROM reconciliation_record WHERE run_id = :run AND grid_id = ANY(:grids)")

LINKED = text(
    """
    SELECT l.document_id, l.grid_id, d.body AS my_body, d.sealed AS my_sealed,
           r.record_key, r.body AS their_body, r.sealed AS their_sealed,
           coalesce(r.sealed_in, r.snapshot_id) AS sealed_in
    FROM (SELECT document_id, record_id, grid_id FROM reconciliation_link
          WHERE run_id = :run AND document_id > CAST(:after AS uuid) ORDER BY document_id LIMIT :limit) AS l
    JOIN document d ON d.id = l.document_id
    LEFT JOIN business_record r ON r.id = l.record_id
    ORDER BY l.document_id
    """
)
DIFFERS = text(
    f"""
    WITH found AS (
        SELECT document_id, string_to_array(nullif(names, ''), ',') AS names
        FROM unnest(CAST(:documents AS uuid[]), CAST(:names AS text[])) AS made (document_id, names)
    ), written AS (
        UPDATE reconciliation_link l SET differs = coalesce(found.names, '{{}}')
        FROM found WHERE l.run_id = :run AND l.document_id = found.document_id
        RETURNING l.grid_id, found.names IS NOT NULL AS conflicting
    )
    {_count("written", conflicting="count(*) FILTER (WHERE conflicting)")}
    """
)
TOTALS = text(
    f"SELECT {', '.join(f'coalesce(sum({name}), 0) AS {name}' for name in _COUNTED)} "
    "FROM reconciliation_grid WHERE run_id = :run"
)
ADVANCE = text(
    """
    UPDATE reconciliation
    SET step = step + 1, phase = :phase, cursor = :cursor, tally = CAST(:tally AS json),
        state = CAST(:state AS text), finished_at = :finished
    WHERE id = :run AND step = :step AND state = 'running'
    """
)
HAS_ROWS = text("SELECT EXISTS (SELECT FROM business_record WHERE snapshot_id = :snapshot)")
