"""Tombstones of erased subjects, and the worker's right to destroy a key.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "erased_subject",
        sa.Column("subject_id", sa.LargeBinary(), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("subject_id", name=op.f("pk_erased_subject")),
    )
    op.execute("GRANT SELECT ON erased_subject TO zw_api, zw_worker")
    op.execute("GRANT INSERT ON erased_subject TO zw_worker")
    op.execute("GRANT DELETE ON subject_key TO zw_worker")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("REVOKE DELETE ON subject_key FROM zw_worker")
    op.drop_table("erased_subject")
