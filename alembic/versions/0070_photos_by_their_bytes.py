"""A photo is told by the id its taker gave it and by its bytes: nobody can occupy another one's id.

Revision ID: 0070
Revises: 0061
"""

import sqlalchemy as sa
from alembic import op

revision = "0070"
down_revision = "0061"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("photo", sa.Column("taken_as", sa.Uuid(), nullable=True))
    op.execute("UPDATE photo SET taken_as = id")
    op.alter_column("photo", "taken_as", nullable=False)
    op.create_index("uq_photo_taken_as_sha256", "photo", ["taken_as", "sha256"], unique=True)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("uq_photo_taken_as_sha256", table_name="photo")
    op.drop_column("photo", "taken_as")
