"""What finds the keys and rows that a rotation of the master keys has left.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index("ix_subject_key_head", "subject_key", [sa.literal_column("get_byte(wrapped, 0)")])
    for table, column in (("quarantine", "payload"), ("wechat_message", "raw")):
        left = sa.text(f"get_byte({column}, 0) < 128")
        op.create_index(f"ix_{table}_system", table, ["id"], postgresql_where=left)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_wechat_message_system", "wechat_message")
    op.drop_index("ix_quarantine_system", "quarantine")
    op.drop_index("ix_subject_key_head", "subject_key")
