"""Where a soft reference leads, as a blind index, and a function that finds those which lead nowhere.

The function passes the row policies, because the record a reference names may lie in another territory. It gives ids,
kinds, grids and versions, of records in the caller's own territory only.

Revision ID: 0023
Revises: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

DANGLING = """
CREATE FUNCTION zw_dangling(kinds text[], targets text[], after uuid, room integer)
RETURNS TABLE (id uuid, kind text, grid_id text, version integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT d.id, d.kind, d.grid_id, d.version
    FROM unnest(kinds, targets) AS link (kind, target)
    JOIN document d ON d.kind = link.kind AND NOT d.deleted AND d.link_index IS NOT NULL AND d.id > after
         AND starts_with(d.grid_id, zw_territory())
    WHERE NOT EXISTS (SELECT FROM document t
                      WHERE t.kind = link.target AND t.link_index = d.link_index AND NOT t.deleted)
      AND NOT EXISTS (SELECT FROM document t
                      WHERE t.kind = link.target AND t.grid_id = d.grid_id AND t.link_index IS NULL AND NOT t.deleted)
    ORDER BY d.id LIMIT room
$$
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("document", sa.Column("link_index", sa.LargeBinary(), nullable=True))
    op.create_index("ix_document_kind_link_index", "document", ["kind", "link_index"], unique=False)
    op.execute(DANGLING)
    op.execute("REVOKE ALL ON FUNCTION zw_dangling(text[], text[], uuid, integer) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION zw_dangling(text[], text[], uuid, integer) TO zw_api, zw_worker")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP FUNCTION zw_dangling(text[], text[], uuid, integer)")
    op.drop_index("ix_document_kind_link_index", table_name="document")
    op.drop_column("document", "link_index")
