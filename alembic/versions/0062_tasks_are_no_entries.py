"""The counts of entries leave tasks out, as they do cases: nobody entered them.

Revision ID: 0062
Revises: 0071
"""

from alembic import op

revision = "0062"
down_revision = "0071"
branch_labels = None
depends_on = None

COUNTS = """
CREATE OR REPLACE FUNCTION zw_counts() RETURNS TABLE (things text, state text, number bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT 'entries', kind, count(*) FROM document WHERE NOT deleted AND kind NOT IN ({outside}) GROUP BY kind
    UNION ALL
    SELECT 'mutations', outcome, count(*) FROM mutation WHERE outcome <> 'quarantined' GROUP BY outcome
    UNION ALL
    SELECT 'mutations', 'quarantined', count(*) FROM quarantine HAVING count(*) > 0
    UNION ALL
    SELECT 'conflicts', hardness, count(*) FROM conflict GROUP BY hardness
    UNION ALL
    SELECT 'verdicts', verdict, count(*) FROM verdict GROUP BY verdict
    UNION ALL
    SELECT 'reports', state, count(*) FROM report GROUP BY state
$$
"""


def upgrade() -> None:
    op.execute(COUNTS.format(outside="'case', 'task'"))


def downgrade() -> None:
    op.execute(COUNTS.format(outside="'case'"))
