"""How long rows are kept, what was removed, and the rights to remove it.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# The ledger is history: only the moment that a device claimed goes, by the owner's rights and never within a day.
FORGET_CLIENT_TIMES = """
CREATE FUNCTION forget_client_times(before timestamptz, batch integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    affected bigint;
BEGIN
    UPDATE public.mutation SET client_time = NULL
    WHERE seq IN (SELECT m.seq FROM public.mutation m
                  WHERE m.client_time IS NOT NULL AND m.created_at < least(before, now() - interval '1 day')
                  ORDER BY m.seq LIMIT batch);
    GET DIAGNOSTICS affected = ROW_COUNT;
    RETURN affected;
END $$
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "retention_rule",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_retention_rule")),
    )
    op.create_table(
        "retention_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rule", sa.String(length=32), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("place", sa.String(length=32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed", sa.Integer(), nullable=False),
        sa.Column("oldest_kept", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention_run")),
        sa.UniqueConstraint("rule", "day", name=op.f("uq_retention_run_rule_day")),
    )
    op.execute("GRANT SELECT ON retention_rule, retention_run TO zw_api, zw_worker")
    op.execute("GRANT INSERT, UPDATE ON retention_rule TO zw_worker")
    op.execute("GRANT INSERT ON retention_run TO zw_worker")
    op.execute("GRANT DELETE ON session_family, enrolment_code TO zw_worker")
    op.execute("GRANT UPDATE (last_seen_at, skew_ms, waiting) ON device TO zw_worker")
    op.execute(FORGET_CLIENT_TIMES)
    op.execute("REVOKE ALL ON FUNCTION forget_client_times(timestamptz, integer) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION forget_client_times(timestamptz, integer) TO zw_worker")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP FUNCTION forget_client_times(timestamptz, integer)")
    op.execute("REVOKE UPDATE (last_seen_at, skew_ms, waiting) ON device FROM zw_worker")
    op.execute("REVOKE DELETE ON session_family, enrolment_code FROM zw_worker")
    op.drop_table("retention_run")
    op.drop_table("retention_rule")
