"""What people and organisations declare about themselves.

Revision ID: 0160
Revises: 0130
"""

import sqlalchemy as sa
from alembic import op

revision = "0160"
down_revision = "0130"
branch_labels = None
depends_on = None

INDEXES = ("id_index", "phone_index", "block_index", "name_year_index", "name_address_index")
# What the API's role must know of records it does not see: whether an id is a record's, and in which grid a house lies.
PLACE = """
CREATE FUNCTION zw_declared(declaration uuid, house uuid, code text) RETURNS TABLE (taken boolean, grid_id text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM document d WHERE d.id = declaration),
           (SELECT CAST(d.grid_id AS text) FROM document d
            WHERE d.kind = 'house' AND NOT d.deleted AND (d.id = house OR d.natural_key = code)
            ORDER BY d.created_at, d.id LIMIT 1)
$$
"""
# History is appended only; this empties it for declarations that have ended, and for no others.
EMPTY = """
CREATE FUNCTION empty_declarations(ids uuid[]) RETURNS TABLE (part text, affected bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ended uuid[];
BEGIN
    SELECT array_agg(d.id) INTO ended FROM public.declaration d WHERE d.id = ANY(ids) AND d.state = 'withdrawn';
    UPDATE public.declaration_version SET body = '{}', sealed = NULL
    WHERE declaration_id = ANY(ended) AND (sealed IS NOT NULL OR body::text <> '{}');
    GET DIAGNOSTICS affected = ROW_COUNT; part := 'declaration_version'; RETURN NEXT;
    UPDATE public.verdict SET evidence = NULL
    WHERE source_type = 'declaration' AND source_id = ANY(ended) AND evidence IS NOT NULL;
    GET DIAGNOSTICS affected = ROW_COUNT; part := 'verdict'; RETURN NEXT;
END $$
"""
FUNCTIONS = {"zw_declared(uuid, uuid, text)": "zw_api", "empty_declarations(uuid[])": "zw_worker"}
CHANGED = (
    "version, state, grid_id, body, sealed, natural_key, declared_at, updated_at, ended_at, end_reason, "
    + ", ".join(INDEXES)
)
GRANTS = (
    "GRANT SELECT ON declaration, declaration_version TO zw_api, zw_worker",
    "GRANT INSERT ON declaration, declaration_version TO zw_api, zw_worker",
    f"GRANT UPDATE ({CHANGED}) ON declaration TO zw_api, zw_worker",
)
OWN = "zw_reaches('self') AND account_id = zw_account()"
READS = f"""{OWN} OR starts_with(grid_id, (SELECT zw_territory())) OR grid_id IS NULL AND (SELECT zw_whole_city())
    OR (SELECT zw_department()) IS NOT NULL AND EXISTS (
        SELECT FROM case_file c WHERE c.source_type = 'declaration' AND c.source_id = declaration.id
          AND c.department_code = (SELECT zw_department()))"""
# The history of a declaration goes where the declaration goes.
OF_DECLARATION = "EXISTS (SELECT FROM declaration d WHERE d.id = declaration_id)"
OF_ENTRY = """EXISTS (SELECT FROM document d WHERE source_type = 'document' AND d.id = source_id)
    OR EXISTS (SELECT FROM report r WHERE source_type = 'report' AND r.id = source_id)"""
OF_DECLARED = "EXISTS (SELECT FROM declaration d WHERE source_type = 'declaration' AND d.id = source_id)"
OF_CASE = "id = (SELECT c.verdict_id FROM case_file c WHERE c.id = (SELECT zw_case()))"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _create_declaration()
    _create_version()
    for statement in (PLACE, EMPTY):
        op.execute(statement)
    for function, role in FUNCTIONS.items():
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {role}")
    for statement in GRANTS:
        op.execute(statement)
    for table, readable, written in (
        ("declaration", READS, OWN),
        ("declaration_version", OF_DECLARATION, OF_DECLARATION),
    ):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY worker ON {table} TO zw_worker USING (true) WITH CHECK (true)")
        op.execute(f"CREATE POLICY api_read ON {table} FOR SELECT TO zw_api USING ({readable})")
        op.execute(f"CREATE POLICY api_insert ON {table} FOR INSERT TO zw_api WITH CHECK ({written})")
    op.execute(f"CREATE POLICY api_update ON declaration FOR UPDATE TO zw_api USING ({OWN}) WITH CHECK ({OWN})")
    _policies_of_what_follows(f"{OF_ENTRY} OR {OF_DECLARED}")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _policies_of_what_follows(OF_ENTRY)
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
    op.drop_table("declaration_version")
    op.drop_table("declaration")


def _policies_of_what_follows(readable: str) -> None:
    """Verdicts and settlements go where the entry goes."""
    op.execute(f"ALTER POLICY api_read ON verdict USING ({readable} OR {OF_CASE})")
    op.execute(f"ALTER POLICY api_read ON settlement USING ({readable})")


def _create_declaration() -> None:
    op.create_table(
        "declaration",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("grid_id", sa.String(length=15), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        *(sa.Column(name, sa.LargeBinary(), nullable=True) for name in INDEXES),
        sa.Column("natural_key", sa.String(length=64), nullable=True),
        sa.Column("declared_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_declaration_account_id_account")),
        sa.ForeignKeyConstraint(["grid_id"], ["grid.id"], name=op.f("fk_declaration_grid_id_grid")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_declaration")),
    )
    for columns in (["account_id", "id"], ["grid_id", "id"], ["kind", "natural_key"], *([name] for name in INDEXES)):
        op.create_index(f"ix_declaration_{'_'.join(columns)}", "declaration", columns)


def _create_version() -> None:
    op.create_table(
        "declaration_version",
        sa.Column("declaration_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("grid_id", sa.String(length=15), nullable=True),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("declared_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["declaration_id"], ["declaration.id"], name=op.f("fk_declaration_version_declaration_id_declaration")
        ),
        sa.PrimaryKeyConstraint("declaration_id", "version", name=op.f("pk_declaration_version")),
    )
