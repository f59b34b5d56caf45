"""The settlements of a look on site are found by it.

Revision ID: 0161
Revises: 0160
"""

import sqlalchemy as sa
from alembic import op

revision = "0161"
down_revision = "0160"
branch_labels = None
depends_on = None

INDEX = "ix_settlement_visit_id"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index(INDEX, "settlement", ["visit_id"], postgresql_where=sa.text("visit_id IS NOT NULL"))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index(INDEX, "settlement")
