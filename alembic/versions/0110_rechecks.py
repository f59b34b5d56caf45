"""Entries are checked again: a verdict that another one replaces stays as history, and so does a case that ended.

Revision ID: 0110
Revises: 0080
"""

import sqlalchemy as sa
from alembic import op

revision = "0110"
down_revision = "0080"
branch_labels = None
depends_on = None

SOURCE = ["source_type", "source_id", "source_version", "rule_version"]
# A verdict that was replaced is counted no more.
COUNTS = """
CREATE OR REPLACE FUNCTION zw_counts() RETURNS TABLE (things text, state text, number bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT 'entries', kind, count(*) FROM document WHERE NOT deleted AND kind NOT IN ('case', 'task') GROUP BY kind
    UNION ALL
    SELECT 'mutations', outcome, count(*) FROM mutation WHERE outcome <> 'quarantined' GROUP BY outcome
    UNION ALL
    SELECT 'mutations', 'quarantined', count(*) FROM quarantine HAVING count(*) > 0
    UNION ALL
    SELECT 'conflicts', hardness, count(*) FROM conflict GROUP BY hardness
    UNION ALL
    SELECT 'verdicts', verdict, count(*) FROM verdict {in_force} GROUP BY verdict
    UNION ALL
    SELECT 'reports', state, count(*) FROM report GROUP BY state
$$
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("business_record", sa.Column("content_digest", sa.LargeBinary(), nullable=True))
    _create_recheck()
    op.add_column("verdict", sa.Column("recheck_id", sa.Uuid(), nullable=True))
    op.add_column("verdict", sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=True))
    op.create_foreign_key(op.f("fk_verdict_recheck_id_recheck"), "verdict", "recheck", ["recheck_id"], ["id"])
    op.create_index("ix_verdict_source_id", "verdict", ["source_id"])
    op.create_index(
        "ix_verdict_recheck_id", "verdict", ["recheck_id"], postgresql_where=sa.text("recheck_id IS NOT NULL")
    )
    _replace_unique("uq_verdict_source", "verdict", SOURCE, where="superseded_at IS NULL")
    op.create_index("ix_case_file_source_id", "case_file", ["source_id"])
    _replace_unique("uq_case_file_source", "case_file", SOURCE, where="closed_at IS NULL")
    _replace_unique("uq_case_step_verdict_id", "case_step", ["verdict_id", "case_id"])
    # History is not edited: the one thing that changes of a verdict is that another takes its place.
    op.execute("GRANT UPDATE (superseded_at) ON verdict TO zw_worker")
    op.execute("GRANT SELECT ON recheck TO zw_api, zw_worker")
    op.execute("GRANT INSERT, UPDATE ON recheck TO zw_worker")
    op.execute("GRANT INSERT, UPDATE (state, done_at) ON recheck TO zw_api")
    op.execute(COUNTS.format(in_force="WHERE superseded_at IS NULL"))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(COUNTS.format(in_force=""))
    _replace_unique("uq_case_step_verdict_id", "case_step", ["verdict_id"])
    _replace_unique("uq_case_file_source", "case_file", SOURCE)
    op.drop_index("ix_case_file_source_id", table_name="case_file")
    _replace_unique("uq_verdict_source", "verdict", SOURCE)
    op.drop_index("ix_verdict_recheck_id", table_name="verdict")
    op.drop_index("ix_verdict_source_id", table_name="verdict")
    op.drop_constraint(op.f("fk_verdict_recheck_id_recheck"), "verdict", type_="foreignkey")
    op.drop_column("verdict", "superseded_at")
    op.drop_column("verdict", "recheck_id")
    op.drop_table("recheck")
    op.drop_column("business_record", "content_digest")


def _replace_unique(name: str, table: str, columns: list[str], *, where: str | None = None) -> None:
    op.drop_index(name, table_name=table)
    op.create_index(name, table, columns, unique=True, postgresql_where=sa.text(where) if where else None)


def _create_recheck() -> None:
    op.create_table(
        "recheck",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "cause", sa.Enum("snapshot", "rules", name="recheckcause", native_enum=False, length=32), nullable=False
        ),
        sa.Column("dataset", sa.String(length=32), nullable=True),
        sa.Column("snapshot_id", sa.Uuid(), nullable=True),
        sa.Column("previous_id", sa.Uuid(), nullable=True),
        sa.Column("rule_version", sa.Integer(), nullable=True),
        sa.Column("scope", sa.JSON(), nullable=False),
        sa.Column(
            "state",
            sa.Enum("spreading", "working", "done", "cancelled", name="runstate", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("after", sa.String(length=64), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("checked", sa.Integer(), nullable=False),
        sa.Column("asked_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["asked_by"], ["account.id"], name=op.f("fk_recheck_asked_by_account")),
        sa.ForeignKeyConstraint(["previous_id"], ["snapshot.id"], name=op.f("fk_recheck_previous_id_snapshot")),
        sa.ForeignKeyConstraint(["rule_version"], ["rule_set.version"], name=op.f("fk_recheck_rule_version_rule_set")),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshot.id"], name=op.f("fk_recheck_snapshot_id_snapshot")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recheck")),
    )
