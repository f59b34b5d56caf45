"""Every server has a sync epoch from its first migration on; before, the seed wrote it.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        "INSERT INTO server_state (name, value)"
        " VALUES ('epoch', left(replace(gen_random_uuid()::text, '-', ''), 16)) ON CONFLICT (name) DO NOTHING"
    )


def downgrade() -> None:
    """The epoch stays: it was there before, written by the seed."""
