"""Declarations are counted with everything else.

Revision ID: 0162
Revises: 0161
"""

from alembic import op

revision = "0162"
down_revision = "0161"
branch_labels = None
depends_on = None

COUNTS = """
CREATE OR REPLACE FUNCTION zw_counts() RETURNS TABLE (things text, state text, number bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT 'entries', kind, count(*) FROM document WHERE NOT deleted AND kind NOT IN ('case', 'task') GROUP BY kind
    UNION ALL
    SELECT 'mutations', outcome, count(*) FROM mutation WHERE outcome <> 'quarantined' GROUP BY outcome
    UNION ALL
    SELECT 'mutations', 'quarantined', count(*) FROM quarantine HAVING count(*) > 0
    UNION ALL
    SELECT 'conflicts', hardness, count(*) FROM conflict GROUP BY hardness
    UNION ALL
    SELECT 'verdicts', verdict, count(*) FROM verdict WHERE superseded_at IS NULL GROUP BY verdict
    UNION ALL
    SELECT 'reports', state, count(*) FROM report GROUP BY state
    {declarations}
$$
"""
DECLARATIONS = "UNION ALL SELECT 'declarations', state, count(*) FROM declaration GROUP BY state"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(COUNTS.format(declarations=DECLARATIONS))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(COUNTS.format(declarations=""))
