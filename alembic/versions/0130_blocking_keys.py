"""Two more blind keys to find a person by in spite of a mistake: the name's sound with year of birth, and with address.

Revision ID: 0130
Revises: 0121
"""

import sqlalchemy as sa
from alembic import op

revision = "0130"
down_revision = "0121"
branch_labels = None
depends_on = None

COLUMNS = ("name_year_index", "name_address_index")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for column in COLUMNS:
        op.add_column("document", sa.Column(column, sa.LargeBinary(), nullable=True))
        op.create_index(f"ix_document_{column}", "document", [column])
        op.add_column("business_record", sa.Column(column, sa.LargeBinary(), nullable=True))
        op.create_index(f"ix_business_record_snapshot_id_{column}", "business_record", ["snapshot_id", column])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for column in COLUMNS:
        op.drop_column("business_record", column)
        op.drop_column("document", column)
