"""Who looked at personal values in the clear, and why.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "unmasking",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_unmasking_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unmasking")),
    )
    op.create_index("ix_unmasking_document_id", "unmasking", ["document_id"])
    op.execute("GRANT SELECT ON unmasking TO zw_worker")
    op.execute("GRANT INSERT ON unmasking TO zw_api")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_unmasking_document_id", "unmasking")
    op.drop_table("unmasking")
