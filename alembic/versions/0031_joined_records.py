"""Records that a steward found to be one: which one survives, and what was done, so that it can be taken apart again.

A tombstone of a record that was joined tells handhelds the id of the survivor, which is no content.

Revision ID: 0031
Revises: 0050
"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0050"
branch_labels = None
depends_on = None

WITHOUT_SURVIVOR = """
    CREATE FUNCTION zw_versions(ids uuid[]) RETURNS TABLE (id uuid, version integer, op uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
        SELECT d.id, d.version, d.op FROM document d WHERE d.id = ANY (ids)
    $$
"""
WITH_SURVIVOR = """
    CREATE FUNCTION zw_versions(ids uuid[]) RETURNS TABLE (id uuid, version integer, op uuid, merged_into uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
        SELECT d.id, d.version, d.op, CASE WHEN d.deleted THEN d.merged_into END FROM document d WHERE d.id = ANY (ids)
    $$
"""
OF_SEEN = "EXISTS (SELECT FROM document d WHERE d.id = survivor_id)"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("document", sa.Column("merged_into", sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f("fk_document_merged_into_document"), "document", "document", ["merged_into"], ["id"])
    op.create_index(
        "ix_document_merged_into", "document", ["merged_into"], postgresql_where=sa.text("merged_into IS NOT NULL")
    )
    op.create_table(
        "record_join",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("survivor_id", sa.Uuid(), nullable=False),
        sa.Column("duplicate_id", sa.Uuid(), nullable=False),
        sa.Column("undoes", sa.Uuid(), nullable=True),
        sa.Column("survivor_before", sa.Integer(), nullable=False),
        sa.Column("survivor_version", sa.Integer(), nullable=False),
        sa.Column("duplicate_before", sa.Integer(), nullable=False),
        sa.Column("duplicate_version", sa.Integer(), nullable=False),
        sa.Column("taken", sa.JSON(), nullable=False),
        sa.Column("actor", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["survivor_id"], ["document.id"], name=op.f("fk_record_join_survivor_id_document")),
        sa.ForeignKeyConstraint(["duplicate_id"], ["document.id"], name=op.f("fk_record_join_duplicate_id_document")),
        sa.ForeignKeyConstraint(["undoes"], ["record_join.id"], name=op.f("fk_record_join_undoes_record_join")),
        sa.ForeignKeyConstraint(["actor"], ["account.id"], name=op.f("fk_record_join_actor_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_record_join")),
    )
    op.create_index("ix_record_join_survivor_id", "record_join", ["survivor_id"])
    op.create_index("ix_record_join_duplicate_id", "record_join", ["duplicate_id"])
    op.create_index("uq_record_join_undoes", "record_join", ["undoes"], unique=True)
    op.execute("GRANT SELECT, INSERT ON record_join TO zw_api, zw_worker")
    op.execute("ALTER TABLE record_join ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY worker ON record_join TO zw_worker USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY api_read ON record_join FOR SELECT TO zw_api USING ({OF_SEEN})")
    op.execute(
        "CREATE POLICY api_insert ON record_join FOR INSERT TO zw_api "
        f"WITH CHECK (actor = (SELECT zw_account()) AND {OF_SEEN})"
    )
    _replace(WITH_SURVIVOR)


def _replace(statement: str) -> None:
    op.execute("DROP FUNCTION zw_versions(uuid[])")
    op.execute(statement)
    op.execute("REVOKE ALL ON FUNCTION zw_versions(uuid[]) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION zw_versions(uuid[]) TO zw_api, zw_worker")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _replace(WITHOUT_SURVIVOR)
    op.drop_table("record_join")
    op.drop_index("ix_document_merged_into", "document")
    op.drop_constraint("fk_document_merged_into_document", "document")
    op.drop_column("document", "merged_into")
