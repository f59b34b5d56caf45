"""Incremental loads, how far a load has come, and how many snapshots a dataset keeps.

Revision ID: 0141
Revises: 0120
"""

import sqlalchemy as sa
from alembic import op

revision = "0141"
down_revision = "0120"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("snapshot", sa.Column("size_bytes", sa.BigInteger(), nullable=True))
    op.add_column("snapshot", sa.Column("mode", sa.String(length=32), nullable=False, server_default="full"))
    op.add_column("snapshot", sa.Column("based_on", sa.Uuid(), nullable=True))
    op.add_column("snapshot", sa.Column("carried", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("snapshot", sa.Column("deleted", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("dataset", sa.Column("history", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("business_record", sa.Column("sealed_in", sa.Uuid(), nullable=True))
    op.create_table(
        "import_progress",
        sa.Column("snapshot_id", sa.Uuid(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("share", sa.Float(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("snapshot_id", name=op.f("pk_import_progress")),
    )
    op.execute("GRANT SELECT ON import_progress TO zw_api, zw_worker")
    op.execute("GRANT INSERT, UPDATE, DELETE ON import_progress TO zw_worker")
    op.execute("GRANT UPDATE (history) ON dataset TO zw_api")


def downgrade() -> None:
    """Carried records cannot be opened without the snapshot they were sealed for: they go until the next load."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("REVOKE UPDATE (history) ON dataset FROM zw_api")
    op.drop_table("import_progress")
    op.execute("DELETE FROM business_record WHERE sealed_in IS NOT NULL")
    op.drop_column("business_record", "sealed_in")
    op.drop_column("dataset", "history")
    for column in ("deleted", "carried", "based_on", "mode", "size_bytes"):
        op.drop_column("snapshot", column)
