"""How many attempts failed is kept by name of the job, as done jobs are removed after a while.

Revision ID: 0100
Revises: 0063
"""

import sqlalchemy as sa
from alembic import op

revision = "0100"
down_revision = "0063"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "job_tally",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_job_tally")),
    )
    op.execute("GRANT SELECT ON job_tally TO zw_api, zw_worker")
    op.execute("GRANT INSERT, UPDATE ON job_tally TO zw_worker")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("UPDATE job SET state = 'dead' WHERE state = 'cancelled'")
    op.drop_table("job_tally")
