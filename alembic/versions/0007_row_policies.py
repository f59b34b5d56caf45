"""The second wall: which rows of records and cases the API's role sees and writes, whatever a query forgets.

Each transaction of the API says for whom it works (`backend.core.db.act_as`): account, device, territory, department,
and how far the operation reaches (`permissions.csv`). Without that it sees none of these rows. Jobs and the command
line work as `zw_worker`, which sees all. The owner of the tables is not bound: Alembic, backups, and the functions
below, which give ids, versions, digests and counts of rows, and never content.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

CALLER = (
    """
    CREATE FUNCTION zw_reaches(word text) RETURNS boolean LANGUAGE sql STABLE AS $$
        SELECT coalesce(word = ANY (string_to_array(current_setting('zw.reach', true), '+')), false)
    $$
    """,
    """
    CREATE FUNCTION zw_account() RETURNS uuid LANGUAGE sql STABLE AS $$
        SELECT CAST(nullif(current_setting('zw.account', true), '') AS uuid)
    $$
    """,
    """
    CREATE FUNCTION zw_device() RETURNS uuid LANGUAGE sql STABLE AS $$
        SELECT CAST(nullif(current_setting('zw.device', true), '') AS uuid)
    $$
    """,
    """
    CREATE FUNCTION zw_territory() RETURNS text LANGUAGE sql STABLE AS $$
        SELECT CASE WHEN zw_reaches('territory') THEN current_setting('zw.territory', true) END
    $$
    """,
    """
    CREATE FUNCTION zw_whole_city() RETURNS boolean LANGUAGE sql STABLE AS $$
        SELECT zw_reaches('territory') AND current_setting('zw.whole_city', true) = 'yes'
    $$
    """,
    """
    CREATE FUNCTION zw_department() RETURNS text LANGUAGE sql STABLE AS $$
        SELECT CASE WHEN zw_reaches('department') THEN nullif(current_setting('zw.department', true), '') END
    $$
    """,
    # The case that a request acts on stays visible to it when the action hands the case to somebody else.
    """
    CREATE FUNCTION zw_case() RETURNS uuid LANGUAGE sql STABLE AS $$
        SELECT CAST(nullif(current_setting('zw.case', true), '') AS uuid)
    $$
    """,
    """
    CREATE FUNCTION zw_grids() RETURNS text[] LANGUAGE sql STABLE AS $$
        SELECT coalesce(array_agg(CAST(grid_id AS text)), '{}') FROM membership
        WHERE zw_reaches('grid') AND account_id = zw_account()
          AND starts_at <= clock_timestamp() AND (ends_at IS NULL OR ends_at > clock_timestamp())
    $$
    """,
    # Grids held once, too: what a lost grid's handheld must forget is told by the feed, which holds ids only.
    """
    CREATE FUNCTION zw_feeds() RETURNS text[] LANGUAGE sql STABLE AS $$
        SELECT coalesce(array_agg(CAST(grid_id AS text)), '{}') FROM membership
        WHERE zw_reaches('grid') AND account_id = zw_account() AND starts_at <= clock_timestamp()
    $$
    """,
)
# For push and pull, which must know of a foreign document that it is there and where it lies, and no more.
LOCATORS = (
    """
    CREATE FUNCTION zw_locate(ids uuid[])
    RETURNS TABLE (id uuid, kind text, grid_id text, version integer, op uuid, deleted boolean)
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        SELECT d.id, d.kind, d.grid_id, d.version, d.op, d.deleted
        FROM document d WHERE d.id = ANY (ids) ORDER BY d.id FOR UPDATE
    $$
    """,
    """
    CREATE FUNCTION zw_versions(ids uuid[]) RETURNS TABLE (id uuid, version integer, op uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
        SELECT d.id, d.version, d.op FROM document d WHERE d.id = ANY (ids)
    $$
    """,
    """
    CREATE FUNCTION zw_fingerprints(ids uuid[], ops uuid[])
    RETURNS TABLE (document_id uuid, op uuid, fingerprint bytea)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
        SELECT m.document_id, m.op, m.fingerprint
        FROM unnest(ids, ops) AS wanted (id, op)
        JOIN mutation m ON m.document_id = wanted.id AND m.op = wanted.op
    $$
    """,
    """
    CREATE FUNCTION zw_known_ops(ids uuid[]) RETURNS TABLE (document_id uuid, op uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
        SELECT document_id, op FROM document_version WHERE document_id = ANY (ids)
        UNION
        SELECT document_id, op FROM mutation WHERE document_id = ANY (ids)
        UNION
        SELECT document_id, op FROM quarantine WHERE document_id = ANY (ids) AND op IS NOT NULL
    $$
    """,
)
COUNTS = (
    """
    CREATE FUNCTION zw_counts() RETURNS TABLE (things text, state text, number bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
        SELECT 'entries', kind, count(*) FROM document WHERE NOT deleted AND kind <> 'case' GROUP BY kind
        UNION ALL
        SELECT 'mutations', outcome, count(*) FROM mutation WHERE outcome <> 'quarantined' GROUP BY outcome
        UNION ALL
        SELECT 'mutations', 'quarantined', count(*) FROM quarantine HAVING count(*) > 0
        UNION ALL
        SELECT 'conflicts', hardness, count(*) FROM conflict GROUP BY hardness
        UNION ALL
        SELECT 'verdicts', verdict, count(*) FROM verdict GROUP BY verdict
        UNION ALL
        SELECT 'reports', state, count(*) FROM report GROUP BY state
    $$
    """,
    """
    CREATE FUNCTION zw_case_counts() RETURNS TABLE (queue_code text, state text, number bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
        SELECT queue_code, state, count(*) FROM case_file GROUP BY queue_code, state ORDER BY 1, 2
    $$
    """,
)
FUNCTIONS = {
    "zw_reaches": "text",
    "zw_account": "",
    "zw_device": "",
    "zw_territory": "",
    "zw_whole_city": "",
    "zw_department": "",
    "zw_case": "",
    "zw_grids": "",
    "zw_feeds": "",
    "zw_locate": "uuid[]",
    "zw_versions": "uuid[]",
    "zw_fingerprints": "uuid[], uuid[]",
    "zw_known_ops": "uuid[]",
    "zw_counts": "",
    "zw_case_counts": "",
}

# A function inside `(SELECT …)` is called once for a statement, not once for a row.
HELD = "grid_id = ANY ((SELECT zw_grids())::text[])"
BELOW = "starts_with(grid_id, (SELECT zw_territory()))"
NOWHERE = "grid_id IS NULL AND (SELECT zw_whole_city())"
OWN_DEVICE = "device_id = (SELECT zw_device())"
SENT = """(SELECT zw_department()) IS NOT NULL AND EXISTS (
    SELECT FROM case_file c WHERE c.source_type = '{type}' AND c.source_id = {table}.id
      AND c.department_code = (SELECT zw_department()))"""
OWN_QUEUE = """grid_id IS NULL AND EXISTS (
    SELECT FROM case_queue q WHERE q.code = queue_code AND starts_with(q.territory_code, (SELECT zw_territory())))"""
OF_ENTRY = """EXISTS (SELECT FROM document d WHERE source_type = 'document' AND d.id = source_id)
    OR EXISTS (SELECT FROM report r WHERE source_type = 'report' AND r.id = source_id)
    OR id = (SELECT c.verdict_id FROM case_file c WHERE c.id = (SELECT zw_case()))"""
OF_CASE = "EXISTS (SELECT FROM case_file c WHERE c.id = case_id)"

CASES = f"{BELOW} OR {NOWHERE} OR {OWN_QUEUE} OR department_code = (SELECT zw_department())"

READS = {
    "document": f"{HELD} OR {BELOW} OR {SENT.format(type='document', table='document')}",
    # The history of a document goes where the document goes.
    "document_version": "EXISTS (SELECT FROM document d WHERE d.id = document_id)",
    "mutation": OWN_DEVICE,
    "conflict": f"{OWN_DEVICE} OR {BELOW}",
    "quarantine": f"{OWN_DEVICE} OR {BELOW}",
    "feed": "grid_id = ANY ((SELECT zw_feeds())::text[])",
    "case_file": f"id = (SELECT zw_case()) OR {CASES}",
    "case_step": OF_CASE,
    "report": f"{BELOW} OR {NOWHERE} OR {SENT.format(type='report', table='report')}",
    "verdict": OF_ENTRY,
}
INSERTS = {
    "document": HELD,
    "document_version": HELD,
    "mutation": OWN_DEVICE,
    "conflict": OWN_DEVICE,
    "quarantine": OWN_DEVICE,
    "feed": HELD,
    "case_step": OF_CASE,
}
UPDATES = {
    "document": (HELD, HELD),
    "quarantine": (OWN_DEVICE, OWN_DEVICE),
    "feed": (HELD, HELD),
    "case_file": (CASES, "true"),
}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for statement in (*CALLER, *LOCATORS, *COUNTS):
        op.execute(statement)
    for name, arguments in FUNCTIONS.items():
        op.execute(f"REVOKE ALL ON FUNCTION {name}({arguments}) FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {name}({arguments}) TO zw_api, zw_worker")
    for table, readable in READS.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY worker ON {table} TO zw_worker USING (true) WITH CHECK (true)")
        op.execute(f"CREATE POLICY api_read ON {table} FOR SELECT TO zw_api USING ({readable})")
    for table, check in INSERTS.items():
        op.execute(f"CREATE POLICY api_insert ON {table} FOR INSERT TO zw_api WITH CHECK ({check})")
    for table, (using, check) in UPDATES.items():
        op.execute(f"CREATE POLICY api_update ON {table} FOR UPDATE TO zw_api USING ({using}) WITH CHECK ({check})")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in READS:
        op.execute(f"DROP POLICY worker ON {table}")
        op.execute(f"DROP POLICY api_read ON {table}")
        op.execute(f"DROP POLICY IF EXISTS api_insert ON {table}")
        op.execute(f"DROP POLICY IF EXISTS api_update ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    for name, arguments in reversed(FUNCTIONS.items()):
        op.execute(f"DROP FUNCTION {name}({arguments})")
