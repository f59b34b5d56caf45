"""Splits and merges of grids: which grids become which others, and how far it is.

Revision ID: 0061
Revises: 0023
"""

import sqlalchemy as sa
from alembic import op

revision = "0061"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "grid_change",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sources", sa.JSON(), nullable=False),
        sa.Column("targets", sa.JSON(), nullable=False),
        sa.Column("default_grid_id", sa.String(length=15), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moved", sa.Integer(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["default_grid_id"], ["grid.id"], name=op.f("fk_grid_change_default_grid_id_grid")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grid_change")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON grid_change TO zw_worker")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("grid_change")
