"""Bulk reconciliation of what was collected with whole snapshots: runs, links, counts, and the model of likeness.

Revision ID: 0140
Revises: 0112
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0140"
down_revision = "0112"
branch_labels = None
depends_on = None

TABLES = "reconciliation, reconciliation_link, reconciliation_record, reconciliation_grid"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "link_model",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_link_model")),
    )
    op.create_table(
        "reconciliation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("dataset_code", sa.String(length=32), nullable=False),
        sa.Column("snapshot_id", sa.Uuid(), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("engine", sa.String(length=32), nullable=False),
        sa.Column("territory_code", sa.String(length=15), nullable=False),
        sa.Column("grids", sa.JSON(), nullable=True),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("phase", sa.String(length=32), nullable=False),
        sa.Column("cursor", sa.String(length=64), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("tally", sa.JSON(), nullable=False),
        sa.Column("failure", sa.String(length=64), nullable=True),
        sa.Column("requested_by", sa.Uuid(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["dataset_code"], ["dataset.code"], name=op.f("fk_reconciliation_dataset_code_dataset")
        ),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshot.id"], name=op.f("fk_reconciliation_snapshot_id_snapshot")),
        sa.ForeignKeyConstraint(
            ["model_version"], ["link_model.version"], name=op.f("fk_reconciliation_model_version_link_model")
        ),
        sa.ForeignKeyConstraint(["requested_by"], ["account.id"], name=op.f("fk_reconciliation_requested_by_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation")),
    )
    op.create_index(op.f("ix_reconciliation_dataset_code"), "reconciliation", ["dataset_code"])
    op.create_table(
        "reconciliation_link",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("record_id", sa.BigInteger(), nullable=False),
        sa.Column("grid_id", sa.String(length=15), nullable=False),
        sa.Column("rule", sa.String(length=32), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("differs", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["reconciliation.id"], name=op.f("fk_reconciliation_link_run_id_reconciliation")
        ),
        sa.PrimaryKeyConstraint("run_id", "document_id", name=op.f("pk_reconciliation_link")),
    )
    op.create_index("ix_reconciliation_link_run_id_record_id", "reconciliation_link", ["run_id", "record_id"])
    op.create_table(
        "reconciliation_record",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("grid_id", sa.String(length=15), nullable=False),
        sa.Column("record_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["reconciliation.id"], name=op.f("fk_reconciliation_record_run_id_reconciliation")
        ),
        sa.PrimaryKeyConstraint("run_id", "grid_id", "record_id", name=op.f("pk_reconciliation_record")),
    )
    counts = (
        "documents by_key by_phone probable conflicting duplicates records records_linked record_duplicates"
    ).split()
    op.create_table(
        "reconciliation_grid",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("grid_id", sa.String(length=15), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in counts),
        sa.Column("part", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["reconciliation.id"], name=op.f("fk_reconciliation_grid_run_id_reconciliation")
        ),
        sa.PrimaryKeyConstraint("run_id", "grid_id", name=op.f("pk_reconciliation_grid")),
    )
    op.execute("GRANT SELECT ON link_model, reconciliation_grid TO zw_api")
    # A request writes the run down and cancels it; all that it finds is written by jobs.
    op.execute("GRANT SELECT, INSERT ON reconciliation TO zw_api")
    op.execute("GRANT UPDATE (state, finished_at) ON reconciliation TO zw_api")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON link_model, {TABLES} TO zw_worker")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("reconciliation_grid", "reconciliation_record", "reconciliation_link", "reconciliation"):
        op.drop_table(table)
    op.drop_table("link_model")
