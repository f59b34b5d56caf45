"""Which handheld named or brought a photo, for what became of all its photos.

Revision ID: 0072
Revises: 0100
"""

import sqlalchemy as sa
from alembic import op

revision = "0072"
down_revision = "0100"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("photo", "upload"):
        op.add_column(table, sa.Column("device_id", sa.Uuid(), nullable=True))
        op.create_foreign_key(op.f(f"fk_{table}_device_id_device"), table, "device", ["device_id"], ["id"])
        op.create_index(f"ix_{table}_device_id", table, ["device_id"], unique=False)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("upload", "photo"):
        op.drop_index(f"ix_{table}_device_id", table_name=table)
        op.drop_constraint(op.f(f"fk_{table}_device_id_device"), table, type_="foreignkey")
        op.drop_column(table, "device_id")
