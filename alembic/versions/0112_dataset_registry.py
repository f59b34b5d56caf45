"""Departments register datasets: what their files look like, how data are graded, when a new load is due.

Revision ID: 0112
Revises: 0111
"""

import sqlalchemy as sa
from alembic import op

revision = "0112"
down_revision = "0111"
branch_labels = None
depends_on = None

# Which snapshot is current is the load's business, under the worker's role.
DESCRIBED = "name, department_code, legal_basis, kind, key, columns, grade, refresh_days"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("dataset", sa.Column("kind", sa.String(length=32), nullable=True))
    op.add_column("dataset", sa.Column("key", sa.String(length=64), nullable=True))
    op.add_column("dataset", sa.Column("columns", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("dataset", sa.Column("grade", sa.String(length=32), nullable=False, server_default="important"))
    op.add_column("dataset", sa.Column("refresh_days", sa.Integer(), nullable=True))
    op.execute(f"GRANT INSERT, UPDATE ({DESCRIBED}) ON dataset TO zw_api")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(f"REVOKE INSERT, UPDATE ({DESCRIBED}) ON dataset FROM zw_api")
    for column in ("refresh_days", "grade", "columns", "key", "kind"):
        op.drop_column("dataset", column)
