"""Which columns a load had, and whether it may have less than the one before: half a file is told by what is there.

Revision ID: 0111
Revises: 0110
"""

import sqlalchemy as sa
from alembic import op

revision = "0111"
down_revision = "0110"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("snapshot", sa.Column("columns", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("snapshot", sa.Column("fewer", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("snapshot", "fewer")
    op.drop_column("snapshot", "columns")
