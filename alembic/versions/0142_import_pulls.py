"""Datasets are pulled from departments' databases.

Revision ID: 0142
Revises: 0150
"""

import sqlalchemy as sa
from alembic import op

revision = "0142"
down_revision = "0150"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("dataset", sa.Column("pull", sa.JSON(), nullable=True))
    op.add_column("dataset", sa.Column("pulled_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("dataset", sa.Column("watermark", sa.String(length=64), nullable=True))
    op.add_column("snapshot", sa.Column("watermark", sa.String(length=64), nullable=True))
    op.execute("GRANT UPDATE (pull) ON dataset TO zw_api")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("REVOKE UPDATE (pull) ON dataset FROM zw_api")
    op.drop_column("snapshot", "watermark")
    for column in ("watermark", "pulled_at", "pull"):
        op.drop_column("dataset", column)
