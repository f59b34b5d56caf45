"""In which form a quarantined row came: it is released in that form, also when others are current by then.

Revision ID: 0022
Revises: 0060
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0060"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("quarantine", sa.Column("schema_version", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("quarantine", "schema_version")
