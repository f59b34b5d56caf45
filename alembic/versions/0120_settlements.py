"""What verdicts led to is written down, and workers are asked to look on site before a difference becomes a case.

Revision ID: 0120
Revises: 0140
"""

import sqlalchemy as sa
from alembic import op

revision = "0120"
down_revision = "0140"
branch_labels = None
depends_on = None

OF_ENTRY = """EXISTS (SELECT FROM document d WHERE source_type = 'document' AND d.id = source_id)
    OR EXISTS (SELECT FROM report r WHERE source_type = 'report' AND r.id = source_id)"""
OF_TERRITORY = """starts_with(grid_id, (SELECT zw_territory()))
    OR grid_id IS NULL AND (SELECT zw_whole_city())"""
OF_RECORD = "EXISTS (SELECT FROM document d WHERE d.id = document_id)"
OF_HELD = """EXISTS (SELECT FROM document d WHERE d.id = document_id
    AND d.grid_id = ANY ((SELECT zw_grids())::text[]))"""
GRANTS = (
    "GRANT SELECT ON settlement, visit TO zw_api, zw_worker",
    "GRANT INSERT, UPDATE ON settlement, visit TO zw_worker",
    "GRANT INSERT, UPDATE (superseded_at) ON settlement TO zw_api",
    "GRANT UPDATE (state, result, answered_by, note, done_at) ON visit TO zw_api",
)
POLICIES = (
    "CREATE POLICY worker ON {table} TO zw_worker USING (true) WITH CHECK (true)",
    "CREATE POLICY api_read ON {table} FOR SELECT TO zw_api USING ({read})",
    "CREATE POLICY api_update ON {table} FOR UPDATE TO zw_api USING ({write}) WITH CHECK ({write})",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _create_visit()
    _create_settlement()
    for statement in GRANTS:
        op.execute(statement)
    for table, read, write in (("settlement", OF_ENTRY, OF_TERRITORY), ("visit", OF_RECORD, OF_HELD)):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        for policy in POLICIES:
            op.execute(policy.format(table=table, read=read, write=write))
    op.execute(f"CREATE POLICY api_insert ON settlement FOR INSERT TO zw_api WITH CHECK ({OF_TERRITORY})")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("settlement")
    op.drop_table("visit")


def _create_visit() -> None:
    op.create_table(
        "visit",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("verdict_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("finding", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("result", sa.String(length=32), nullable=True),
        sa.Column("answered_by", sa.Uuid(), nullable=True),
        sa.Column("note", sa.LargeBinary(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["answered_by"], ["account.id"], name=op.f("fk_visit_answered_by_account")),
        sa.ForeignKeyConstraint(["document_id"], ["document.id"], name=op.f("fk_visit_document_id_document")),
        sa.ForeignKeyConstraint(["verdict_id"], ["verdict.id"], name=op.f("fk_visit_verdict_id_verdict")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_visit")),
    )
    op.create_index("uq_visit_open", "visit", ["document_id"], unique=True, postgresql_where=sa.text("state = 'open'"))
    op.create_index("ix_visit_document_id", "visit", ["document_id"])


def _create_settlement() -> None:
    op.create_table(
        "settlement",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("verdict_id", sa.Uuid(), nullable=False),
        sa.Column("source_type", sa.String(length=32), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("source_version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("grid_id", sa.String(length=15), nullable=True),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("course", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("routing_rule_id", sa.Integer(), nullable=True),
        sa.Column("case_id", sa.Uuid(), nullable=True),
        sa.Column("visit_id", sa.Uuid(), nullable=True),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("note", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["case_id"], ["case_file.id"], name=op.f("fk_settlement_case_id_case_file")),
        sa.ForeignKeyConstraint(["decided_by"], ["account.id"], name=op.f("fk_settlement_decided_by_account")),
        sa.ForeignKeyConstraint(["verdict_id"], ["verdict.id"], name=op.f("fk_settlement_verdict_id_verdict")),
        sa.ForeignKeyConstraint(["visit_id"], ["visit.id"], name=op.f("fk_settlement_visit_id_visit")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement")),
    )
    in_force, by_system = sa.text("superseded_at IS NULL"), sa.text("decided_by IS NULL")
    source = ["source_type", "source_id"]
    op.create_index("uq_settlement_source", "settlement", source, unique=True, postgresql_where=in_force)
    op.create_index("uq_settlement_verdict_id", "settlement", ["verdict_id"], unique=True, postgresql_where=by_system)
    op.create_index("ix_settlement_source_id", "settlement", ["source_id"])
