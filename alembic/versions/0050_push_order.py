"""The number of the last push of each device and collection: a push that was overtaken by a later one is refused.

Revision ID: 0050
Revises: 0021
"""

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "device_push",
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_device_push_device_id_device")),
        sa.PrimaryKeyConstraint("device_id", "kind", name=op.f("pk_device_push")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON device_push TO zw_api, zw_worker")


def downgrade() -> None:
    op.drop_table("device_push")
