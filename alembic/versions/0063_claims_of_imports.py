"""Field authority that an import claims: nobody's account stands for it.

Revision ID: 0063
Revises: 0062
"""

from alembic import op

revision = "0063"
down_revision = "0062"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for column in ("account_id", "role"):
        op.alter_column("field_authority", column, nullable=True)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DELETE FROM field_authority WHERE account_id IS NULL")
    for column in ("account_id", "role"):
        op.alter_column("field_authority", column, nullable=False)
