"""An export is a CSV or a Parquet file; those of before are CSV.

Revision ID: 0150
Revises: 0141
"""

import sqlalchemy as sa
from alembic import op

revision = "0150"
down_revision = "0141"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("export", sa.Column("format", sa.String(length=32), nullable=False, server_default="csv"))
    op.alter_column("export", "format", server_default=None)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DELETE FROM export WHERE what IN ('reconciliation_links', 'reconciliation_grids')")
    op.drop_column("export", "format")
